"""The one engine behind every interface: a Turn in, events out, and workers for what turns leave."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from cozy.engine.graph import Graph
from cozy.engine.library import Library
from cozy.engine.prefixes import PrefixLog
from cozy.engine.reader import Reader
from cozy.engine.runtime import TurnRun
from cozy.events import Event
from cozy.ports import Ports
from cozy.turn import Turn

EVENT_BUFFER = 64
"""Events that may wait for the reader before the turn waits, too."""


class RunningTurn:
    """A turn under way: iterate for its events; the last one is TurnFinished or TurnFailed."""

    def __init__(self, run: TurnRun, receive: MemoryObjectReceiveStream[Event]) -> None:
        self._run = run
        self._receive = receive

    @property
    def turn(self) -> Turn:
        return self._run.turn

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        try:
            return self._receive.receive_nowait()  # what waits already is taken without a round of the loop
        except anyio.WouldBlock:
            pass
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def interrupt(self, heard: str | None = None) -> None:
        """Stop the model at once and keep what was said. `heard` is what of it reached the user's ears;
        the reply is stored cut off there. Nothing happens once the answer is whole."""
        self._run.interrupt(heard)


class TurnContext:
    """The context manager that `Engine.run` gives: entered, the turn is under way; left early, it ends."""

    def __init__(self, graph: Graph, turn: Turn, ports: Ports, prefixes: PrefixLog, tasks: TaskGroup) -> None:
        send, self._receive = anyio.create_memory_object_stream[Event](EVENT_BUFFER)
        self._run = TurnRun(graph, turn, ports, Reader(send), prefixes)
        self._tasks = tasks

    async def __aenter__(self) -> RunningTurn:
        self._tasks.start_soon(self._run.drive)
        return RunningTurn(self._run, self._receive)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receive.close()
        self._run.interrupt()
        if kind is None:  # a reader that was cancelled itself does not wait for what is kept of the turn
            await self._run.done.wait()


class Engine:
    """Runs turns in tasks of its own, so that what must be kept of one outlives the request it came in."""

    def __init__(self, library: Library, ports: Ports, tasks: TaskGroup) -> None:
        self.library = library
        self.ports = ports
        self._tasks = tasks
        self._prefixes = PrefixLog()

    def run(self, turn: Turn) -> TurnContext:
        """`async with engine.run(turn) as running: async for event in running: …`

        Leaving the block before the last event stops the model and keeps what was said. Raises NotFound for
        an unknown personality.
        """
        graph = self.library.graph(turn.personality_id)
        return TurnContext(graph, turn, self.ports, self._prefixes, self._tasks)


@asynccontextmanager
async def open_engine(library: Library, ports: Ports) -> AsyncGenerator[Engine]:
    """An engine whose turns all have ended, or are kept as far as they came, when the block is left."""
    async with anyio.create_task_group() as tasks:
        yield Engine(library, ports, tasks)
