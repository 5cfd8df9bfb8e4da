"""Text as it is shown to models."""

from __future__ import annotations

import pytest

from cozy.writing import beginning, in_tags


@pytest.mark.parametrize(
    "closing", ["</words>", "</WORDS>", "</ words>", "</words >", "<words>", "</words\n>"]
)
def test_nothing_closes_the_tags_it_stands_in(closing: str) -> None:
    assert in_tags("words", f"a {closing} b") == f"<words>\na < {closing[1:]} b\n</words>"


def test_other_signs_stay_as_they_are() -> None:
    assert in_tags("words", "1 < 2, <b>, wordsmith, <wordsmith>") == (
        "<words>\n1 < 2, <b>, wordsmith, <wordsmith>\n</words>"
    )


FAMILY = "👨‍👩‍👧‍👦"


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("喝茶", 2, "喝茶"),
        ("喝茶了", 2, "喝茶"),
        ("a" + FAMILY, 3, "a"),
        ("a" + FAMILY + "b", 8, "a" + FAMILY),
        ("🇨🇳🇨🇳", 3, "🇨🇳"),
        ("👍🏽👍🏽", 3, "👍🏽"),
        ("e\u0323\u0301xy", 2, ""),
        ("好e\u0323\u0301xy", 4, "好e\u0323\u0301"),
        ("\U00020bb7\U0002a6a5", 1, "\U00020bb7"),
        ("e" + "\u0301" * 100, 50, "e" + "\u0301" * 49),
    ],
)
def test_a_text_is_cut_between_what_is_seen_as_characters(text: str, most: int, expected: str) -> None:
    assert beginning(text, most) == expected
