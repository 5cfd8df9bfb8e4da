"""The event loop's clock in the hands of a test: deadlines are met and missed alike on every machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio.lowlevel

ROUNDS = 25
"""Of the loop, which are enough for what is under way in it to come to where it waits."""


class LoopClock:
    """The clock goes on as ever, or not at all, and ahead when it is told to."""

    def __init__(self) -> None:
        self._loop: Any = asyncio.get_running_loop()
        self._real = self._loop.time
        self._stopped_at: float | None = None
        self.ahead_s = 0.0

    def stop(self) -> None:
        """From now on nothing is late, and nobody's sleep ends, before the clock is told to go ahead."""
        self._stopped_at = self._real()

    def go_on(self) -> None:
        self._stopped_at = None

    async def pass_by(self, seconds: float) -> None:
        """Whoever waits for a moment until then has waited, and has gone on."""
        await self._settle()
        self.ahead_s += seconds
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(ROUNDS):
            await anyio.lowlevel.checkpoint()

    @contextmanager
    def wound(self) -> Iterator[LoopClock]:
        """In force within the block."""
        self._loop.time = self._time
        try:
            yield self
        finally:
            del self._loop.time

    def _time(self) -> float:
        return (self._real() if self._stopped_at is None else self._stopped_at) + self.ahead_s


@contextmanager
def no_waiting() -> Iterator[None]:
    """Time stands still while there is something to do, and jumps to the next moment that is waited for when
    there is not. Of threads, sockets and processes that somebody waits for it knows nothing."""
    loop: Any = asyncio.get_running_loop()
    selector = loop._selector
    select, now = selector.select, loop.time()

    def jump(timeout: float | None = None) -> list[Any]:
        nonlocal now
        ready = select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            return select(None)
        now += timeout
        return []

    loop.time, selector.select = (lambda: now), jump
    try:
        yield
    finally:
        del loop.time, selector.select
