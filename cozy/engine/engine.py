"""The one engine behind every interface: a Turn in, events out, and workers for what turns leave."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from cozy.engine.library import Library
from cozy.engine.prefixes import PrefixLog
from cozy.engine.reader import Reader
from cozy.engine.runtime import TurnRun, Watcher
from cozy.events import Event
from cozy.ports import Ports
from cozy.turn import Turn

EVENT_BUFFER = 64
"""Events that may wait for the reader before the turn waits, too."""


class RunningTurn:
    """A turn under way: iterate for its events; the last one is TurnFinished or TurnFailed."""

    def __init__(self, run: TurnRun) -> None:
        self._run = run

    @property
    def turn(self) -> Turn:
        return self._run.turn

    @property
    def ended(self) -> anyio.Event:
        """Set once the turn is over and kept, whoever has stopped listening."""
        return self._run.done

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self) -> Event | None:
        """The next event as soon as there is one; None after the last. A cancelled wait loses nothing."""
        return await self._run.reader.next()

    def ready(self) -> list[Event]:
        """The events that can be had without waiting, so that they can be written together."""
        return self._run.reader.ready()

    def interrupt(self, heard: str | None = None) -> None:
        """Stop the model at once and keep what was said. `heard` is what of it reached the user's ears;
        the reply is stored cut off there. Nothing happens once the answer is whole."""
        self._run.interrupt(heard)


class TurnContext:
    """The context manager that `Engine.run` gives: entered, the turn is under way; left early, it ends."""

    def __init__(self, run: TurnRun, tasks: TaskGroup) -> None:
        self._run, self._tasks = run, tasks

    async def __aenter__(self) -> RunningTurn:
        self._tasks.start_soon(self._run.drive)
        return RunningTurn(self._run)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run.reader.leave()
        self._run.interrupt()
        # a reader that was cancelled itself does not wait for what is kept of the turn
        if kind is None and not self._run.done.is_set():
            await self._run.done.wait()


class Engine:
    """Runs turns in tasks of its own, so that what must be kept of one outlives the request it came in."""

    def __init__(self, library: Library, ports: Ports, tasks: TaskGroup) -> None:
        self.library = library
        self.ports = ports
        self._tasks = tasks
        self._prefixes = PrefixLog()
        self._watchers: list[Watcher] = []

    def watch(self, watcher: Watcher) -> None:
        """Have it told how every turn ends, from now on."""
        self._watchers.append(watcher)

    def check(self, turn: Turn) -> None:
        """Raises NotFound for an unknown personality, and Overloaded where the turn would leave jobs and so
        many wait that no more are taken."""
        if self.library.graph(turn.personality_id).leaves_jobs and turn.personalized:
            self.ports.jobs.check()

    def run(self, turn: Turn) -> TurnContext:
        """`async with engine.run(turn) as running: async for event in running: …`

        Leaving the block before the last event stops the model and keeps what was said. Raises NotFound for
        an unknown personality, and what `check` raises.
        """
        self.check(turn)
        graph = self.library.graph(turn.personality_id)
        reader = Reader(EVENT_BUFFER)
        run = TurnRun(graph, turn, self.ports, reader, self._prefixes, self._watchers)
        return TurnContext(run, self._tasks)


@asynccontextmanager
async def open_engine(library: Library, ports: Ports) -> AsyncGenerator[Engine]:
    """An engine whose turns all have ended, or are kept as far as they came, when the block is left."""
    async with anyio.create_task_group() as tasks:
        yield Engine(library, ports, tasks)
