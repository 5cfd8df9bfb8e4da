"""What stands around every engine of the personal context: its deadline, and how each question went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeVar

import anyio

from cozy.errors import EngineError, EngineTimeout
from cozy.ports.context import EMBEDDED, EngineKind, EngineRecord, Found

T = TypeVar("T")


class Guard:
    """Around one engine. Whoever asks is answered in time, and never with an exception."""

    def __init__(self, kind: EngineKind, name: str, *, timeout_s: float = 5.0) -> None:
        self.kind: EngineKind = kind
        self.name = name
        self._label = kind if name == EMBEDDED else name
        self._timeout_s = timeout_s

    async def ask(self, load: Callable[[], Awaitable[Sequence[T]]], *, until: float) -> Found[T]:
        """What `load` gives, asked until the moment `until` of anyio's clock at most."""
        began = perf_counter()
        error: EngineError | None = None
        items: Sequence[T] = ()
        deadline = min(until, anyio.current_time() + self._timeout_s)
        try:
            with anyio.CancelScope(deadline=deadline) as scope:
                items = await load()
            if scope.cancelled_caught:
                error = EngineTimeout(self._label, "did not answer in time")
        except EngineError as failure:
            error = failure
        seconds = perf_counter() - began
        outcome = error.code if error else ("ok" if items else "empty")
        record = EngineRecord(
            self.kind,
            self.name,
            outcome,
            seconds,
            items=len(items),
            reason=error.message if error else "",
        )
        return Found(items, record, error)
