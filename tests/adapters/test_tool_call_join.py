"""Pieces of tool calls → whole calls."""

from __future__ import annotations

from typing import Any

import pytest

from cozy.adapters.tool_call_join import NamelessCall, ToolCallJoin


def piece(
    index: Any = None, call_id: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    made = {"index": index, "id": call_id, "function": {k: v for k, v in function.items() if v is not None}}
    return {k: v for k, v in made.items() if v is not None}


def joined(*pieces: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of each call, as a reader of the port puts them together."""
    join = ToolCallJoin()
    calls: dict[int, list[str]] = {}
    for chunk in [c for p in pieces for c in join.feed([p])] + join.finish():
        if chunk.index not in calls:
            calls[chunk.index] = [chunk.id, chunk.name, chunk.arguments]
        else:
            assert not chunk.id
            assert not chunk.name
            calls[chunk.index][2] += chunk.arguments
    assert list(calls) == list(range(len(calls)))
    return [(a, b, c) for a, b, c in calls.values()]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param(
            [piece(0, "a", "f", ""), piece(0, arguments='{"x"'), piece(0, arguments=":1}")],
            [("a", "f", '{"x":1}')],
            id="OpenAI: arguments piece by piece",
        ),
        pytest.param(
            [piece(0, "a", "f", "{}"), piece(1, "b", "g", "{"), piece(1, arguments="}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="two calls by index",
        ),
        pytest.param(
            [
                piece(0, "a", "f", "{"),
                piece(1, "b", "f", "{"),
                piece(0, arguments="}"),
                piece(1, arguments=" }"),
            ],
            [("a", "f", "{}"), ("b", "f", "{ }")],
            id="two calls in turns",
        ),
        pytest.param(
            [piece(0, "a", "f", "{"), piece(0, name="", arguments="}")],
            [("a", "f", "{}")],
            id="LM Studio: an empty name on later pieces",
        ),
        pytest.param(
            [piece(0, "a", "f", '{"x":1}'), piece(0, "b", "g", '{"y":2}')],
            [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
            id="every call numbered 0",
        ),
        pytest.param(
            [piece(0, "a", "f", "{"), piece(0, arguments="}"), piece(0, "b", "f"), piece(0, arguments="{}")],
            [("a", "f", "{}"), ("b", "f", "{}")],
            id="every call numbered 0, piece by piece",
        ),
        pytest.param(
            [piece(0, "a", "f", "{"), piece(0, "a", "f", "}")],
            [("a", "f", "{}")],
            id="id and name on every piece",
        ),
        pytest.param(
            [piece(0, "a", "f", "{"), piece(0, "b", arguments="}")],
            [("a", "f", "{}")],
            id="older vLLM: a new id on every piece",
        ),
        pytest.param(
            [piece(0, "a"), piece(0, name="f", arguments="{}")],
            [("a", "f", "{}")],
            id="the name after the id",
        ),
        pytest.param(
            [piece(0, "a", arguments='{"x"'), piece(0, name="f"), piece(0, arguments=":1}")],
            [("a", "f", '{"x":1}')],
            id="the name after the first arguments",
        ),
        pytest.param(
            [piece(None, "a", "f", "{"), piece(None, arguments="}")],
            [("a", "f", "{}")],
            id="no index",
        ),
        pytest.param(
            [piece(None, "a", "f", "{}"), piece(None, "b", "f", "{}")],
            [("a", "f", "{}"), ("b", "f", "{}")],
            id="no index, two whole calls",
        ),
        pytest.param(
            [piece(None, "a", "f", "{"), piece(None, "b", "g", "{"), piece(None, "a", arguments="}")],
            [("a", "f", "{}"), ("b", "g", "{")],
            id="no index, by id",
        ),
        pytest.param(
            [piece("0", "a", "f", "{"), piece("0", arguments="}")], [("a", "f", "{}")], id="an index in text"
        ),
        pytest.param(
            [piece(0, "a", "f", {"x": "你"})], [("a", "f", '{"x": "你"}')], id="arguments as object"
        ),
        pytest.param([piece(0, "a", "f")], [("a", "f", "{}")], id="no arguments at all"),
        pytest.param([piece(0, "a", "f", " ")], [("a", "f", " {}")], id="blank arguments"),
        pytest.param(
            [{"index": 0, "id": "a", "name": "f", "arguments": "{}"}],
            [("a", "f", "{}")],
            id="no `function` around it",
        ),
        pytest.param([piece(3, "a", "f", "{}")], [("a", "f", "{}")], id="numbered from elsewhere"),
        pytest.param([piece(0, "a"), piece(0)], [], id="a call that never was"),
    ],
)
def test_pieces_become_calls(pieces: list[dict[str, Any]], expected: list[tuple[str, str, str]]) -> None:
    assert joined(*pieces) == expected


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([piece(0, name="f", arguments="{}"), piece(0, name="g", arguments="{}")], id="by name"),
        pytest.param([piece(0, name="f", arguments="{}"), piece(0, name="f", arguments="{}")], id="by end"),
        pytest.param([piece(0, "", "f", "{}"), piece(1, "", "f", "{}")], id="by index"),
    ],
)
def test_calls_without_an_id_are_told_apart_and_get_one(pieces: list[dict[str, Any]]) -> None:
    (first, _, one), (second, _, two) = joined(*pieces)
    assert first.startswith("call_")
    assert second.startswith("call_")
    assert first != second
    assert (one, two) == ("{}", "{}")


def test_a_late_id_does_not_change_the_one_that_was_given() -> None:
    ((call_id, name, arguments),) = joined(piece(0, name="f", arguments="{"), piece(0, "late", arguments="}"))
    assert call_id.startswith("call_")
    assert (name, arguments) == ("f", "{}")


def test_arguments_that_nobody_named_are_an_error() -> None:
    join = ToolCallJoin()
    join.feed([piece(0, "a", arguments="{}")])
    with pytest.raises(NamelessCall):
        join.finish()


def test_pieces_that_are_no_objects_are_left_out() -> None:
    assert ToolCallJoin().feed(["x", None, {"index": 0, "function": "f"}]) == []
