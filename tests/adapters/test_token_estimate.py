from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.token_estimate import WEIGHTS, estimated_tokens, utf8_bytes

# Texts with the counts of tiktoken's own o200k_base and cl100k_base
COUNTED = {
    "english": ("The quick brown fox jumps over the lazy dog, and then it went home to sleep.", 18, 18),
    "chinese": ("今天天气怎么样？我想去公园散步，顺便买点水果。", 19, 31),
    "python": ("def add(a, b):\n    return a + b  # the sum\n", 16, 16),
    "json": ('{"name": "小研", "age": 30, "tags": ["a", "b"]}', 23, 24),
    "german": ("Die Katze sitzt auf der Fensterbank und schaut hinaus.", 11, 17),
    "mixed": ("我用 Python 写了一个 chat engine，很快！", 11, 15),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in COUNTED.items()])
def test_an_estimate_is_near_the_count_and_rather_above(text: tuple[str, int, int]) -> None:
    words, o200k, cl100k = text
    assert -0.15 < estimated_tokens(words, WEIGHTS["o200k_base"]) / o200k - 1 < 0.5
    assert -0.25 < estimated_tokens(words, WEIGHTS["cl100k_base"]) / cl100k - 1 < 0.5


def test_no_text_is_no_token() -> None:
    assert estimated_tokens("", WEIGHTS["o200k_base"]) == 0
    assert utf8_bytes("") == 0


def test_bytes_are_those_of_utf_8() -> None:
    assert utf8_bytes("abc") == 3
    assert utf8_bytes("中文😀") == 10
    assert utf8_bytes("\ud83d") == 3


@pytest.mark.parametrize("encoding", WEIGHTS)
@given(text=st.text())
def test_an_estimate_stays_near_the_bound_of_its_bytes(encoding: str, text: str) -> None:
    # ASCII punctuation weighs a little more than the one byte that it is
    assert 0 <= estimated_tokens(text, WEIGHTS[encoding]) <= 1.1 * utf8_bytes(text) + 1e-9


@pytest.mark.parametrize("encoding", WEIGHTS)
@given(one=st.text(), other=st.text())
def test_more_text_is_not_fewer_tokens(encoding: str, one: str, other: str) -> None:
    weights = WEIGHTS[encoding]
    parts = estimated_tokens(one, weights) + estimated_tokens(other, weights)
    together = estimated_tokens(one + other, weights)
    assert together <= parts + 1e-9
    assert together >= max(estimated_tokens(one, weights), estimated_tokens(other, weights)) - 1e-9
