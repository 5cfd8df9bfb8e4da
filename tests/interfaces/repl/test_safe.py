"""Text from outside does not steer the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.cells import cells
from cozy.interfaces.repl.safe import one_line, safe


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\x1b[2J\x1b]0;owned\x07", id="escape sequences"),
        pytest.param("\x9b31m", id="their one-byte forms"),
        pytest.param("a\rb\x08", id="carriage returns and backspaces"),
        pytest.param("\u202eabc\u2066", id="turning the reading order"),
    ],
)
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    assert not set(safe(text)) & set("\x1b\x9b\x07\r\x08\u202e\u2066")


def test_what_people_write_stays_as_it_is() -> None:
    text = "你好，world\n\tcafé 👨‍👩‍👧 ｆｕｌｌ\u3000width"
    assert safe(text) == text


@given(text=st.text(max_size=80), width=st.integers(2, 30))
def test_one_line_is_one_line_and_fits(text: str, width: int) -> None:
    line = one_line(text, width)
    assert "\n" not in line
    assert cells(line) <= width


def test_what_does_not_fit_ends_in_an_ellipsis_between_characters() -> None:
    assert one_line("你好世界", 6) == "你好…"
    assert one_line("你好世界", 8) == "你好世界"
