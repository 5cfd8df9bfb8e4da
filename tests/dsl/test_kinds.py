from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from typing import Any, Literal

import pytest

from cozy.dsl.kinds import ANYTHING, VARIABLE_KINDS, context_part, kind, member, values_of
from cozy.stages.templates import VARIABLES
from cozy.stages.values import Budgeted, ContextPart, Generation, Reply
from cozy.turn import SessionId


def test_every_variable_of_templates_has_a_kind() -> None:
    assert VARIABLE_KINDS.keys() == VARIABLES.keys()


@pytest.mark.parametrize("section", ["knowledge", "profile", "memory", "summary"])
def test_a_part_is_made_of_snippets(section: str) -> None:
    item = member(context_part(section), "[]")
    assert item is not None
    assert member(item, "source") is not None
    assert member(item, "role") is None


def test_the_history_is_made_of_messages() -> None:
    item = member(context_part("history"), "[]")
    assert item is not None
    assert (member(item, "role") is not None, member(item, "source")) == (True, None)


def test_a_part_of_unknown_section_may_be_made_of_either() -> None:
    item = member(kind(ContextPart), "[]")
    assert item is not None
    assert member(item, "role") is not None
    assert member(item, "source") is not None


@pytest.mark.parametrize(
    ("of", "path", "there"),
    [
        (Generation, "text", True),
        (Generation, "text.upper", True),
        (Generation, "text.uper", False),
        (Generation, "label", False),
        (Generation, "usage.total_tokens", True),
        (Generation, "usage.tokens", False),
        (Generation, "request.messages.[].content", True),
        (Generation, "request.messages.[].contents", False),
        (Generation, "tool_calls.[].name", True),
        (Reply, "messages.[].role", True),
        (ContextPart, "text", True),
        (ContextPart, "__class__", False),
        (Budgeted, "report.sections.[].cut.[].what", True),
        (Budgeted, "parts.knowledge.anything", True),
        (str, "[].whatever", True),
        (SessionId, "hex", True),
        (dict[str, Any], "a.b.c", True),
        (Mapping[str, int], "a", True),
        (Sequence[int], "count", True),
        (Sequence[int], "size", False),
    ],
    ids=str,
)
def test_fields_are_those_of_the_annotations(of: Any, path: str, there: bool) -> None:
    here = kind(of)
    for field in path.split("."):
        here = member(here, field) if here else None
    assert (here is not None) is there


def test_closed_sets_of_values_are_known() -> None:
    assert values_of(VARIABLE_KINDS["turn"], ["channel"]) == {"terminal", "http", "voice", "test"}
    assert values_of(kind(Generation), ["text"]) is None
    assert values_of(kind(Generation), ["no", "such", "field"]) is None
    assert kind(Literal["a", "b"] | None).values == {"a", "b", None}


def test_of_a_plugins_value_that_cannot_be_read_nothing_is_claimed() -> None:
    odd = make_dataclass("Odd", [("field", "NotImported")])
    assert member(kind(odd), "field") is ANYTHING
    assert member(kind(odd), "other") is ANYTHING
