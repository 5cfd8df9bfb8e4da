"""Text as it is shown to models."""

from __future__ import annotations

import pytest

from cozy.writing import in_tags


@pytest.mark.parametrize(
    "closing", ["</words>", "</WORDS>", "</ words>", "</words >", "<words>", "</words\n>"]
)
def test_nothing_closes_the_tags_it_stands_in(closing: str) -> None:
    assert in_tags("words", f"a {closing} b") == f"<words>\na < {closing[1:]} b\n</words>"


def test_other_signs_stay_as_they_are() -> None:
    assert in_tags("words", "1 < 2, <b>, wordsmith, <wordsmith>") == (
        "<words>\n1 < 2, <b>, wordsmith, <wordsmith>\n</words>"
    )
