from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.cells import cells, clipped


@pytest.mark.parametrize(
    ("text", "columns"),
    [("tea", 3), ("绿茶", 4), ("e\u0301", 1), ("👩‍👩‍👧", 2), ("", 0), ("\x07", 0)],
    ids=["Latin", "Chinese", "a mark", "a family", "nothing", "a bell"],
)
def test_a_text_takes_as_many_columns_as_a_terminal_gives_it(text: str, columns: int) -> None:
    assert cells(text) == columns


@pytest.mark.parametrize(
    ("width", "shown"), [(8, "绿茶很好"), (7, "绿茶很…"), (6, "绿茶…"), (2, "…"), (1, "…")]
)
def test_what_is_too_wide_ends_in_an_ellipsis(width: int, shown: str) -> None:
    assert clipped("绿茶很好", width) == shown


@given(st.text(), st.integers(1, 40))
def test_nothing_is_wider_than_its_room(text: str, width: int) -> None:
    assert cells(clipped(text, width)) <= width
