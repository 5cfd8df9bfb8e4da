"""Failures in words."""

from __future__ import annotations

import pytest

from cozy.interfaces.http.cozychat.wording import failure, is_chinese, texts_in
from cozy.interfaces.http.problems import Problem


@pytest.mark.parametrize(
    ("texts", "chinese"),
    [
        (["你好"], True),
        (["hello"], False),
        (["hello 你好"], True),
        (["😀", "hello"], False),
        (["123", "你好"], True),
        (["東京はどうですか"], False),
        (["Привет"], False),
        ([], True),
        (["!"], True),
    ],
)
def test_the_language_is_that_of_the_newest_words(texts: list[str], chinese: bool) -> None:
    assert is_chinese(texts) is chinese


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({}, []),
        ({"messages": "x"}, []),
        ({"messages": [1, None, {"content": 5}, {"role": "user"}]}, []),
        (
            {
                "messages": [
                    {"role": "assistant", "content": "welcome"},
                    {"role": "user", "content": "old"},
                    {"role": "assistant", "content": "reply"},
                    {"role": "user", "content": "new"},
                ]
            },
            ["new", "old", "reply", "welcome"],
        ),
    ],
)
def test_the_users_own_words_come_first_and_the_newest_before_all(
    body: dict[str, object], texts: list[str]
) -> None:
    assert list(texts_in(body)) == texts


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        ("AUTH_INVALID_TOKEN", "你好", "登录已失效"),
        ("AUTH_INVALID_TOKEN", "hi", "log in again"),
        ("RATE_LIMIT_EXCEEDED", "你好", "8 秒"),
        ("ENGINE_SOMETHING_NEW", "hi", "The model is away"),
        ("STORAGE_FAILED", "hi", "stored"),
        ("VALIDATION_FAILED", "hi", "(secret inside)"),
        ("TURN_TEMPLATE_FAILED", "hi", "req_1"),
        ("INTERNAL_ERROR", "你好", "req_1"),
    ],
)
def test_each_kind_of_failure_has_words_of_its_own(code: str, text: str, words: str) -> None:
    problem = Problem(500, code, "x", "secret inside", retry_after_s=7.2)
    told = failure(problem, [text], "req_1")
    assert words in told
    assert ("secret" in told) == code.startswith("VALIDATION")
