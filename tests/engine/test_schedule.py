"""Which stages may start, and what lies on one level."""

from __future__ import annotations

from cozy.engine.graph import Graph
from cozy.engine.schedule import critical_path, levels, release, waiting_counts
from tests.engine.steps import gives, graph_of, place


def diamond() -> Graph:
    """a → b, c → d; e stands alone."""
    return graph_of(
        place("a", gives(1)),
        place("b", gives(1), takes=["a"]),
        place("c", gives(1), takes=["a"]),
        place("d", gives(1), takes=["b", "c"], after=["a"]),
        place("e", gives(1)),
    )


def test_a_stage_waits_once_for_each_other_stage() -> None:
    assert waiting_counts(diamond()) == [0, 1, 1, 3, 0]


def test_a_stage_is_ready_when_the_last_that_it_waits_for_has_ended() -> None:
    graph = diamond()
    left = waiting_counts(graph)
    assert release(graph, 0, left) == [1, 2]
    assert release(graph, 1, left) == []
    assert release(graph, 2, left) == [3]


def test_stages_of_one_level_have_the_same_longest_way_behind_them() -> None:
    assert levels(diamond()) == [[0, 4], [1, 2], [3]]


def test_a_graph_without_stages_has_no_levels() -> None:
    assert levels(graph_of()) == []


def test_the_critical_path_follows_those_that_ended_last() -> None:
    assert critical_path(diamond(), [1.0, 2.0, 5.0, 6.0, 3.0]) == [0, 2, 3]
    assert critical_path(diamond(), [1.0, 4.0, 2.0, 6.0, 3.0]) == [0, 1, 3]


def test_the_critical_path_ends_at_what_ended_last() -> None:
    assert critical_path(diamond(), [1.0, 2.0, 2.0, 3.0, 9.0]) == [4]


def test_the_critical_path_goes_on_behind_what_has_not_run() -> None:
    graph = graph_of(
        place("history", gives(1)),
        place("answer", gives(1), takes=["history"]),
        place("tools", gives(1), takes=["answer"]),
        place("save", gives(1), takes=["tools"]),
    )
    assert critical_path(graph, [1.0, 2.0, None, 6.0]) == [0, 1, 3]
    assert critical_path(graph, [1.0, None, None, 6.0]) == [0, 3]
    assert critical_path(graph, [None, None, None, 6.0]) == [3]


def test_what_never_ended_is_not_on_the_critical_path() -> None:
    assert critical_path(diamond(), [1.0, 2.0, None, None, None]) == [0, 1]
    assert critical_path(diamond(), [None] * 5) == []
