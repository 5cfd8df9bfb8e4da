from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.dsl.layout import deepest, entry_end, first_duplicate, structure

_scalars = st.sampled_from(
    ["x", "'中 # 文'", '"a: b"', "|\n{0}- x\n\n{0}k: v  # c", ">-  # 注\n{0}  - deep: er\n{0}x", ""]
)
_trees = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "中文", "'q: k'", '"d"']), inner, min_size=1, max_size=3)
    ),
    max_leaves=10,
)


def _written(tree: Any, indent: int = 0) -> str:
    """YAML with every collection below its key or dash."""
    lead = "  " * indent
    if isinstance(tree, dict):
        return "".join(f"\n{lead}{key}: {_written(inner, indent + 1)}" for key, inner in tree.items())
    if isinstance(tree, list):
        return "".join(f"\n{lead}- {_written(inner, indent + 1)}" for inner in tree)
    return tree.format(lead)


def _measured(tree: Any) -> tuple[int, int]:
    """How many keys and items there are, and how deep they lie."""
    inner = list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    below = [_measured(value) for value in inner]
    return len(inner) + sum(count for count, _ in below), max((depth for _, depth in below), default=-1) + 1


@given(tree=st.dictionaries(st.sampled_from(["a", "b", "名字"]), _trees, min_size=1, max_size=3))
def test_keys_and_items_are_counted_and_texts_are_not(tree: dict[str, Any]) -> None:
    lines = list(structure(_written(tree).split("\n")))
    assert (sum(line.depth for line in lines), deepest(lines)[0]) == _measured(tree)
    assert first_duplicate(lines) is None


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("a: 1\nb: 2\na: 3", 2),
        ("a:\n  b: 1\nc:\n  b: 1\n  'b': 2", 4),
        ("a:\n  - b: 1\n    c: 2\n  - b: 1\n    b: 2", 4),
        ("a:\n  - b: 1\n  - b: 1\nc: 1", None),
        ("a: |\n  b: 1\n  b: 2", None),
        ("a:\n- b: 1\n- b: 1\na: 2", 3),
    ],
)
def test_a_key_twice_is_found_in_its_own_mapping(text: str, index: int | None) -> None:
    found = first_duplicate(structure(text.split("\n")))
    assert (found.index if found else None) == index


@pytest.mark.parametrize(
    ("text", "index", "end"),
    [
        ("a: 1\nb: 2", 0, 1),
        ("a:\n  b: 1\n\n  c: 2\nd: 3", 0, 4),
        ("a:\n- x\n- y\nb: 1", 0, 3),
        ("a:\n  - x\n  - y", 1, 2),
        ("a: |\n  text\n\n  more\n\nb: 1", 0, 4),
    ],
)
def test_an_entry_ends_where_the_next_begins(text: str, index: int, end: int) -> None:
    assert entry_end(text.split("\n"), index) == end
