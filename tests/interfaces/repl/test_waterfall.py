"""`/trace`: bars over time, stretches that add up."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from cozy.cells import cells
from cozy.engine.trace import Asked, Mark, Recording, Trace
from cozy.events import (
    Event,
    StageDegraded,
    ToolCallDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    UsageReported,
)
from cozy.interfaces.repl.conversation import Said
from cozy.interfaces.repl.waterfall import bar, trace_view
from cozy.ports.context import EngineRecord
from cozy.ports.llm import LLMRequest, ModelCard
from cozy.turn import Message
from cozy.usage import Usage
from tests.engine.steps import graph_of, hangs, place, turn

GRAPH = graph_of(
    place("history", hangs),
    place("知识库", hangs, on_error="degrade"),
    place("memory", hangs),
    place("prompt", hangs, takes=("history", "知识库", "memory")),
    place("answer", hangs, takes=("prompt",), speaks=True),
    place("tools", hangs, takes=("answer",), speaks=True),
    place("extra", hangs, takes=("tools",), when="false"),
    place("save", hangs, takes=("tools",)),
)
USAGE = Usage(400, 60, cached_tokens=320, reasoning_tokens=20)


NOTES: dict[int, dict[str, Any]] = {2: {"attempts": 2}, 4: {"fallback": "openai/gpt-4.1-mini: away"}}


def said(price: float | None = None, notes: dict[int, dict[str, Any]] = NOTES) -> Said:
    """A turn of two seconds, told as the runtime writes it down."""
    request = LLMRequest("demo/demo", (Message("system", "x" * 320), Message("user", "y" * 80)))
    recording = Recording(
        accepted=10.0,
        began=10.001,
        starts=[10.001, 10.001, 10.001, 10.5, 10.51, 11.5, None, 11.95],
        ends=[10.01, 10.5, 10.02, 10.51, 11.5, 11.95, None, 12.0],
        outcomes=["done", "degraded", "done", "done", "done", "done", "skipped", "done"],
        marks=[
            Mark(4, "first_token", 10.51, 11.2),
            Mark(4, "upstream", 11.2, 11.5),
            Mark(5, "tools", 11.5, 11.6),
        ],
        notes=notes,
        requests=[Asked(4, request, USAGE)],
        engine_records=[
            (1, EngineRecord("knowledge", "文档库", "ENGINE_TIMEOUT", 0.499, reason="文档库: 没有及时回答")),
            (2, EngineRecord("memory", "mem0", "ok", 0.019, "l1", items=1)),
            (2, EngineRecord("memory", "mem0", "ENGINE_AUTH", 0.002, "stale", 3, "mem0: refused the key")),
            (2, EngineRecord("profile", "embedded", "empty", 0.0004)),
        ],
    )
    card = ModelCard("demo/demo", 8192, price_in=price, price_out=price)
    trace = Trace(
        recording,
        GRAPH,
        turn_id="1",
        ended=12.0,
        cards={"demo/demo": card},
        count=lambda text, _: len(text),
        seen=[(recording.requests[0], 1)],
    )
    events: list[Event] = [
        StageDegraded("知识库", "ENGINE_TIMEOUT", "stage `知识库` did not end within 0.5 s", 0.5),
        UsageReported("answer", "demo/demo", USAGE),
        ToolStarted("1", "calculator", '{"expression": "1+1"}', "tools"),
        ToolFinished("1", "calculator", "2", False, 0.002, "tools"),
        ToolStarted("2", "weather", '{"city": "北京"}', "tools"),
        ToolFinished("2", "weather", "no such city", True, 0.1, "tools"),
        ToolCallDelta(0, "3", "calculator", '{"expression": "2+2"}', "tools"),
        ToolStarted("3", "calculator", '{"expression": "2+2"}', "tools"),
        ToolFinished("3", "calculator", "4", False, 0.001, "tools"),
        TurnFinished("done", "stop", trace.usage, trace),
    ]
    return Said(turn(), tuple(events))


def seen(told: Said, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(trace_view(told, width), highlight=False)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


@pytest.mark.parametrize("width", [100, 60])
def test_a_trace_shows_where_time_and_tokens_went(width: int, snapshot: SnapshotAssertion) -> None:
    told = seen(said(price=2.0), width)
    assert told == snapshot
    assert max(map(cells, told.splitlines())) <= width


def test_a_cost_that_is_not_known_is_not_made_up() -> None:
    assert "cost" not in seen(said(), 100)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        pytest.param({"label": "急症", "by": "rules"}, "急症 by rules", id="the label of an intent"),
        pytest.param(
            {"label": "other", "by": "default", "patterns": "ran out of time"},
            "other by default · patterns: ran out of time",
            id="a pattern that ran away",
        ),
        pytest.param({"dropped": 2}, "2 jobs dropped: the outbox is full", id="an outbox that is full"),
        pytest.param({"dropped": 1}, "1 job dropped: the outbox is full", id="one job"),
        pytest.param(
            {"fallback_text": "demo: away"}, "said its fallback text: demo: away", id="no model's words"
        ),
        pytest.param({"too_small": "a/b"}, "too small for the prompt: a/b", id="a model that is too small"),
    ],
)
def test_what_a_stage_has_on_record_stands_beside_it(facts: dict[str, Any], told: str) -> None:
    line = next(line for line in seen(said(notes={2: facts}), 200).splitlines() if "memory" in line)
    assert line.endswith(told)


def test_what_the_turn_had_to_wait_for_is_marked() -> None:
    marked = [line.split()[1] for line in seen(said(), 100).splitlines() if line.startswith("* ")]
    assert marked == ["知识库", "prompt", "answer", "tools", "save"]


def test_the_stretches_add_up_to_the_whole() -> None:
    lines = seen(said(), 100).splitlines()
    together = next(line for line in lines if line.startswith("together"))
    assert together.split() == ["together", "2.0", "s", "100.0", "%"]


@given(
    start=st.floats(0, 10),
    length=st.floats(0, 10),
    whole=st.floats(0.001, 20),
    width=st.integers(1, 60),
)
def test_a_bar_is_never_wider_than_its_room_and_always_to_be_seen(
    start: float, length: float, whole: float, width: int
) -> None:
    drawn = bar(min(start, whole), min(length, whole), whole, width)
    assert cells(drawn) <= width
    assert drawn.strip()
