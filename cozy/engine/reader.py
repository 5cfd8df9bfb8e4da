"""The one who listens to a turn: events go out with back-pressure, and waiting stops the clocks."""

from __future__ import annotations

import math

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from cozy.events import Event


class Reader:
    """The sending end of a turn's events."""

    def __init__(self, send: MemoryObjectSendStream[Event]) -> None:
        self._send = send
        self._paused: dict[anyio.CancelScope, tuple[int, float, float]] = {}
        """Scopes whose clock stands: how many wait in it, since when, and its deadline before."""

    def tell_now(self, event: Event) -> bool:
        """Hand an event over, if there is room for it: the way of nearly all events."""
        try:
            self._send.send_nowait(event)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True

    async def tell(self, event: Event, *clocks: anyio.CancelScope | None) -> float | None:
        """Hand an event over; gives the seconds spent waiting, None where nobody listens any more.

        The deadlines of `clocks` move on by the time spent waiting.
        """
        began = anyio.current_time()
        running = [clock for clock in clocks if clock is not None]
        for clock in running:
            self._pause(clock, began)
        try:
            await self._send.send(event)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return None
        finally:
            now = anyio.current_time()
            for clock in running:
                self._resume(clock, now)
        return now - began

    def _pause(self, clock: anyio.CancelScope, now: float) -> None:
        count, since, deadline = self._paused.get(clock, (0, now, clock.deadline))
        clock.deadline = math.inf
        self._paused[clock] = (count + 1, since, deadline)

    def _resume(self, clock: anyio.CancelScope, now: float) -> None:
        count, since, deadline = self._paused.pop(clock)
        if count > 1:
            self._paused[clock] = (count - 1, since, deadline)
        else:
            clock.deadline = deadline + now - since

    def close(self) -> None:
        self._send.close()
