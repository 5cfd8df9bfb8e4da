"""What a conversation is called as long as nobody has named it."""

from __future__ import annotations

import pytest

from cozy.interfaces.titles import cut, first_words


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("你好。我想问睡眠。", "你好"),
        ("怎么才能睡得好？请详细说", "怎么才能睡得好"),
        ("How do I sleep 7.5 hours? Tell me.", "How do I sleep 7.5 hours"),
        ("\n\n！！\n睡眠", "睡眠"),
        ("茶" * 80, "茶" * 50),
        ("???", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_of_a_message_is_a_title(text: str, title: str) -> None:
    assert first_words(text) == title


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        pytest.param("abc", 3, "abc", id="short enough"),
        pytest.param("abcd", 3, "abc", id="too long"),
        pytest.param("ae\u0301x", 2, "a", id="an accent stays with its letter"),
        pytest.param("a👩\u200d🔬b", 3, "a", id="a joined picture stays whole"),
        pytest.param("a👍🏽b", 2, "a", id="a colour stays with its hand"),
        pytest.param("\u0301" * 60, 50, "", id="nothing but accents"),
        pytest.param("x" * 49 + "🇨🇳", 50, "x" * 49, id="half a flag is no flag"),
        pytest.param("家" * 47 + "👨\u200d👩\u200d👧\u200d👦", 50, "家" * 47, id="a family stays together"),
    ],
)
def test_a_cut_tears_nothing_apart(text: str, longest: int, expected: str) -> None:
    assert cut(text, longest) == expected
