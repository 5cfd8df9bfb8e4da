"""The line of events between a turn and whoever listens: with back-pressure, and waiting stops the clocks.

anyio's memory streams do the same, at several rounds of the event loop and some 50 µs a turn more.
"""

from __future__ import annotations

import math
from collections import deque

import anyio

from cozy.events import Event, TextDelta


class Reader:
    """What a turn tells, until it is read. One listens."""

    def __init__(self, room: float = math.inf) -> None:
        """`room` is how many events may wait before the turn waits, too."""
        self._room = room
        self._events: deque[Event] = deque()
        self._closed = self.has_left = False
        self.texts_read = 0
        """How many TextDeltas have been taken."""
        self._came: anyio.Event | None = None
        """Set when something comes; there while somebody waits for it."""
        self._freed: anyio.Event | None = None
        """Set when there is room again; there while somebody waits for it."""
        self._paused: dict[anyio.CancelScope, tuple[int, float, float]] = {}
        """Scopes whose clock stands: how many wait in it, since when, and its deadline before."""

    # -- the turn's end ----------------------------------------------------------------------------------

    def tell_now(self, event: Event) -> bool:
        """Hand an event over, if there is room for it: the way of nearly all events."""
        if self.has_left or len(self._events) >= self._room:
            return False
        self._events.append(event)
        if self._came is not None:
            self._came.set()
            self._came = None
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
            while not self.tell_now(event):
                if self.has_left:
                    return None
                self._freed = self._freed or anyio.Event()
                await self._freed.wait()
        finally:
            now = anyio.current_time()
            for clock in running:
                self._resume(clock, now)
        return now - began

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        if self._came is not None:
            self._came.set()

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

    # -- the reader's end --------------------------------------------------------------------------------

    async def next(self) -> Event | None:
        """The next event as soon as there is one; None after the last."""
        while not self._events:
            if self._closed or self.has_left:
                return None
            self._came = anyio.Event()
            await self._came.wait()
        return self._take()

    def ready(self) -> list[Event]:
        """What can be had without waiting; maybe nothing."""
        return [self._take() for _ in range(len(self._events))]

    def _take(self) -> Event:
        event = self._events.popleft()
        if isinstance(event, TextDelta):
            self.texts_read += 1
        if self._freed is not None:
            self._freed.set()
            self._freed = None
        return event

    def leave(self) -> None:
        """Nobody listens any more."""
        self.has_left = True
        self._events.clear()
        if self._freed is not None:
            self._freed.set()
