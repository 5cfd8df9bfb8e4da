"""Times, calls and moments in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cozy.interfaces.repl.conversation import title_of
from cozy.interfaces.repl.views import ago
from cozy.interfaces.repl.wording import call_text, seconds


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.0052, "5.2 ms"),
        (0.0999, "100 ms"),
        (0.42, "420 ms"),
        (0.9996, "1.0 s"),
        (3.21, "3.2 s"),
        (99.94, "99.9 s"),
        (125, "2 m 05 s"),
    ],
)
def test_seconds_are_told_with_two_figures_or_so(value: float, words: str) -> None:
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('{"city": "北京", "days": 2, "hourly": true}', "f(city: 北京, days: 2, hourly: true)"),
        ("{}", "f()"),
        ("", "f()"),
        ("[1, 2]", "f([1, 2])"),
        ('{"cut', 'f({"cut)'),
    ],
)
def test_a_call_is_told_as_a_person_would_write_it(arguments: str, words: str) -> None:
    assert call_text("f", arguments) == words


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(hours=30), "yesterday"),
    ],
)
def test_a_moment_is_told_from_now(before: timedelta, words: str) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert ago(now - before, now) == words


def test_a_moment_long_ago_is_its_day() -> None:
    then = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert ago(then, datetime(2026, 5, 1, tzinfo=UTC)) == f"{then.astimezone():%Y-%m-%d}"


def test_a_title_is_the_first_words_on_one_line() -> None:
    assert title_of(" 你好，\n  小研 ") == "你好， 小研"
    assert len(title_of("x" * 500)) == 60
