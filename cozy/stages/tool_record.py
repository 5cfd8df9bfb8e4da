"""That a tool was called, for whom and how it went, in the audit trail; never with what."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import anyio

from cozy.errors import StorageError, ToolError, did_you_mean
from cozy.ports.operations import AuditEvent
from cozy.ports.tools import on_record
from cozy.stages.base import StageContext

_log = logging.getLogger("cozy.turn")

AUDIT_TIMEOUT_S = 5.0
"""A turn that was cut off waits no longer for the record of its calls."""
NOT_OFFERED = "TOOL_NOT_OFFERED"
"""Of a call that a model made though it was to answer in words."""


class ToolDenied(ToolError):
    code = "TOOL_DENIED"

    def __init__(self, name: str) -> None:
        super().__init__(f"the tool `{name}` is not allowed here", hint="answer without it")


class NoSuchTool(ToolError):
    code = "TOOL_UNKNOWN"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no tool `{name}`", hint=did_you_mean(name, known))


def call_event(tool: str, outcome: str, seconds: float, ctx: StageContext) -> AuditEvent:
    """A call that was run or denied; `outcome` is `ok`, `failed`, `broken`, …, or the code of an error."""
    turn, is_denied = ctx.turn, outcome in (ToolDenied.code, NoSuchTool.code, NOT_OFFERED)
    facts = {
        "tool": on_record(tool),
        "turn_id": str(turn.id),
        "outcome": outcome,
        "ms": round(seconds * 1000, 1),
    }
    return AuditEvent(
        "tool.denied" if is_denied else "tool.executed",
        user_id=turn.user_id,
        request_id=turn.request_id,
        session_id=turn.session_id,
        personality_id=turn.personality_id,
        level="warning" if is_denied else "info",
        payload=facts,
    )


async def put_on_record(events: Sequence[AuditEvent], ctx: StageContext) -> None:
    """Whatever happens to the turn; one that has run its tools does not fail for it."""
    code = "AUDIT_TIMEOUT"
    try:
        with anyio.move_on_after(AUDIT_TIMEOUT_S, shield=True):
            await ctx.ports.audit.record(*events)
            return
    except StorageError as error:
        code = error.code
    tools = [event.payload["tool"] for event in events]
    fields = {**ctx.turn.log_fields(), "stage": ctx.node.id, "tool": tools, "code": code}
    _log.error("tools not audited", extra=fields)
