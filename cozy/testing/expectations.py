"""What a fixture expects of a turn, held against what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cozy.dsl.diagnostics import Diagnostic, Place, error
from cozy.events import StageDegraded, StageSkipped, ToolStarted, TurnFailed, TurnFinished
from cozy.testing.fixture import ExpectSpec, names
from cozy.testing.runner import Outcome, TurnOutcome

NOT_AS_EXPECTED = "CZ101"
"""The code of an expectation that does not hold, and of a script that does not fit."""


def disappointments(outcome: Outcome) -> Iterator[Diagnostic]:
    """Everything that is not as the fixture expects it, at its place in the fixture."""
    document = outcome.case.document
    for turn in outcome.turns:
        path = ("turns", turn.number - 1)
        for key, message in _of_turn(turn, outcome):
            where = document.value(*path, "expect", key) if key else document.value(*path, "say")
            yield error(NOT_AS_EXPECTED, message, where)
    for problem in outcome.problems:
        yield error(NOT_AS_EXPECTED, problem, _place_of_model(outcome))


def _place_of_model(outcome: Outcome) -> Place:
    document = outcome.case.document
    return document.key("model") if "model" in document.data else document.key("turns")


def _of_turn(turn: TurnOutcome, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Key and message of each expectation that does not hold; no key: nobody expected this."""
    expect, given = turn.spec.expect, turn.spec.expect.model_fields_set
    last = turn.events[-1] if turn.events else None
    reply = last.text if isinstance(last, TurnFinished | TurnFailed) else turn.said
    failed = last if isinstance(last, TurnFailed) else None
    if failed is not None and expect.error is None:
        yield "", f"turn {turn.number} failed: {failed.code}: {failed.message}"
    yield from _said(expect, reply)
    if expect.error is not None and (failed is None or failed.code != expect.error):
        yield "error", f"the turn ended with {_named(failed.code if failed else None)}"
    if expect.stage is not None and (failed is None or failed.stage != expect.stage):
        yield "stage", f"the stage that failed is {_named(failed.stage if failed else None)}"
    if expect.finish is not None:
        reason = last.finish_reason if isinstance(last, TurnFinished) else None
        if reason != expect.finish:
            yield "finish", f"the answer ended with {_named(reason)}"
    if expect.model_calls is not None and len(turn.requests) != expect.model_calls:
        yield "model_calls", f"models were asked {_times(len(turn.requests))}"
    yield from _sent(expect, turn)
    happened = {
        "tools": [e.name for e in turn.events if isinstance(e, ToolStarted)],
        "client_calls": [call.name for call in last.tool_calls] if isinstance(last, TurnFinished) else [],
        "degraded": [e.stage for e in turn.events if isinstance(e, StageDegraded)],
        "skipped": [e.stage for e in turn.events if isinstance(e, StageSkipped)],
        "jobs": [job.target for job in outcome.jobs if job.turn_id == turn.turn.id],
    }
    for key, found in happened.items():
        expected = list(names(getattr(expect, key)))
        same = found == expected if key in ("tools", "client_calls") else sorted(found) == sorted(expected)
        if key in given and not same:
            yield key, f"{_HAPPENED[key]} {_listed(found)}"
    if expect.stored is not None:
        status = next((row.status for row in outcome.rows if row.turn_id == turn.turn.id), "none")
        if status != expect.stored:
            yield "stored", f"the turn is stored as `{status}`"


_HAPPENED = {
    "tools": "the tools that ran:",
    "client_calls": "the client's tools that are called:",
    "degraded": "the stages that degraded:",
    "skipped": "the stages that were skipped:",
    "jobs": "the jobs that were queued:",
}


def _said(expect: ExpectSpec, reply: str) -> Iterator[tuple[str, str]]:
    if expect.reply is not None and reply.strip() != expect.reply.strip():
        yield "reply", f"the answer is {_quoted(reply)}"
    for text in expect.contains:
        if text not in reply:
            yield "contains", f"`{text}` is not in the answer {_quoted(reply)}"
    for text in expect.lacks:
        if text in reply:
            yield "lacks", f"`{text}` is in the answer {_quoted(reply)}"


def _sent(expect: ExpectSpec, turn: TurnOutcome) -> Iterator[tuple[str, str]]:
    sent = "\n".join(message.content for request in turn.requests for message in request.messages)
    for text in expect.prompt_contains:
        if text not in sent:
            yield "prompt_contains", f"`{text}` is in nothing that a model was sent"
    for text in expect.prompt_lacks:
        if text in sent:
            yield "prompt_lacks", f"`{text}` is in what a model was sent"


def _named(name: str | None) -> str:
    return f"`{name}`" if name else "none"


def _listed(found: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in found) or "none"


def _quoted(text: str) -> str:
    return f"“{text}”"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
