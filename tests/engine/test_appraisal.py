"""Engines are asked as turns ask them, and their times stand beside those that stages give them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from cozy.adapters.engine_context import EngineContext
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.engine import appraisal
from cozy.engine.appraisal import Appraisal, Use, Wait, appraise, uses
from cozy.engine.graph import Graph
from cozy.ports.context import EngineChoice
from cozy.stages.fetch_context import FetchContext, FetchContextSettings
from tests.engine.steps import Place, graph_of, hangs, place

EMBEDDED = EngineChoice()
MEMORY = Use("memory", "embedded", ())


def fetch(source: str, name: str = "", **facts: Any) -> Place:
    settings = FetchContextSettings.model_validate({"type": "fetch_context", "source": source})
    return Place(name or source, cast("Any", FetchContext(settings)), **facts)


def of(*places: Place, engines: EngineChoice = EMBEDDED, timeout_s: float = 30.0) -> Graph:
    graph = graph_of(*places, timeout_s=timeout_s)
    return replace(graph, persona=replace(graph.persona, engines=engines))


def waits(graphs: list[Graph], longest_s: float = 2.0) -> dict[tuple[str, str], tuple[Wait, ...]]:
    return {(use.engine, use.provider): use.waits for use in uses(graphs, EMBEDDED, longest_s)}


def test_a_stage_waits_as_long_as_the_shortest_of_what_bounds_it() -> None:
    graph = of(fetch("memory", "quick", timeout_s=0.4), fetch("memory", "free"), fetch("memory", timeout_s=9))
    assert waits([graph])["memory", "embedded"] == (
        Wait("steps", "quick", 0.4, "stage", can_do_without=False),
        Wait("steps", "free", 2.0, "context", can_do_without=False),
        Wait("steps", "memory", 2.0, "context", can_do_without=False),
    )
    hasty = of(fetch("memory", on_error="degrade"), timeout_s=1.5)
    assert waits([hasty])["memory", "embedded"] == (
        Wait("steps", "memory", 1.5, "turn", can_do_without=True),
    )


def test_each_engine_that_is_named_is_there_once_and_others_are_not() -> None:
    stages = fetch("history"), fetch("summary"), fetch("memory"), fetch("profile"), place("x", hangs)
    found = waits([of(*stages), of(*stages, engines=EngineChoice(memory="记忆库"))])
    assert {name: len(by) for name, by in found.items()} == {
        ("knowledge", "embedded"): 0,
        ("memory", "embedded"): 1,
        ("memory", "记忆库"): 1,
        ("profile", "embedded"): 2,
    }


@dataclass
class Engines:
    """Scripted ones, as an installation has them."""

    knowledge: ScriptedKnowledge
    profiles: ScriptedProfiles
    memories: ScriptedMemories
    timeout_s: float

    @property
    def context(self) -> EngineContext:
        embedded = EngineContext.of(
            cast("Any", self.knowledge), cast("Any", self.profiles), cast("Any", self.memories)
        )
        return replace(embedded, timeout_s=self.timeout_s)


def scripted(*, timeout_s: float = 30.0, **scripts: Mapping[str, Any]) -> Engines:
    return Engines(
        ScriptedKnowledge(scripts.get("knowledge")),
        ScriptedProfiles(scripts.get("profile")),
        ScriptedMemories(scripts.get("memory")),
        timeout_s,
    )


async def asked(engines: Engines, times: int = 4) -> dict[str, Appraisal]:
    found = await appraise(engines.context, uses([], EMBEDDED, 2.0), times)
    return {each.use.engine: each for each in found}


async def test_no_question_is_asked_twice_and_nobody_is_asked_about() -> None:
    engines = scripted()
    await asked(engines)
    for searches in (engines.knowledge.searches, engines.memories.searches):
        assert len({search.query for search in searches}) == len(searches) == 5, "the first does not count"
        assert len({search.user_id for search in searches}) == 5
    assert len(set(engines.profiles.asked)) == len(engines.profiles.asked) == 5


async def test_a_slow_engine_is_known_by_its_times() -> None:
    found = await asked(scripted(timeout_s=0.001, knowledge={"delay_ms": 50}))
    slow, quick = found["knowledge"], found["memory"]
    assert (slow.asked, slow.errors, len(slow.seconds)) == (4, {}, 4)
    assert (slow.quantile(0.5) or 0) >= 0.05, "longer than a turn would have waited"
    assert (quick.quantile(0.5) or 1) < (slow.quantile(0.5) or 0)


async def test_an_engine_that_never_answers_is_not_asked_on_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appraisal, "PATIENCE_S", 0.0)
    silent = (await asked(scripted(timeout_s=0.01, memory={"delay_ms": 60_000}), times=50))["memory"]
    assert (silent.asked, silent.errors) == (3, {"ENGINE_TIMEOUT": 3})
    assert silent.quantile(0.5) == math.inf
    assert "did not answer" in silent.reason


async def test_errors_are_counted_by_their_code_and_have_no_time() -> None:
    fault = {"kind": "EngineInvalidRequest", "message": "too odd", "times": 3}
    found = (await asked(scripted(memory={"fault": fault})))["memory"]
    assert (found.errors, len(found.seconds)) == ({"ENGINE_INVALID_REQUEST": 2}, 2), (
        "the first was not counted"
    )
    assert "too odd" in found.reason
    never = (await asked(scripted(memory={"fault": fault | {"times": None}})))["memory"]
    assert (never.quantile(0.5), never.late(0.5)) == (None, ())


async def test_an_engine_that_is_left_alone_is_asked_no_more() -> None:
    gone = scripted(memory={"fault": {"kind": "EngineUnavailable", "message": "gone"}})
    found = (await asked(gone, times=50))["memory"]
    assert found.errors == {"ENGINE_UNAVAILABLE": found.asked}
    assert 0 < found.asked < 50
    assert "gone" in found.reason


@pytest.mark.parametrize(
    ("seconds", "half", "most"),
    [([1], 1, 1), ([1, 2], 1, 2), ([1, 2, 3, 4, 5, 6, 7], 4, 7), ([*range(1, 101)], 50, 95)],
    ids=["one", "two", "seven", "a hundred"],
)
def test_a_quantile_is_the_nearest_answer(seconds: list[float], half: float, most: float) -> None:
    found = Appraisal(MEMORY, len(seconds), tuple(seconds), {}, "")
    assert (found.quantile(0.5), found.quantile(0.95)) == (half, most)


def test_late_is_who_waits_shorter_than_the_answers_take() -> None:
    short, long = (Wait("mia", "recall", s, "stage", can_do_without=True) for s in (0.3, 0.5))
    use = replace(MEMORY, waits=(short, long))
    found = Appraisal(use, 3, (0.1, 0.4, 0.5), {}, "")
    assert (found.late(0.5), found.late(0.95)) == ((short,), (short,))
    assert Appraisal(use, 1, (0.3,), {}, "").late(0.5) == ()
    assert Appraisal(use, 1, (math.inf,), {"ENGINE_TIMEOUT": 1}, "").late(0.5) == ()
