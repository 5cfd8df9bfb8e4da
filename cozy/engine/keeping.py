"""What is kept of an answer that was cut off: the rounds of tools that were run, and the words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cozy.stages.conversation import NOT_KNOWN, answered
from cozy.stages.generate import BETWEEN_ROUNDS
from cozy.turn import Message


def kept_of(rounds: Sequence[Message], heard: str) -> tuple[Message, ...]:
    """The answer as messages, as far as it came.

    `rounds` are what was called and what came back, of which the last may not be whole; `heard` is what
    reached the user of all words: nobody is held to have said more.
    """
    return answered(tuple(_messages(rounds, heard)), NOT_KNOWN)


def _messages(rounds: Sequence[Message], heard: str) -> Iterator[Message]:
    left = heard
    for message in rounds:
        if message.role == "tool" or not message.content:
            yield message
            continue
        if left.startswith(message.content):
            said, left = message.content, left[len(message.content) :].removeprefix(BETWEEN_ROUNDS)
        elif message.content.startswith(left):
            said, left = left, ""
        else:  # ears may have it in other words: then all of it stands at the end
            said = ""
        yield replace(message, content=said, tokens=None)
    if left.strip() or (left and not rounds):
        yield Message("assistant", left)
