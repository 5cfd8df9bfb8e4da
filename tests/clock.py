"""The event loop's clock in the hands of a test: deadlines are met and missed alike on every machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LoopClock:
    """The clock goes on as ever, and ahead when it is told to."""

    def __init__(self) -> None:
        self._loop: Any = asyncio.get_running_loop()
        self.ahead_s = 0.0

    def pass_by(self, seconds: float) -> None:
        """Whoever waits for a moment until then has waited, and goes on at the next `await`."""
        self.ahead_s += seconds

    @contextmanager
    def wound(self) -> Iterator[LoopClock]:
        """In force within the block."""
        real = self._loop.time
        self._loop.time = lambda: real() + self.ahead_s
        try:
            yield self
        finally:
            del self._loop.time


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
