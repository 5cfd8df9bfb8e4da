"""What came of a fixture, as text that is the same in every run: no clock, no ids, no token estimates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cozy.engine.trace import Trace
from cozy.events import (
    Event,
    ReasoningDelta,
    StageDegraded,
    StageFinished,
    StageSkipped,
    StageStarted,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnFinished,
    UsageReported,
)
from cozy.ports.llm import LLMRequest
from cozy.testing.order import in_graph_order
from cozy.testing.runner import Outcome, TurnOutcome
from cozy.turn import Message, ToolCall

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def snapshot(outcome: Outcome) -> str:
    """For each turn its events, what was cut and what models were sent; then what is on disk."""
    parts = [_lines(_turn(turn, outcome)) for turn in outcome.turns]
    if outcome.requests:
        parts.append(_lines(_worker_requests(outcome.requests)))
    parts.append(_lines(_on_disk(outcome)))
    return _without_ids("\n\n".join(parts), outcome) + "\n"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines)


def _without_ids(text: str, outcome: Outcome) -> str:
    """Each id by its name; ids that nobody knows are numbered."""
    names = {str(id_): name for id_, name in outcome.names.items()}
    strangers: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        id_ = found[0]
        return f"<{names.get(id_) or strangers.setdefault(id_, f'id {len(strangers) + 1}')}>"

    return _ID.sub(name, text)


# -- a turn --------------------------------------------------------------------------------------------


def _turn(turn: TurnOutcome, outcome: Outcome) -> Iterator[str]:
    spec = turn.spec
    where = "without a session" if turn.turn.session_id is None else f"in {spec.session}"
    said = _text(spec.say) if spec.resumes is None else f"going on with turn {spec.resumes}"
    yield f"turn {turn.number}: {spec.user} {where}, by {spec.channel}: {said}"
    yield ""
    yield "  events"
    for line in _told(in_graph_order(turn.events, outcome.case.graph)):
        yield f"    {line}"
    last = turn.events[-1] if turn.events else None
    if isinstance(last, TurnFinished | TurnFailed):
        for line in _traced(last.trace):
            yield f"  {line}"
    else:
        yield "    the reader left"
    for line in _requests("asked", turn.requests):
        yield f"  {line}"


def _told(events: Sequence[Event]) -> Iterator[str]:
    """A line an event; pieces of one speech are joined."""
    texts: list[str] = []
    for i, event in enumerate(events):
        if isinstance(event, TextDelta):
            texts.append(event.text)
            after = events[i + 1] if i + 1 < len(events) else None
            if not (isinstance(after, TextDelta) and after.stage == event.stage):
                yield f"{event.stage} says {_text(''.join(texts))}"
                texts = []
        elif line := _event(event):
            yield line


def _event(event: Event) -> str | None:
    match event:
        case StageStarted(stage):
            return f"{stage} started"
        case StageFinished(stage):
            return f"{stage} finished"
        case StageSkipped(stage):
            return f"{stage} skipped"
        case StageDegraded(stage, code, reason):
            return f"{stage} degraded: {code}: {reason}"
        case ReasoningDelta(text, stage):
            return f"{stage} thinks {_text(text)}"
        case ToolCallDelta(_, _, name, arguments, stage):
            return f"{stage} calls {name} {arguments}" if name else f"{stage} goes on {arguments}"
        case ToolStarted(_, name, arguments, stage):
            return f"{stage} runs {name} {arguments}"
        case ToolFinished(_, name, content, is_error, _, stage):
            return f"{stage} {'failed' if is_error else 'ran'} {name}: {_text(content)}"
        case UsageReported(stage, model, usage):
            about = "about " if event.is_estimate else ""
            counts = f"{about}{usage.prompt_tokens} + {usage.completion_tokens} tokens"
            return f"{stage} used {counts} of {model}"
        case TurnFinished(text, reason):
            calls = "".join(f", {_call(call)}" for call in event.tool_calls)
            return f"the turn finished ({reason}){calls}: {_text(text)}"
        case TurnFailed(code, message, text):
            hint = f" ({event.hint})" if event.hint else ""
            said = f", after {_text(text)}" if text else ""
            at = f" in {event.stage}" if event.stage else ""
            return f"the turn failed{at}{said}: {code}: {message}{hint}"
        case _:
            return None


_TOLD_ELSEWHERE = {"code", "reason", "model"}


def _traced(trace: Trace) -> Iterator[str]:
    """What the events do not tell: stages that were cut off, second attempts, what did not fit."""
    for outcome in ("cancelled", "not run"):
        stages = [stage.id for stage in trace.stages if stage.outcome == outcome]
        if stages:
            yield f"{outcome}: {', '.join(stages)}"
    for stage in trace.stages:
        for name, value in stage.facts.items():
            if name not in _TOLD_ELSEWHERE:
                yield f"{stage.id}: {name}: {value}"
    for fold in dict.fromkeys(fold for prompt in trace.prompts.values() for fold in prompt.folded):
        yield f"folded from {fold.section} into {fold.into_section}: {_text(fold.snippet.text)}"
    if trace.budget is not None:
        for section in trace.budget.sections:
            if section.cut:
                yield f"cut from {section.section}: {', '.join(_text(cut.what) for cut in section.cut)}"


# -- what models were sent -----------------------------------------------------------------------------


def _requests(title: str, requests: Sequence[LLMRequest]) -> Iterator[str]:
    for i, request in enumerate(requests):
        before, same = _nearest(request, requests[:i])
        yield f"{title} {i + 1}: {_about(request)}"
        if same:
            yield f"  as {before + 1}, and" if same < len(request.messages) else f"  as {before + 1}"
        for message in request.messages[same:]:
            yield from (f"  {line}" for line in _message(message))


def _worker_requests(requests: Sequence[LLMRequest]) -> Iterator[str]:
    """Without Cozy's own instructions, which are no matter of the author's."""
    for i, request in enumerate(requests, 1):
        yield f"the worker asked {i}: {request.model}"
        for message in request.messages:
            if message.role != "system":
                yield from (f"  {line}" for line in _message(message))


def _nearest(request: LLMRequest, earlier: Sequence[LLMRequest]) -> tuple[int, int]:
    """The first earlier request whose messages this one begins with all of, and how many these are."""
    best = 0, 0
    for i, other in enumerate(earlier):
        size = len(other.messages)
        if best[1] < size and request.messages[:size] == other.messages:
            best = i, size
    return best


def _about(request: LLMRequest) -> str:
    sampling = request.sampling
    settings = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "reasoning_effort": sampling.reasoning_effort,
        "tools": ", ".join(tool.name for tool in request.tools) or None,
        "tool_choice": request.tool_choice if request.tool_choice not in ("auto", "none") else None,
    }
    said = [f"{name} {value}" for name, value in settings.items() if value is not None]
    return ", ".join([request.model, *said])


def _message(message: Message) -> Iterator[str]:
    about = [message.role, *([message.tool_call_id] if message.tool_call_id else [])]
    yield " ".join(about)
    if message.reasoning:
        yield f"  thinks {_text(message.reasoning)}"
    for line in message.content.split("\n") if message.content else ():
        yield f"  | {line}"
    for call in message.tool_calls:
        yield f"  calls {_call(call)}"
    for part in message.parts:
        yield f"  with {json.dumps(dict(part), ensure_ascii=False)}"


# -- what is on disk -----------------------------------------------------------------------------------


def _on_disk(outcome: Outcome) -> Iterator[str]:
    sessions = list(dict.fromkeys(row.session_id for row in outcome.rows))
    for session in sessions:
        yield f"on disk in {outcome.names[session]}"
        for row in outcome.rows:
            if row.session_id == session:
                status = "" if row.status == "complete" else f" ({row.status})"
                status += ", deleted" if row.deleted else ""
                calls = "".join(f" {call['name']} {call['arguments']}" for call in row.tool_calls)
                yield f"  {outcome.names[row.turn_id]} {row.role}{status}: {_text(row.content)}{calls}"
                if row.metadata:
                    yield f"    {_json(row.metadata)}"
    if not sessions:
        yield "on disk: no messages"
    yield "jobs" if outcome.jobs else "jobs: none"
    for job in outcome.jobs:
        error = f": {job.last_error}" if job.last_error else ""
        yield f"  {outcome.names[job.turn_id]} {job.target} {job.state}{error}"
    for what, known in outcome.learned.items():
        yield f"{what}" if known else f"{what}: nothing"
        yield from (f"  {text}" for text in known)


# -- words ---------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, sort_keys=True)


def _call(call: ToolCall) -> str:
    return f"{call.name} {call.arguments}"
