"""How many turns run at once, and how many requests may wait for one."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import perf_counter

import anyio

from cozy.errors import Overloaded
from cozy.interfaces.http.metrics import Metrics
from cozy.settings import ServerSettings

STOPPING = "the server is being stopped"


class Admission:
    """The places of one process; whoever waits is served in the order of coming."""

    def __init__(
        self,
        settings: ServerSettings,
        draining: anyio.Event,
        under_way: set[anyio.CancelScope],
        metrics: Metrics,
    ) -> None:
        """`draining`, `under_way`: as a Service has them."""
        self._settings, self._draining, self._metrics = settings, draining, metrics
        self._under_way = under_way
        self._taken = 0
        self._waiting: deque[anyio.Event] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[float]:
        """A place for a turn, once there is one; gives the seconds that it took. Raises Overloaded."""
        began, scope = perf_counter(), anyio.CancelScope()
        self._under_way.add(scope)
        try:
            with scope:
                await self._enter()
                self._metrics.running.inc()
                try:
                    yield perf_counter() - began
                finally:
                    self._metrics.running.dec()
                    self._leave()
        finally:
            self._under_way.discard(scope)
        if scope.cancelled_caught:
            raise Overloaded(STOPPING)

    async def _enter(self) -> None:
        if self._draining.is_set():
            raise Overloaded(STOPPING)
        if self._taken < self._settings.max_turns and not self._waiting:
            self._taken += 1
            return
        if len(self._waiting) >= self._settings.queue:
            self._metrics.refused.labels("queue").inc()
            raise Overloaded("too many requests are waiting", self._settings.queue_timeout_s)
        turn = anyio.Event()
        self._waiting.append(turn)
        self._metrics.waiting.inc()
        try:
            with anyio.move_on_after(self._settings.queue_timeout_s):
                await turn.wait()
        except anyio.get_cancelled_exc_class():
            if turn.is_set():  # it was given in the moment in which the client left
                self._leave()
            raise
        finally:
            self._metrics.waiting.dec()
            if not turn.is_set():
                self._waiting.remove(turn)
        if not turn.is_set():
            self._metrics.refused.labels("queue").inc()
            raise Overloaded("the request waited too long for its turn", self._settings.queue_timeout_s)

    def _leave(self) -> None:
        if self._waiting:  # the place goes on to whoever has waited longest
            self._waiting.popleft().set()
        else:
            self._taken -= 1
