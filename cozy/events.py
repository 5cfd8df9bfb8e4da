"""What a turn tells the world, in order: frozen dataclasses, one union.

A turn's events are StageStarted … StageFinished around each stage, with what a stage says between;
the last event is TurnFinished or TurnFailed, and nothing follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from cozy.turn import ToolCall
from cozy.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "interrupted"]


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage has its inputs and begins."""

    stage: str
    type: str


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage gave its value."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StageSkipped:
    """A stage's `when` was false: it gives its type's empty value."""

    stage: str


@dataclass(frozen=True, slots=True)
class StageDegraded:
    """A stage failed under `on_error: degrade`: its empty value goes on in its place."""

    stage: str
    code: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Words of the answer, as the model speaks them."""

    text: str
    stage: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """What a reasoning model thinks aloud; never part of the answer."""

    text: str
    stage: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call while the model writes it; pieces of one call share an index."""

    index: int
    id: str
    name: str
    arguments: str
    stage: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool begins to run."""

    call_id: str
    name: str
    arguments: str
    stage: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool ended; `content` is what the model reads of it."""

    call_id: str
    name: str
    content: str
    is_error: bool
    seconds: float
    stage: str


@dataclass(frozen=True, slots=True)
class UsageReported:
    """What one request to a model cost."""

    stage: str
    model: str
    usage: Usage
    is_estimate: bool = False
    """Its server told nothing, so that Cozy has counted."""


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The answer is whole and, where the pipeline has a `persist`, on disk."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    trace: Any
    """The turn's `cozy.engine.trace.Trace`."""
    session_id: UUID | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls of the client's own tools, for the client to run."""


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The turn ended without a whole answer; what was said until then is kept where a store is."""

    code: str
    message: str
    text: str
    """The words already spoken."""
    trace: Any
    stage: str | None = None
    hint: str | None = None
    session_id: UUID | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


Event = (
    StageStarted
    | StageFinished
    | StageSkipped
    | StageDegraded
    | TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | ToolStarted
    | ToolFinished
    | UsageReported
    | TurnFinished
    | TurnFailed
)
