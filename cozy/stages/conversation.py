"""Messages in the order that models are sent them: every call is answered once, right behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cozy.turn import Message, ToolCall

NOT_GIVEN = "no result of this call was given"
"""Said of a call whose client never came back with its result."""
NOT_KNOWN = "this call was interrupted: it is not known whether it was carried out"
"""Said of a call that was being run when its turn was cut off."""


def answered(messages: Sequence[Message], missing: str) -> tuple[Message, ...]:
    """The messages with each call of an assistant's answered behind it, once, in the order of the calls.

    `missing` is said of a call without a result, and a result without its call is left out: servers refuse
    a conversation that has either.
    """
    if not any(m.tool_calls or m.role == "tool" for m in messages):
        return tuple(messages)
    return tuple(_answered(messages, missing))


def _answered(messages: Sequence[Message], missing: str) -> Iterator[Message]:
    place = 0
    while place < len(messages):
        message = messages[place]
        place += 1
        if message.role != "tool":
            yield message
        if message.role == "assistant" and message.tool_calls:
            end = place
            while end < len(messages) and messages[end].role == "tool":
                end += 1
            yield from _results(message.tool_calls, messages[place:end], missing)
            place = end


def _results(calls: Sequence[ToolCall], given: Sequence[Message], missing: str) -> Iterator[Message]:
    left = list(given)
    for call in calls:
        found = next((m for m in left if m.tool_call_id == call.id), None)
        if found is None:
            yield Message("tool", missing, tool_call_id=call.id)
        else:
            left.remove(found)
            yield found
