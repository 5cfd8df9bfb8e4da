"""Tools that a model may call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cozy.turn import SessionId, TurnId, UserId

_NAME = re.compile(r"[\w./:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is told of a tool."""

    name: str
    """As in the YAML and the policy: `calculator`, `mcp/weather/forecast`."""
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema (2020-12) of the arguments, an object."""
    timeout_s: float = 10.0
    """For one call."""
    side_effects: bool = False
    """Whether a second call changes more than the first."""
    strict: bool | None = None
    """Whether the model's server holds arguments to the schema, where it can; None: its own default."""


@dataclass(frozen=True, slots=True)
class ToolCaller:
    """On whose behalf a tool runs."""

    user_id: UserId
    session_id: SessionId | None
    turn_id: TurnId
    personality_id: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model reads of a call; a failure is a result too."""

    content: str
    is_error: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Toolbox(Protocol):
    """Tools by name. `call` raises ToolError for what the model should read as a failure."""

    def specs(self) -> Sequence[ToolSpec]:
        """Every tool there is now."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        """Run one tool on arguments that fit its schema."""
        ...


def on_record(name: str) -> str:
    """A tool's name for the audit trail: what cannot be one may be words of a user, and they do not belong
    there."""
    return name if _NAME.fullmatch(name) else "…"
