"""What is said around an answer: how long it took, what it cost, what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cozy.engine.trace import Trace
from cozy.events import Event, StageDegraded, TurnFailed, TurnFinished
from cozy.interfaces.repl.safe import one_line, safe

_CUT: Mapping[str, str] = {
    "interrupted": "stopped",
    "length": "cut off at the model's limit",
    "content_filter": "cut off by the provider's filter",
    "tool_calls": "waits for a tool of the client",
}


def seconds(value: float) -> str:
    """`420 ms`, `3.2 s`, `2 m 05 s`."""
    if value < 0.9995:
        return f"{value * 1000:.{'2g' if value < 0.00995 else '0f'}} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    return f"{int(value // 60)} m {int(value % 60):02d} s"


def quiet_line(end: TurnFinished | TurnFailed) -> str:
    """Time, tokens and model of a turn, in one line."""
    trace: Trace = end.trace
    parts = [seconds(trace.wall_s)]
    if isinstance(end, TurnFinished) and end.finish_reason in _CUT:
        parts.insert(0, _CUT[end.finish_reason])
    if trace.usage.total_tokens:
        cached = f" ({trace.usage.cached_tokens} cached)" if trace.usage.cached_tokens else ""
        parts.append(f"{trace.usage.prompt_tokens}{cached} + {trace.usage.completion_tokens} tokens")
    elif trace.prompt is not None:
        parts.append(f"about {trace.prompt.tokens} tokens sent")
    if trace.model:
        parts.append(trace.model)
    return " · ".join(parts)


def failure_lines(end: TurnFailed) -> list[str]:
    """What went wrong, where, and what to do; the first line says what."""
    stage = f" (stage `{end.stage}`)" if end.stage else ""
    lines = [f"error: {end.code}: {safe(end.message)}{stage}"]
    if end.hint:
        lines.append(f"hint: {safe(end.hint)}")
    return lines


def degraded_lines(events: Sequence[Event]) -> list[str]:
    """What went on without a value, and why."""
    return [
        f"without {e.stage}: {one_line(e.reason, 200)} ({e.code})"
        for e in events
        if isinstance(e, StageDegraded)
    ]


def call_text(name: str, arguments: str) -> str:
    """A tool call as a person would write it: `calculator(expression: 2+2)`."""
    try:
        given: Any = json.loads(arguments) if arguments.strip() else {}
    except ValueError:
        return f"{name}({arguments})"
    if not isinstance(given, dict):
        return f"{name}({arguments})"
    return f"{name}({', '.join(f'{k}: {_plain(v)}' for k, v in given.items())})"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
