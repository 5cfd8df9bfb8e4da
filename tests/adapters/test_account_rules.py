from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.adapters import account_rules as rules
from cozy.errors import InvalidRequest, InvalidToken

ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.integers(),
    st.binary(),
    st.text(st.characters(codec=None)),  # lone surrogates too
    st.lists(st.text()),
    st.dictionaries(st.text(), st.integers()),
)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("ann", "ann"),
        ("Ann", "ann"),
        ("ＡＮＮ", "ann"),
        ("小明", "小明"),
        ("张三丰", "张三丰"),
        ("さくら", "さくら"),
        ("지민", "지민"),
        ("Élodie", "élodie"),
        ("e\u0301lodie", "élodie"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ann of the hills", "ann of the hills"),
        ("o'neil-smith_3.0", "o'neil-smith_3.0"),
        ("a" * 50, "a" * 50),
    ],
)
def test_a_name_is_kept_in_one_spelling(given: str, name: str) -> None:
    assert rules.user_name(given) == name


@pytest.mark.parametrize(
    "given",
    [
        "",
        "an",
        "明",
        "a" * 51,
        "a" * 10_000_000,
        " ann",
        "ann ",
        "ann\u3000",
        "an\nn",
        "an\x00n",
        "an\x1b[31mn",
        "ann\u200b",
        "\u202eann",
        "ann\ufeff",
        "\u3164\u3164\u3164",
        "an\u00adn",
        "ann\ud800",
        "an\u2028n",
        "ann\ue000",
        "ann\U0010ffff",
        "12345678123456781234567812345678",
        "ann@example.com",
        "ann＠example.com",
        None,
        7,
        b"ann",
        ["ann"],
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_name_that_would_mislead_is_refused(given: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        rules.user_name(given)
    assert raised.value.param == "username"


@example("ŉΐ\u0345")
@given(ANYTHING)
def test_any_name_is_refused_or_settled(given: object) -> None:
    try:
        name = rules.user_name(given)
    except InvalidRequest:
        return
    assert rules.user_name(name) == name
    assert rules.entered_name(given) == name
    assert 2 <= len(name) <= 50


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, None),
        ("ann@example.com", "ann@example.com"),
        (" Ann@Example.COM ", "ann@example.com"),
        ("a.b+c@mail.example.co", "a.b+c@mail.example.co"),
        ("小明@例子.公司", "小明@例子.公司"),
    ],
)
def test_an_address_is_kept_in_lower_case(given: str | None, address: str | None) -> None:
    assert rules.email_address(given) == address


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@example.",
        "ann@.com",
        "a b@example.com",
        "ann@exam\nple.com",
        "a@b@example.com",
        "a" * 65 + "@example.com",
        "ann@" + "a." * 200 + "com",
        "ann@" + "a." * 5_000_000,
        "ann@exa\u202emple.com",
        "ann@example.com\ud800",
        5,
        {"a": 1},
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_address_is_refused(given: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        rules.email_address(given)
    assert raised.value.param == "email"


@pytest.mark.parametrize(
    "given", ["", "12345", "x" * 1001, "x" * 10_000_000, "secret\ud800", None, 123456, b"secret1"]
)
def test_a_password_of_no_use_is_refused(given: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        rules.new_password(given)
    assert raised.value.param == "password"


@pytest.mark.parametrize("given", ["secret", "x" * 1000, "密码密码密码", "      ", "🔑🔑🔑🔑🔑🔑"])
def test_a_password_may_be_of_any_characters(given: str) -> None:
    assert rules.new_password(given) == given
    assert rules.entered_password(given) == given


@given(ANYTHING)
def test_whatever_is_entered_is_read_without_an_error(given: object) -> None:
    rules.entered_name(given)
    rules.entered_password(given)
    with suppress(InvalidToken):
        assert rules.credential(given) == given


@pytest.mark.parametrize("given", ["laptop", " laptop ", "我的电脑", "👨‍👩‍👧", "x" * 100])
def test_a_label_is_any_line(given: str) -> None:
    assert rules.label(given, "name") == given.strip()


@pytest.mark.parametrize("given", ["", "  ", "a\nb", "\x1b[2J", "x" * 101, "\ud800", None, 3])
def test_a_label_is_one_line(given: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        rules.label(given, "name")
    assert raised.value.param == "name"


def test_roles_and_scopes_are_known_ones() -> None:
    assert rules.role("admin") == "admin"
    assert rules.scopes(["admin", "chat", "chat"]) == ("chat", "admin")
    for wrong in ("root", "", None, ["admin"]):
        with pytest.raises(InvalidRequest, match="`user`, `admin`"):
            rules.role(wrong)
    for wrong in ([], "chat", ["chat", "root"], [["chat"]], None, [{}]):
        with pytest.raises(InvalidRequest, match="`chat`, `account`, `admin`"):
            rules.scopes(wrong)


def test_what_users_say_of_themselves_is_merged_and_bounded() -> None:
    assert rules.merged({"a": 1, "b": 2}, {"b": None, "c": {"d": "茶"}}, "profile") == {
        "a": 1,
        "b": None,
        "c": {"d": "茶"},
    }
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for wrong in ({"a": float("nan")}, {"a": {1, 2}}, {"a": deep}, {"a": "x" * 8_000_000}, {"a": 10**5000}):
        with pytest.raises(InvalidRequest) as raised:
            rules.merged({}, wrong, "profile")
        assert raised.value.param == "profile"
    while deep:  # a list so deep cannot be left to the garbage collector in one piece
        deep = deep.pop()


def test_a_moment_to_come_has_a_time_zone() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert rules.later(None, now, "expires_at") is None
    assert rules.later(now.replace(year=2031), now, "expires_at") == now.replace(year=2031)
    for wrong in (now, now.replace(year=2029), now.replace(year=2031, tzinfo=None), "2031-01-01", 5):
        with pytest.raises(InvalidRequest, match="time zone"):
            rules.later(wrong, now, "expires_at")
