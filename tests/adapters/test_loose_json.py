"""JSON as servers really write it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.adapters.loose_json import MAX_COUNT, CharacterJoin, parsed, whole_number


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000])
def test_what_cannot_be_read_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((0, 0), (7, 7), (7.0, 7), ("7", 7), ("007", 7), (MAX_COUNT, MAX_COUNT)),
        *((-1, None), (MAX_COUNT + 1, None), (10**400, None), ("9" * 5000, None)),
        *((float("inf"), None), (float("nan"), None), (True, None), (None, None), ("7.5", None), ("²", None)),
        ([7], None),
    ],
)
def test_a_whole_number_may_be_written_in_several_ways(value: Any, number: int | None) -> None:
    assert whole_number(value) == number


@example(pieces=["\ud83d", "\ude00"])
@example(pieces=["a\ud83d", "", "\ud83d", "\ude00\ude00"])
@given(pieces=st.lists(st.text(st.sampled_from("a茶😀\ud83d\ude00"))))
def test_characters_do_not_depend_on_where_the_text_was_cut(pieces: list[str]) -> None:
    join = CharacterJoin()
    got = [*map(join.feed, pieces), join.end()]
    whole = "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert "".join(got) == whole
