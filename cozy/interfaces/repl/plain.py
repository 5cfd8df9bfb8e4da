"""Turns without a terminal: the answer's words to stdout, what is beside them to stderr; or JSON lines."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from cozy.engine.engine import RunningTurn
from cozy.errors import CozyError
from cozy.events import Event, TextDelta, TurnFailed, TurnFinished
from cozy.interfaces.plain_values import event_values
from cozy.interfaces.repl.conversation import Conversation, Said
from cozy.interfaces.repl.wording import degraded_lines, failure_lines

FAILED, INTERRUPTED, UNREAD = 1, 130, 141
"""Exit codes: a turn failed; Ctrl-C; nobody reads stdout any more."""

Write = Callable[[str], object]


@dataclass(slots=True, eq=False)
class Plain:
    """Says what it is given, one turn after another."""

    conversation: Conversation
    out: Write
    err: Write
    as_json: bool = False
    """Every event as one line of JSON, in place of the answer's words."""
    _running: RunningTurn | None = None
    _code: int = 0

    async def say_all(self, texts: AsyncIterable[str]) -> int:
        """Say each text that is not blank; gives the exit code.

        Ctrl-C stops an answer, keeps what was said, and ends it all.
        """
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._watch, tasks.cancel_scope)
            try:
                async for text in texts:
                    if text.strip() and self._code in (0, FAILED):
                        await self._say(text.strip())
            except CozyError as error:
                self._fail(f"error: {error}")
            tasks.cancel_scope.cancel()
        return self._code

    async def _watch(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                self._code = INTERRUPTED
                if self._running is None:
                    scope.cancel()
                else:
                    self._running.interrupt()

    async def _say(self, text: str) -> None:
        conversation = self.conversation
        try:
            turn = await conversation.turn(text)
            async with conversation.place.engine.run(turn) as running:
                self._running = running
                events = tuple([event async for event in self._told(running)])
        except CozyError as error:
            self._fail(f"error: {error}")
            return
        except BrokenPipeError:
            self._code = UNREAD
            return
        finally:
            self._running = None
        conversation.last = said = Said(turn, events)
        if not self.as_json:
            self._beside(said)
        if isinstance(said.end, TurnFailed):
            self._code = self._code or FAILED

    async def _told(self, running: RunningTurn) -> AsyncGenerator[Event]:
        """The events, each written as it comes."""
        spoken = ""
        async for event in running:
            if self.as_json:
                self.out(json.dumps(event_values(event), ensure_ascii=False) + "\n")
            elif isinstance(event, TextDelta):
                self.out(event.text)
                spoken = event.text or spoken
            elif isinstance(event, TurnFinished | TurnFailed) and spoken and not spoken.endswith("\n"):
                self.out("\n")
            yield event

    def _beside(self, said: Said) -> None:
        for line in degraded_lines(said.events):
            self.err(f"warning: {line}\n")
        if isinstance(said.end, TurnFailed):
            self._fail("\n".join(failure_lines(said.end)))

    def _fail(self, text: str) -> None:
        self.err(f"{text}\n")
        self._code = self._code or FAILED


async def one(text: str) -> AsyncIterator[str]:
    """A single text to say."""
    yield text


async def lines_of(descriptor: int) -> AsyncGenerator[str]:
    """The lines of a file, a pipe or a terminal, as they come. Raises CozyError for what is not UTF-8."""
    rest, number = b"", 0
    while chunk := await _read(descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield _decoded(line, number)
    if rest:
        yield _decoded(rest, number + 1)


async def whole(descriptor: int) -> AsyncGenerator[str]:
    """All of it as one text. Raises CozyError for what is not UTF-8."""
    text = b""
    while chunk := await _read(descriptor):
        text += chunk
    yield _decoded(text, 1)


async def _read(descriptor: int) -> bytes:
    try:
        await anyio.wait_readable(descriptor)
    except OSError:  # a regular file: it never makes anybody wait
        await anyio.lowlevel.checkpoint()
    return os.read(descriptor, 65536)


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise CozyError(
            f"what is said is not UTF-8: line {number}, byte {error.start + 1}", hint="convert it to UTF-8"
        ) from None
