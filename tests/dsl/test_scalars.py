"""Each word of a text is found again in the file, however YAML wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cozy.dsl.parse import parse_text

# for each line of a text: how many words, and how much deeper it is indented; no words is a blank line
_lines = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=7)


def _text(lines: list[tuple[int, int]], *, deeper: bool) -> list[str]:
    words = iter(range(1000))
    return [
        " " * (extra if deeper and words_ else 0) + " ".join(f"词{next(words)}x" for _ in range(words_))
        for words_, extra in lines
    ]


def _check(text: str, path: tuple[str | int, ...]) -> None:
    parsed = parse_text(text, Path("f"), "f")
    assert parsed.document is not None, parsed.diagnostics
    value: Any = parsed.document.data
    for part in path:
        value = value[part]
    assert isinstance(value, str)
    for number, line in enumerate(value.split("\n"), 1):
        for word in line.split():
            place = parsed.document.inside(path, number, word)
            found = text.split("\n")[place.line - 1][place.column - 1 : place.end - 1]
            assert found == word, (number, word, place)


@pytest.mark.parametrize("mark", ["|", "|-", "|+", ">", ">-"])
@settings(max_examples=60)
@given(lines=_lines)
def test_in_a_block(mark: str, lines: list[tuple[int, int]]) -> None:
    body = "\n".join("    " + line if line else "" for line in ["首x", *_text(lines, deeper=True), "尾x"])
    _check(f"a:\n  prompt: {mark}\n{body}\n  next: b\n", ("a", "prompt"))


@pytest.mark.parametrize("mark", ["|2", ">2-"])
@settings(max_examples=30)
@given(lines=_lines)
def test_in_a_block_that_says_its_indentation(mark: str, lines: list[tuple[int, int]]) -> None:
    body = "\n".join("  " + line if line else "" for line in _text(lines, deeper=True))
    _check(f"prompt: {mark}\n{body}\nnext: b\n", ("prompt",))


@pytest.mark.parametrize("quote", ["", "'", '"'])
@settings(max_examples=60)
@given(lines=_lines)
def test_in_a_text_over_several_lines(quote: str, lines: list[tuple[int, int]]) -> None:
    body = "\n".join("    " + line if line else "" for line in _text(lines, deeper=False))
    _check(f"a:\n  prompt: {quote}首x\n{body}\n    尾x{quote}\n  next: b\n", ("a", "prompt"))


@settings(max_examples=60)
@given(lines=st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_in_double_quotes_with_line_breaks_written_out(lines: list[int]) -> None:
    words = iter(range(1000))
    text = "\\n".join(" ".join(f"词{next(words)}x" for _ in range(count)) for count in lines)
    _check(f'prompt: "首x {text}"\n', ("prompt",))


@pytest.mark.parametrize(
    "item", ["- |\n    词x 字x", "- >-\n    词x\n    字x", "- 词x 字x", "- '词x\n    字x'"]
)
def test_in_an_item_of_a_list(item: str) -> None:
    _check(f"a:\n  {item}\n  - b\n", ("a", 0))
