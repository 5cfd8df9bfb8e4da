"""A circuit breaker: an engine that keeps failing is left alone, then asked again by one alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from time import monotonic

from cozy.ports.operations import BreakerState

BUCKETS = 10
"""Parts of the window that are forgotten one by one."""
JITTER = 0.2
"""Processes that lost an engine together do not come back to it together."""

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class BreakerRules:
    failures: int = 5
    """So many in the window open it, if they are half of all; twice as many in a row do anyway: a busy engine
    that goes away has thousands of successes behind it."""
    window_s: float = 30
    open_s: float = 5
    """For how long the first time; twice as long after each probe that fails."""
    longest_s: float = 120


@dataclass(frozen=True, slots=True)
class Ticket:
    """The leave to ask once; its outcome is told to the breaker that gave it."""

    era: int
    """How often the breaker had changed its state: what was asked before a change says nothing after it."""


class Breaker:
    """For one engine. Times are in seconds of `clock`, which never goes back."""

    def __init__(
        self,
        rules: BreakerRules,
        *,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[], float] = lambda: _random.uniform(1 - JITTER, 1 + JITTER),
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._jitter = jitter
        self._state: BreakerState = "closed"
        self._era = 0
        self._opened = 0
        """How often in a row, without a success between."""
        self._in_a_row = 0
        """Failures since the last success."""
        self._open_until = 0.0
        self._buckets: deque[list[float]] = deque(maxlen=BUCKETS)
        """When each began, successes, failures."""

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def open_s(self) -> float:
        """How long it is left alone from now on; 0 where it may be asked."""
        return max(self._open_until - self._clock(), 0.0) if self._state == "open" else 0.0

    def enter(self) -> Ticket | None:
        """The leave to ask; None: it is left alone, or a probe is under way."""
        if self._state == "half_open" or self.open_s > 0:
            return None
        if self._state == "open":
            self._become("half_open")
        return Ticket(self._era)

    def succeeded(self, ticket: Ticket) -> bool:
        """Whether this has closed it."""
        if ticket.era != self._era:
            return False
        self._in_a_row = 0
        if self._state == "half_open":
            self._opened = 0
            self._buckets.clear()
            self._become("closed")
            return True
        self._bucket()[1] += 1
        return False

    def failed(self, ticket: Ticket, *, retry_after_s: float | None = None) -> bool:
        """Whether this has opened it; an engine that says when to come back opens it at once, unless it
        says: now."""
        if ticket.era != self._era:
            return False
        if self._state == "closed" and not retry_after_s:
            self._bucket()[2] += 1
            self._in_a_row += 1
            good, bad = self._counted()
            enough = self._rules.failures
            if bad < enough or (bad < good and self._in_a_row < 2 * enough):
                return False
        self._open(retry_after_s)
        return True

    def cancelled(self, ticket: Ticket) -> bool:
        """Nothing is known of it: the next one may try. Gives whether it was the probe."""
        was_probe = ticket.era == self._era and self._state == "half_open"
        if was_probe:
            self._become("open")
        return was_probe

    def _open(self, retry_after_s: float | None) -> None:
        rules = self._rules
        if retry_after_s:
            pause_s = min(retry_after_s, rules.longest_s)
        else:
            pause_s = min(rules.open_s * 2.0**self._opened, rules.longest_s) * self._jitter()
            self._opened = min(self._opened + 1, 32)
        self._open_until = self._clock() + pause_s
        self._become("open")

    def _become(self, state: BreakerState) -> None:
        self._state = state
        self._era += 1

    def _bucket(self) -> list[float]:
        now, length_s = self._clock(), self._rules.window_s / BUCKETS
        if not self._buckets or now - self._buckets[-1][0] >= length_s:
            self._buckets.append([now, 0, 0])
        return self._buckets[-1]

    def _counted(self) -> tuple[float, float]:
        """Successes and failures in the window."""
        since = self._clock() - self._rules.window_s
        counted = [bucket for bucket in self._buckets if bucket[0] > since]
        return sum(b[1] for b in counted), sum(b[2] for b in counted)
