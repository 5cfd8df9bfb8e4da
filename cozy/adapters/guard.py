"""What stands around every engine of the personal context: its breaker, its deadlines, how it does.

Whatever an engine does wrong comes out as an EngineError, of a class that says whether another try may help.
docs/reference/engines.md has the table.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from cozy.adapters.breaker import Breaker, Ticket
from cozy.errors import (
    CozyError,
    EngineCircuitOpen,
    EngineError,
    EngineTimeout,
    EngineUnavailable,
)
from cozy.ports.context import EMBEDDED, EngineKind
from cozy.ports.operations import BreakerState

T = TypeVar("T")
Listener = Callable[[str, str, BreakerState], object]
"""Told of an engine, its name and the state that its breaker now has."""

_log = logging.getLogger("cozy.engines")


class Attempt:
    """One call of an engine under way. Its outcome counts once: the first that is told."""

    def __init__(self, guard: Guard, ticket: Ticket) -> None:
        self._guard, self._ticket = guard, ticket
        self._told = False

    def late(self) -> None:
        """Somebody has waited for it in vain, whatever comes of it."""
        self.ended(EngineTimeout(self._guard.label, "did not answer in time"))

    def ended(self, error: EngineError | None) -> None:
        if not self._told:
            self._told = True
            self._guard.note(self._ticket, error)

    def cancelled(self) -> None:
        if not self._told:
            self._told = True
            self._guard.dropped(self._ticket)


class Guard:
    """Around one engine: lets calls through while it answers, and leaves it alone while it does not."""

    def __init__(self, kind: EngineKind, name: str, breaker: Breaker, *, timeout_s: float) -> None:
        self.kind: EngineKind = kind
        self.name = name
        """In the configuration."""
        self.label = kind if name == EMBEDDED else name
        """In errors."""
        self.breaker = breaker
        self.timeout_s = timeout_s
        """For one call."""
        self.last_code = ""
        """Of the error for which it was left alone last."""
        self._listeners: list[Listener] = []

    def watch(self, listener: Listener) -> None:
        """Have it told of the breaker's state, now and whenever it changes."""
        self._listeners.append(listener)
        listener(self.kind, self.name, self.breaker.state)

    @contextmanager
    def attempt(self, *, patient: bool = False) -> Generator[Attempt]:
        """A call of the engine. Raises EngineCircuitOpen where it is left alone; a bug in it comes out as
        EngineUnavailable, an error of ours as it is.

        `patient`: it may take long, so that its being late does not count against the engine.
        """
        before = self.breaker.state
        ticket = self.breaker.enter()
        if ticket is None:
            wait_s = max(self.breaker.open_s, 0.1)
            raise EngineCircuitOpen(self.label, wait_s)
        if self.breaker.state != before:
            self._tell()
        attempt = Attempt(self, ticket)
        try:
            yield attempt
        except EngineError as error:
            if patient and isinstance(error, EngineTimeout):
                attempt.cancelled()
            attempt.ended(error)
            raise
        except CozyError:  # not found, say: it has answered
            attempt.ended(None)
            raise
        except Exception as bug:
            error = self.bug(bug)
            attempt.ended(error)
            raise error from bug
        except BaseException:  # cancelled
            attempt.cancelled()
            raise
        else:
            attempt.ended(None)

    def bug(self, error: Exception) -> EngineError:
        """What an error means that no engine should raise; it is in the log."""
        extra = {"engine": self.kind, "provider": self.name}
        _log.error("engine failed", exc_info=error, extra=extra)
        return EngineUnavailable(self.label, f"failed with {type(error).__name__}")

    async def in_time(self, work: Callable[[], Awaitable[T]], timeout_s: float | None = None) -> T:
        """What `work` gives. Raises EngineTimeout."""
        within_s = self.timeout_s if timeout_s is None else timeout_s
        with anyio.CancelScope(deadline=anyio.current_time() + within_s):
            return await work()
        raise EngineTimeout(self.label, "did not answer in time")

    def note(self, ticket: Ticket, error: EngineError | None) -> None:
        """An outcome. A request that was wrong says that the engine is there."""
        if error is None or not error.counts:
            if self.breaker.succeeded(ticket):
                _log.warning("engine answers again", extra={"engine": self.kind, "provider": self.name})
                self._tell()
            return
        if self.breaker.failed(ticket, retry_after_s=error.retry_after_s):
            self.last_code = error.code
            extra = {
                "engine": self.kind,
                "provider": self.name,
                "code": error.code,
                "reason": error.message,
                "seconds": round(self.breaker.open_s, 1),
            }
            _log.warning("engine is left alone", extra=extra)
            self._tell()

    def dropped(self, ticket: Ticket) -> None:
        """Nobody knows what would have come of it."""
        if self.breaker.cancelled(ticket):
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self.kind, self.name, self.breaker.state)
