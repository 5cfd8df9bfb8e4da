"""What ended a turn before its answer was whole."""

from __future__ import annotations

from dataclasses import dataclass

from cozy.engine.trace import Trace
from cozy.errors import CozyError
from cozy.events import TurnFailed
from cozy.turn import Turn


@dataclass(frozen=True, slots=True)
class Failure:
    """Where it happened, and what."""

    stage: str | None
    error: CozyError | None
    """None: a bug; its traceback is in the log, not in the answer."""

    @property
    def code(self) -> str:
        return self.error.code if self.error else "INTERNAL_ERROR"

    def event(self, text: str, trace: Trace, turn: Turn) -> TurnFailed:
        """The turn's last event, after it has said `text`."""
        error = self.error
        return TurnFailed(
            code=self.code,
            message=error.message if error else "something went wrong inside Cozy; the log says what",
            text=text,
            trace=trace,
            stage=self.stage,
            hint=error.hint if error else None,
            session_id=turn.session_id,
            details=error.details if error else {},
        )
