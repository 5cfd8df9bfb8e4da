"""The end of the screen: drawn again in place, let go for good."""

from __future__ import annotations

from rich.segment import Segment

from cozy.interfaces.repl.screen import Tail
from tests.interfaces.repl.terminals import Terminal


def lines(*texts: str) -> list[list[Segment]]:
    return [[Segment(text)] for text in texts]


def test_a_drawing_takes_the_place_of_the_one_before() -> None:
    terminal = Terminal()
    with Tail(terminal.console) as tail:
        tail.draw([], lines("one", "two", "three"))
        tail.draw([], lines("一", "二"))
        assert terminal.shown[:4] == ["一", "二", "", ""]


def test_what_is_printed_for_good_stands_above() -> None:
    terminal = Terminal()
    with Tail(terminal.console) as tail:
        tail.draw([], lines("growing"))
        tail.draw(lines("first", "第二"), lines("growing more"))
        assert terminal.shown[:3] == ["first", "第二", "growing more"]


def test_the_tail_is_gone_when_the_block_is_left_and_the_cursor_is_back() -> None:
    terminal = Terminal()
    with Tail(terminal.console) as tail:
        tail.draw(lines("kept"), lines("gone", "gone too"))
        assert terminal.cursor_hidden
    terminal.console.print("next")
    assert terminal.text == "kept\nnext"
    assert not terminal.cursor_hidden


def test_a_tail_at_the_bottom_of_the_screen_scrolls_what_is_above_it() -> None:
    terminal = Terminal(height=5)
    with Tail(terminal.console) as tail:
        for i in range(20):
            tail.draw(lines(f"line {i}"), lines(f"tail {i}", "…"))
    assert terminal.text.splitlines() == [f"line {i}" for i in range(20)]


def test_each_drawing_is_one_write_that_shows_nothing_half_done() -> None:
    terminal = Terminal()
    with Tail(terminal.console) as tail:
        tail.draw([], lines("a", "b"))
        terminal.written.clear()
        tail.draw(lines("x"), lines("c"))
    drawing = terminal.written[0]
    assert drawing.startswith("\x1b[?2026h")
    assert drawing.endswith("\x1b[?2026l")


def test_nothing_is_written_where_nothing_has_changed() -> None:
    terminal = Terminal()
    with Tail(terminal.console) as tail:
        tail.draw([], lines("same"))
        terminal.written.clear()
        tail.draw([], lines("same"))
        assert terminal.written == []


def test_after_the_window_was_made_narrower_more_rows_are_erased() -> None:
    """A terminal breaks the lines that it shows already: 12 cells are 2 rows of 6, wide ones too."""
    terminal = Terminal(width=12)
    with Tail(terminal.console) as tail:
        tail.draw([], lines("x" * 12, "你好你好你好", "short"))
        terminal.console.width = 6
        terminal.written.clear()
        tail.draw([], lines("new"))
        assert "\x1b[4A" in terminal.written[0]
