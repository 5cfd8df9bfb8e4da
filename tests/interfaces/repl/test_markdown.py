"""Markdown as it comes in: what is settled, where lines are broken, how it looks."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from cozy.cells import cells
from cozy.interfaces.repl.markdown import breaks, lines_of, settled

EVERYTHING = """\
# 标题 Title 很长的标题，English mixed, 需要换行的标题才可以
你好，现在是 2025 年，今天我们来谈谈（健康）的问题：每天喝水要喝多少？English words mixed 中文。
第二行 second line <b>html</b>

- 列表一：很长很长很长很长的一项内容，需要换行显示才可以看得清楚
- two **bold**
  1. nested `code`

7. seven
8. eight

| 名称 | value |
|---|---:|
| 苹果 | 12 |

```python
def f(x): return "字符串"


def g(): ...
```
> quote 引用

<div>block html</div>

---

[link](http://example.com) https://averyveryverylongurl.example.com/that/does/not/fit/in/a/line
"""

PIECES = ["a", "中文", " ", "  ", "\n", "\n\n", "- ", "1. ", "# ", "```", "> ", "| a | b |\n", "|---|---|\n"]
PIECES += ["---", "===", "*", "`", "    ", "<b>", "[x]: y"]
marked_up = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


def shown(text: str, width: int = 44) -> list[str]:
    lines = lines_of(text, Console(width=80, force_terminal=True), width)
    return ["".join(segment.text for segment in line) for line in lines]


def block_starts(text: str) -> list[int]:
    """Where each top-level block of a whole text begins, in characters."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
    lines = text.split("\n")
    starts = [t.map[0] for t in parser.parse(text) if t.level == 0 and t.map and t.nesting >= 0]
    return [sum(len(line) + 1 for line in lines[:start]) for start in starts]


@pytest.mark.parametrize("width", [60, 44, 20])
def test_every_kind_of_block_looks_as_it_should(width: int, snapshot: SnapshotAssertion) -> None:
    assert "\n".join(shown(EVERYTHING, width)) == snapshot


@pytest.mark.parametrize("width", [60, 44, 20])
def test_no_line_is_wider_than_the_screen_has_room(width: int) -> None:
    assert max(map(cells, shown(EVERYTHING, width))) <= width


def test_html_is_shown_not_swallowed() -> None:
    assert shown("<think>hm</think>\n\n<div>x</div>") == ["<think>hm</think>", "", "<div>x</div>"]


def test_line_breaks_of_a_poem_are_kept() -> None:
    assert shown("床前明月光，\n疑是地上霜。") == ["床前明月光，", "疑是地上霜。"]


def test_no_spaces_stand_at_the_end_of_a_line() -> None:
    """A terminal that is made narrower would break them into lines of their own."""
    assert [line for line in shown(EVERYTHING) if line.endswith(" ")] == []


@settings(max_examples=300)
@example("- a\n*", "*bold**\n\nz\n")
@example("para\n#", "hashtag\n\nz\n")
@example("a\n\nb | c\n", "---|---\n1 | 2\n\nz\n")
@example("```\nx\n\ny", "\n```\nz")
@given(before=marked_up, after=marked_up)
def test_what_is_settled_is_whole_blocks_whatever_follows(before: str, after: str) -> None:
    """A reference that is defined further down may still change a link; no block changes its borders."""
    assert settled(before) in {0, *block_starts(before + after)}


@given(text=marked_up)
def test_the_last_block_is_never_settled(text: str) -> None:
    whole = text[: text.rfind("\n") + 1]
    assert not text or settled(text) < len(text)
    assert settled(text) == (starts[-1] if len(starts := block_starts(whole)) > 1 else 0)


@example("1中。。", 5)
@example(text="1中。。", width=5)
@given(text=st.text("ab中文，。（） 12\t😀e\u0301", max_size=60), width=st.integers(4, 20))
def test_lines_are_broken_so_that_they_fit(text: str, width: int) -> None:
    text = text.expandtabs()
    cuts = breaks(text, width)
    assert cuts == sorted(set(cuts))
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        assert cells(text[start:end].rstrip()) <= width


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        pytest.param("hello big world", 11, ["hello big ", "world"], id="after spaces"),
        pytest.param("你好世界再见", 8, ["你好世界", "再见"], id="between wide characters"),
        pytest.param("今天是 2025 年，你好", 12, ["今天是 2025 ", "年，你好"], id="never before a comma"),
        pytest.param(
            "我们说（健康）吧", 8, ["我们说", "（健康）", "吧"], id="never after an opening bracket"
        ),
        pytest.param("abcdefghij", 4, ["abcd", "efgh", "ij"], id="a word that fits no line"),
        pytest.param("写Python代码", 8, ["写Python", "代码"], id="beside wide characters"),
        pytest.param("", 8, [""], id="nothing"),
    ],
)
def test_a_line_is_broken_where_readers_expect_it(text: str, width: int, lines: list[str]) -> None:
    cuts = breaks(text, width)
    assert [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)] == lines
