"""Events of stages that ran side by side have one order, however they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cozy.engine.graph import Graph
from cozy.events import (
    Event,
    StageFinished,
    StageStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from cozy.testing.order import in_graph_order
from cozy.usage import Usage
from tests.engine.steps import gives, graph_of, place, says, story

END = TurnFinished("x", "stop", Usage(), None)


def graph() -> Graph:
    """a and b side by side, c after a, the answer after all."""
    return graph_of(
        place("a", gives(1)),
        place("b", gives(1)),
        place("c", gives(1), takes=["a"]),
        place("answer", says("x"), takes=["b", "c"], speaks=True),
    )


def both(stage: str) -> tuple[Event, Event]:
    return StageStarted(stage, "step"), StageFinished(stage, 0.1)


ONE_WAY = [
    both("a")[0],
    both("b")[0],
    both("a")[1],
    both("c")[0],
    both("b")[1],
    both("c")[1],
    both("answer")[0],
    TextDelta("x", "answer"),
    both("answer")[1],
    END,
]
ANOTHER = [
    both("b")[0],
    both("b")[1],
    both("a")[0],
    both("a")[1],
    both("c")[0],
    both("c")[1],
    *ONE_WAY[-4:],
]


def test_who_was_quicker_makes_no_difference() -> None:
    told = story(in_graph_order(ONE_WAY, graph()))
    assert told == story(in_graph_order(ANOTHER, graph()))
    assert told == ["+a", "+b", "-a", "+c", "-b", "-c", "+answer", "'x'", "-answer", "TurnFinished"]


@st.composite
def interleaved(draw: st.DrawFn) -> list[Event]:
    """The events of the graph in some order in which they may have come."""
    chains: dict[str, list[Event]] = {name: list(both(name)) for name in "abc"}
    waits: dict[str, set[str]] = {"a": set(), "b": set(), "c": {"a"}}
    told: list[Event] = []
    while chains:
        free = [name for name in chains if not waits[name] & chains.keys()]
        name = draw(st.sampled_from(free))
        told.append(chains[name].pop(0))
        if not chains[name]:
            del chains[name]
    return [*told, *ONE_WAY[-4:]]


@given(told=interleaved())
def test_any_order_becomes_the_same(told: list[Event]) -> None:
    assert in_graph_order(told, graph()) == in_graph_order(ONE_WAY, graph())


def test_a_turn_without_an_end_keeps_its_last_event_in_its_stage() -> None:
    told = ONE_WAY[:-2]
    assert story(in_graph_order(told, graph()))[-1] == "'x'"


def run(*ids: str) -> Sequence[Any]:
    return [ToolStarted(i, f"tool{i}", "{}", "answer") for i in ids]


def ran(*ids: str) -> Sequence[Any]:
    return [ToolFinished(i, f"tool{i}", "", False, 0.1, "answer") for i in ids]


def test_results_come_in_the_order_in_which_their_calls_began() -> None:
    events = [both("answer")[0], *run("1", "2", "3"), *ran("3", "1", "2"), both("answer")[1], END]
    assert in_graph_order(events, graph())[4:7] == ran("1", "2", "3")


def test_no_events_have_no_order() -> None:
    assert in_graph_order([], graph()) == []
