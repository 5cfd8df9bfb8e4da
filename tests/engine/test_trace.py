"""What a turn cost: segments that add up, parts, the critical path, usage and price."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.engine.graph import Graph
from cozy.engine.trace import Asked, Mark, Outcome, PrefixReuse, Recording, Trace, cost
from cozy.ports.llm import LLMRequest, ModelCard
from cozy.stages.values import BudgetReport, Prompt
from cozy.turn import Message
from cozy.usage import Usage
from tests.engine.steps import gives, graph_of, place, says


def graph() -> Graph:
    """Two that fetch side by side, and an answer."""
    return graph_of(
        place("history", gives(1)),
        place("memory", gives(1)),
        place("answer", says("x"), takes=["history", "memory"], speaks=True),
    )


def recording(
    times: Sequence[tuple[float | None, float | None]], *, marks: Sequence[Mark] = (), began: float = 10.1
) -> Recording:
    """A turn accepted at 10.0; start and end of each stage."""
    ends = [end for _, end in times]
    outcomes: list[Outcome] = ["done" if end is not None else "not run" for end in ends]
    return Recording(10.0, began, [start for start, _ in times], ends, outcomes, list(marks))


def trace(made: Recording, *, ended: float = 12.0, cards: Sequence[ModelCard] = ()) -> Trace:
    known = {card.name: card for card in cards}
    return Trace(made, graph(), turn_id="t", ended=ended, cards=known, count=characters)


def characters(text: str, _model: str) -> int:
    return len(text)


USUAL = [(10.2, 10.5), (10.2, 11.0), (11.0, 11.9)]


def test_the_turns_time_is_cut_along_its_critical_path() -> None:
    told = trace(recording(USUAL))
    assert told.critical_path == ("memory", "answer")
    assert [s.name for s in told.segments] == ["queue", "engine", "memory", "answer", "engine"]
    assert [round(s.seconds, 6) for s in told.segments] == [0.1, 0.1, 0.8, 0.9, 0.1]
    assert [round(s.start_s, 6) for s in told.segments] == [0.0, 0.1, 0.2, 1.0, 1.9]


def test_a_stage_on_the_path_is_cut_by_its_marks() -> None:
    marks = [
        Mark(2, "first_token", 11.1, 11.4),
        Mark(2, "upstream", 11.4, 11.8),
        Mark(2, "reader", 11.5, 11.6),
    ]
    told = trace(recording(USUAL, marks=marks))
    assert [(s.name, round(s.seconds, 6)) for s in told.segments[3:]] == [
        ("answer", 0.1),
        ("answer/first_token", 0.3),
        ("answer/upstream", 0.1),
        ("answer/reader", 0.1),
        ("answer/upstream", 0.2),
        ("answer", 0.1),
        ("engine", 0.1),
    ]


def test_a_mark_within_a_mark_takes_its_time_from_it() -> None:
    marks = [Mark(2, "upstream", 11.0, 11.9), Mark(2, "reader", 11.2, 11.3), Mark(2, "reader", 11.5, 11.7)]
    told = trace(recording(USUAL, marks=marks))
    inner = [(s.name, round(s.seconds, 6)) for s in told.segments if s.name.startswith("answer")]
    assert inner == [
        ("answer/upstream", 0.2),
        ("answer/reader", 0.1),
        ("answer/upstream", 0.2),
        ("answer/reader", 0.2),
        ("answer/upstream", 0.2),
    ]
    assert {name: round(s, 6) for name, s in told.stages[2].parts.items()} == {"upstream": 0.9, "reader": 0.3}


def test_marks_of_stages_beside_the_path_are_in_their_stage_only() -> None:
    told = trace(recording(USUAL, marks=[Mark(0, "cache", 10.2, 10.4)]))
    assert not any("history" in segment.name for segment in told.segments)
    assert told.stages[0].parts == {"cache": pytest.approx(0.2)}


def test_a_turn_in_which_nothing_ran_is_all_engine() -> None:
    told = trace(recording([(None, None)] * 3))
    assert [(s.name, round(s.seconds, 6)) for s in told.segments] == [("queue", 0.1), ("engine", 1.9)]
    assert [stage.outcome for stage in told.stages] == ["not run"] * 3


times = st.floats(0, 5, allow_nan=False)


@given(data=st.data(), began=times, tail=times)
def test_segments_follow_one_another_and_add_up_whatever_happened(
    data: st.DataObject, began: float, tail: float
) -> None:
    def stretch(earliest: float) -> tuple[float | None, float | None]:
        if not data.draw(st.booleans()):
            return None, None
        start = earliest + data.draw(times)
        return start, start + data.draw(times)

    first, second = stretch(10 + began), stretch(10 + began)
    third = stretch(max(10 + began, first[1] or 0, second[1] or 0))
    ended = max(10 + began, *(end or 0 for _, end in (first, second, third))) + tail
    marks = [
        Mark(node, f"part{i}", start + a, start + a + b)
        for node, (start, _) in enumerate((first, second, third))
        if start is not None
        for i, (a, b) in enumerate(data.draw(st.lists(st.tuples(times, times), max_size=3)))
    ]
    told = trace(recording([first, second, third], marks=marks, began=10 + began), ended=ended)
    assert sum(s.seconds for s in told.segments) == pytest.approx(told.wall_s)
    ends = [s.start_s + s.seconds for s in told.segments]
    assert [s.start_s for s in told.segments] == pytest.approx([0.0, *ends[:-1]][: len(ends)])
    assert all(s.seconds > 0 for s in told.segments)


# -- what it cost ---------------------------------------------------------------------------------------


def asked(node: int, model: str, usage: Usage) -> Asked:
    return Asked(node, LLMRequest(model, ()), usage)


CARD = ModelCard("a/big", 8192, price_in=2.0, price_cached=0.5, price_out=8.0)


def test_usage_and_model_of_a_turn() -> None:
    made = recording(USUAL)
    made.requests += [
        asked(0, "a/small", Usage(100, 10)),
        asked(2, "a/big", Usage(1000, 200, cached_tokens=400)),
    ]
    told = trace(made)
    assert told.usage == Usage(1100, 210, cached_tokens=400)
    assert told.model == "a/big"
    assert [stage.facts for stage in told.stages] == [{"model": "a/small"}, {}, {"model": "a/big"}]


def test_what_was_cached_costs_its_own_price() -> None:
    requests = [asked(2, "a/big", Usage(1000, 200, cached_tokens=400))]
    assert cost(requests, {"a/big": CARD}) == pytest.approx((600 * 2 + 400 * 0.5 + 200 * 8) / 1e6)


def test_without_a_price_of_its_own_what_was_cached_costs_as_much_as_the_rest() -> None:
    card = ModelCard("a/big", 8192, price_in=2.0, price_out=8.0)
    requests = [asked(2, "a/big", Usage(1000, 200, cached_tokens=400))]
    assert cost(requests, {"a/big": card}) == pytest.approx((1000 * 2 + 200 * 8) / 1e6)


@pytest.mark.parametrize(
    ("requests", "cards"),
    [
        pytest.param([], {}, id="no model was asked"),
        pytest.param([asked(2, "a/big", Usage(1, 1))], {}, id="a model that is not known"),
        pytest.param(
            [asked(2, "a/big", Usage(1, 1)), asked(2, "b", Usage(1, 1))],
            {"a/big": CARD, "b": ModelCard("b", 1, price_in=1.0)},
            id="one of two whose price is not known",
        ),
    ],
)
def test_a_cost_that_cannot_be_known_is_not_guessed(
    requests: list[Asked], cards: dict[str, ModelCard]
) -> None:
    assert cost(requests, cards) is None


def test_what_a_prompt_cache_could_save_is_told_in_tokens() -> None:
    made = recording(USUAL)
    request = LLMRequest("a/big", (Message("system", "你是小研。"), Message("user", "你好")))
    made.requests.append(Asked(2, request, Usage()))
    told = Trace(
        made,
        graph(),
        turn_id="t",
        ended=12.0,
        cards={},
        seen=[(made.requests[0], 1)],
        count=characters,
    )
    assert told.prefixes == (PrefixReuse("answer", 7, 5),)


def test_what_stages_noted_is_told_where_it_belongs() -> None:
    made = recording(USUAL)
    budget, prompt = BudgetReport(8192, 1024, 7168, 10), Prompt((), 10)
    made.notes = {0: {"code": "X", "reason": "why"}, 1: {"budget": budget}, 2: {"prompt": prompt}}
    told = trace(made)
    assert (told.budget, told.prompt) == (budget, prompt)
    assert [stage.facts for stage in told.stages] == [{"code": "X", "reason": "why"}, {}, {}]


def test_without_notes_there_is_neither_budget_nor_prompt() -> None:
    told = trace(recording(USUAL))
    assert (told.budget, told.prompt, told.model, told.cost) == (None, None, "", None)
