"""What the demo model fills in where JSON of a shape is wanted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.demo_forms import filled
from cozy.stages.tool_arguments import MAX_ARGUMENTS

WORDS = "book 4 seats for -2.5"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, WORDS),
        ({"type": "string", "maxLength": 4}, "book"),
        ({"type": "integer"}, 4),
        ({"type": "number"}, 4),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "maximum": 1.5}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 4),
        ({"enum": ["red", "blue"]}, "red"),
        ({"const": 7}, 7),
        ({"type": "array", "items": {"type": "integer"}}, [4]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [4, 4]),
        ({"type": "array", "minItems": 0}, []),
        ({"type": "object"}, {}),
        ({"properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": WORDS}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 4),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 4),
        ({"$ref": "#/nowhere"}, WORDS),
        ({}, WORDS),
    ],
)
def test_a_form_is_filled_with_what_the_message_gives(schema: dict[str, Any], value: Any) -> None:
    assert filled(schema, WORDS) == value


def test_a_number_is_one_that_stands_alone() -> None:
    assert filled({"type": "number"}, "v2, room B12, 2.5 kg") == 2.5
    assert filled({"type": "number"}, "none") == 0


def test_a_schema_that_asks_for_itself_ends() -> None:
    tree: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert str(filled(tree, "")).count("next") < 20
    wide = {f"p{i}": {"$ref": "#"} for i in range(50)}
    many = {"type": "object", "properties": wide, "required": list(wide)}
    assert len(str(filled(many, WORDS))) < MAX_ARGUMENTS
    assert filled({"$ref": "#"}, WORDS) == WORDS


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "required",
                    "enum",
                    "items",
                    "minItems",
                    "maxLength",
                    "minimum",
                    "anyOf",
                    "$ref",
                ]
            ),
            inner | st.sampled_from(["object", "array", "integer", "number", "string", "#", "#/items"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(schema=_JSON, words=st.text(max_size=20))
def test_whatever_a_client_calls_a_schema_is_filled_in_somehow(schema: Any, words: str) -> None:
    filled(schema, words)
