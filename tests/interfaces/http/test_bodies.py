from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from cozy.errors import InvalidRequest
from cozy.interfaces.http.bodies import body_as, json_value, param_of


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tea: str
    cups: int = Field(default=1, ge=1, le=9)
    size: Literal["small", "large"] = "small"
    guests: list[Order] = []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b"  \n", "empty", id="blanks"),
        pytest.param(b'{"tea": "oolong"', "EOF", id="cut off"),
        pytest.param("{“tea”: 1}".encode(), "not valid JSON", id="Chinese quotes"),
        pytest.param(b'{"tea": NaN}', "not valid JSON", id="NaN"),
        pytest.param(b'{"tea": -Infinity}', "not valid JSON", id="infinity"),
        pytest.param(b'{"tea": 1e999}', "too large", id="an infinite number"),
        pytest.param(b'{"tea": [{"x": 1E+999}]}', "too large", id="an infinite number within"),
        pytest.param(b'{"tea": %s.5}' % (b"9" * 400), "too large", id="hundreds of digits"),
        pytest.param(b'{"tea": %s}' % (b"9" * 5000), "out of range", id="thousands of digits"),
        pytest.param(b'{"tea": "\xff"}', "unicode", id="not UTF-8"),
        pytest.param('{"tea": "茶"}'.encode("gb18030"), "not valid JSON", id="GB 18030"),
        pytest.param(b"[" * 100_000, "recursion", id="nested without end"),
    ],
)
def test_what_is_no_json_is_refused_in_words(body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        json_value(body)


def test_a_byte_order_mark_is_nothing() -> None:
    assert json_value(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\uDE00!"', "\ufffd!"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd😀"),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
    ],
    ids=["a first half", "a second half", "a half before a whole one", "a whole one", "text", "text before"],
)
def test_half_a_character_is_read_as_one_that_is_missing(written: bytes, read: str) -> None:
    """JSON.stringify writes a cut emoji so, and the rest of what was said is worth an answer."""
    assert json_value(written) == read
    assert body_as(Order, b'{"tea": ' + written + b"}").tea == read


def test_large_numbers_that_floats_hold_are_taken() -> None:
    assert json_value(b"[1e100, 1E+300, 12345678901234567890]") == [1e100, 1e300, 12345678901234567890]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        pytest.param(b"[]", None, "must be a JSON object", id="a list"),
        pytest.param(b'"tea"', None, "must be a JSON object", id="text"),
        pytest.param(b"{}", "tea", "is missing", id="a field missing"),
        pytest.param(b'{"tea": 1}', "tea", "string", id="a number for text"),
        pytest.param(b'{"tea": "x", "cups": "2"}', "cups", "integer", id="text for a number"),
        pytest.param(b'{"tea": "x", "cups": true}', "cups", "integer", id="true for a number"),
        pytest.param(b'{"tea": "x", "cups": 10}', "cups", "less than or equal to 9", id="beyond the range"),
        pytest.param(b'{"tea": "x", "milk": 1}', "milk", "no such field", id="an unknown field"),
        pytest.param(b'{"tea": "x", "size": "huge"}', "size", "'small' or 'large'", id="another word"),
        pytest.param(
            b'{"tea": "x", "guests": [{"tea": "y"}, {"tea": 3}]}', "guests[1].tea", "string", id="deep down"
        ),
    ],
)
def test_an_error_says_where_and_what(body: bytes, param: str | None, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        body_as(Order, body)
    assert caught.value.param == param


def test_several_errors_are_told_together() -> None:
    with pytest.raises(InvalidRequest, match=r"and 1 more") as caught:
        body_as(Order, b'{"tea": 1, "cups": 0}')
    assert [p["param"] for p in caught.value.details["problems"]] == ["tea", "cups"]


def test_tags_of_unions_are_no_part_of_the_place() -> None:
    assert param_of(("messages", 0, "tagged-union[A,B]", "content")) == "messages[0].content"


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**63), 2**63), st.lists))
def test_whatever_is_json_is_read_as_it_was_written(value: object) -> None:
    assert json_value(to_json(value)) == value
