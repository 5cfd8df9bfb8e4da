"""How a turn ended, whether it ran just now or is told a second time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from cozy.engine.trace import Trace
from cozy.events import FinishReason, TurnFailed, TurnFinished
from cozy.interfaces.http.problems import Problem, engine_reason, failed_turn
from cozy.ports.requests import KnownRequest
from cozy.turn import ToolCall, Turn
from cozy.usage import Usage


@dataclass(frozen=True, slots=True)
class Ending:
    """What a client is told at the end."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The response's `cozy` object."""
    problem: Problem | None = None
    """Why there is no whole answer; None where there is."""


def ending_of(event: TurnFinished | TurnFailed, turn: Turn, request_id: str, *, in_full: bool) -> Ending:
    """The end of a turn that ran; `in_full` is whether the client may know how this server fails."""
    trace: Trace = event.trace
    facts = {**_whose(turn, request_id), **_facts(trace, in_full=in_full)}
    if isinstance(event, TurnFailed):
        return Ending(
            event.text, "stop", trace.usage, facts=facts, problem=failed_turn(event, in_full=in_full)
        )
    return Ending(event.text, event.finish_reason, event.usage, event.tool_calls, facts)


def told_again(known: KnownRequest, turn: Turn, request_id: str) -> Ending:
    """The end of the turn that this request began the first time it came."""
    reply = known.reply or {}
    calls = cast("list[dict[str, str]]", reply.get("tool_calls") or [])
    engines = cast("list[dict[str, Any]]", reply.get("engines") or [])
    facts: dict[str, Any] = {
        **_whose(turn, request_id),
        "turn_id": str(known.turn_id),
        "session_id": str(known.session_id) if known.session_id else None,
        "model": reply.get("model", ""),
        "degraded": bool(reply.get("degraded")),
        "degrade_reasons": reply.get("degraded") or [],
        "engines": [{**e, "reason": engine_reason(e["outcome"], "", in_full=False)} for e in engines],
        "repeated": True,
    }
    return Ending(
        text=reply.get("text", ""),
        finish_reason=reply.get("finish_reason", "stop"),
        usage=Usage(**reply.get("usage", {})),
        tool_calls=tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in calls),
        facts=facts,
    )


def _whose(turn: Turn, request_id: str) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "turn_id": str(turn.id),
        "session_id": str(turn.session_id) if turn.session_id else None,
        "personality_id": turn.personality_id,
    }


def _facts(trace: Trace, *, in_full: bool) -> dict[str, Any]:
    """What a turn cost, in numbers: no word of anybody stands in it."""
    degraded = [stage for stage in trace.stages if stage.outcome == "degraded"]
    facts: dict[str, Any] = {
        "model": trace.model,
        "degraded": bool(degraded),
        "degrade_reasons": [
            {"stage": s.id, "code": s.facts.get("code", ""), "elapsed_ms": _ms(s.seconds)} for s in degraded
        ],
        "engines": [
            {"stage": s, **r.facts(), "reason": engine_reason(r.outcome, r.reason, in_full=in_full)}
            for s, r in trace.engines
        ],
        "total_ms": _ms(trace.wall_s),
        "timings_ms": {s.id: _ms(s.seconds) for s in trace.stages if s.outcome not in ("not run", "skipped")},
        "critical_path": list(trace.critical_path),
        "spent_ms": {name: _ms(seconds) for name, seconds in trace.spent_s.items()},
    }
    if (budget := trace.budget) is not None:
        facts["budget"] = {
            "context_tokens": budget.context_tokens,
            "reserved": budget.reserved,
            "room": budget.room,
            "used": budget.used,
            "sections": {
                s.section: {"wanted": s.wanted, "kept": s.kept, "items_cut": len(s.cut)}
                for s in budget.sections
            },
        }
    if trace.prefixes:
        facts["prefix"] = {
            "tokens": sum(p.tokens for p in trace.prefixes),
            "matched": sum(p.matched for p in trace.prefixes),
        }
    if (cost := trace.cost) is not None:
        facts["cost"] = cost
    return facts


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
