"""`/trace`: where a turn's time went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from cozy.cells import cells
from cozy.engine.trace import StageTrace, Trace
from cozy.events import Event, TextDelta, ToolCallDelta, ToolFinished, ToolStarted, UsageReported
from cozy.interfaces.repl.conversation import Said
from cozy.interfaces.repl.safe import one_line
from cozy.interfaces.repl.views import grid
from cozy.interfaces.repl.wording import call_text, degraded_lines, quiet_line, seconds

NOTES = 40
"""Columns for what is beside a bar, where there are as many."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"

_FACTS = {
    "label": "{label} by {by}",
    "patterns": "patterns: {patterns}",
    "attempts": "{attempts} attempts",
    "too_small": "too small for the prompt: {too_small}",
    "fallback": "fell back: {fallback}",
    "fallback_text": "said its fallback text: {fallback_text}",
}
"""What stages put on record, and how it is told."""


def trace_view(said: Said, width: int) -> RenderableType:
    """The stages over time, the stretches that add up, engines, tools, prompt reuse, cost."""
    trace: Trace = said.end.trace
    parts: list[RenderableType] = [Text(f"{trace.personality} · {quiet_line(said.end)}", "bold"), Text()]
    parts += [_waterfall(trace, width), Text(), _segments(trace)]
    for title, lines in (
        ("engines", list(_engines(trace))),
        ("tools", list(_tools(said.events))),
        ("models", list(_models(said.events))),
        ("prompt seen before", list(_prefixes(trace))),
        ("degraded", degraded_lines(said.events)),
    ):
        if lines:
            parts += [Text(), Text(title, "dim"), *(Text(f"  {one_line(line, width - 3)}") for line in lines)]
    if trace.cost is not None:
        parts += [Text(), Text(f"cost {trace.cost:.6f}".rstrip("0").rstrip("."))]
    return Group(*parts)


def _waterfall(trace: Trace, width: int) -> RenderableType:
    ids = max((cells(s.id) for s in trace.stages), default=0)
    fixed = 3 + ids + 2 + 2 + 10
    room = max(min(width - fixed - NOTES, 48), 10)
    path = set(trace.critical_path)
    rows: list[Sequence[RenderableType]] = []
    for stage in trace.stages:
        ran = stage.outcome not in ("not run", "skipped")
        waited = stage.id in path
        drawn = bar(stage.start_s, stage.seconds, trace.wall_s, room) if ran else ""
        rows.append(
            (
                Text("*" if waited else ""),
                Text(stage.id, "bold" if waited else ""),
                Text(drawn, "cyan" if waited else "blue"),
                Text(seconds(stage.seconds) if ran else ""),
                Text(one_line(_notes(stage), max(width - fixed - room, 10)), "dim"),
            )
        )
    heading = one_line("* waited for", room)
    return grid(("", "stage", heading, "took", ""), rows, numbers=(3,))


def bar(start: float, length: float, whole: float, width: int) -> str:
    """A stretch of time as a bar within `width` cells; there is always something to be seen of it."""
    if whole <= 0:
        return ""
    eighth = 8 * width / whole
    first = min(round(start * eighth), 8 * width - 1)
    last = min(max(round((start + length) * eighth), first + 1), 8 * width)
    # a left edge within a cell cannot be drawn: the bar begins with that cell
    begin = first // 8
    full, rest = divmod(last - begin * 8, 8)
    return " " * begin + "█" * full + (_EIGHTHS[rest] if rest else "")


def _notes(stage: StageTrace) -> str:
    notes = [] if stage.outcome == "done" else [stage.outcome]
    notes += [f"{name.replace('_', ' ')} {seconds(took)}" for name, took in stage.parts.items()]
    facts = stage.facts
    if "dropped" in facts:
        jobs = "1 job" if facts["dropped"] == 1 else f"{facts['dropped']} jobs"
        notes.append(f"{jobs} dropped: the outbox is full")
    notes += [words.format_map(facts) for name, words in _FACTS.items() if name in facts]
    return " · ".join(notes)


def _segments(trace: Trace) -> RenderableType:
    """Where each moment of the turn went, by name: together they are the whole."""
    took = {**trace.spent_s, "together": sum(trace.spent_s.values())}
    rows = [(name, seconds(value), _share(value, trace.wall_s)) for name, value in took.items()]
    return grid(("time spent in", "took", ""), rows, numbers=(1, 2))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else ""


def _engines(trace: Trace) -> Iterator[str]:
    """Each question to an engine of the personal context: who was asked, what came, and what went wrong."""
    for stage, r in trace.engines:
        items = f"{r.items} item" if r.items == 1 else f"{r.items} items"
        brought = [f"{items} ({r.cache})" if r.cache else items]
        wrong = [f"{r.outcome}: {r.reason}"] if r.outcome not in ("ok", "empty") else []
        told = [f"{stage}: {r.engine} of {r.provider}", seconds(r.seconds)]
        yield " · ".join(told + (brought if r.cache or not wrong else []) + wrong)


def _tools(events: Sequence[Event]) -> Iterator[str]:
    """Each call, by round: a round begins with the first call after the model has spoken."""
    arguments: dict[str, str] = {}
    rounds, spoken = 0, True
    for event in events:
        match event:
            case TextDelta() | ToolCallDelta() | UsageReported():
                spoken = True
            case ToolStarted():
                rounds, spoken = rounds + spoken, False
                arguments[event.call_id] = event.arguments
            case ToolFinished():
                call = call_text(event.name, arguments.get(event.call_id, ""))
                failed = "failed: " if event.is_error else ""
                yield f"round {rounds}: {seconds(event.seconds)} · {call} → {failed}{event.content}"
            case _:
                pass


def _models(events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        if isinstance(event, UsageReported):
            u = event.usage
            cached = f" ({u.cached_tokens} cached)" if u.cached_tokens else ""
            thought = f" ({u.reasoning_tokens} thought)" if u.reasoning_tokens else ""
            about = "about " if event.is_estimate else ""
            tokens = f"{about}{u.prompt_tokens}{cached} + {u.completion_tokens}{thought} tokens"
            yield f"{event.stage}: {event.model} · {tokens}"


def _prefixes(trace: Trace) -> Iterator[str]:
    for p in trace.prefixes:
        share = f" ({100 * p.matched / p.tokens:.0f} %)" if p.tokens else ""
        yield f"{p.stage}: {p.matched} of {p.tokens} tokens{share} as in the prompt before"
