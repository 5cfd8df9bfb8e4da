"""What is wrong with a value, in words of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozy.configuration import examine
from cozy.configuration.places import Key
from cozy.settings import CardSettings, Part, ProviderSettings, Settings

JARGON = re.compile(
    r"input|valid|tuple|bool|integer|string|dict|instance|parse|greater|less|expect|should|pydantic|finite"
)
VALUES = (
    '"some words"',
    '""',
    "-1",
    "99999999",
    "3.5",
    "nan",
    "true",
    "[]",
    '["x"]',
    "[3]",
    "{a = 1}",
    "1979-05-27",
)


def fields(table: type[Part] = Settings, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in table.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Part):
            yield (*above, name)
            yield from fields(annotation, (*above, name))
        elif table is not Settings:
            yield (*above, name)
    if table is Settings:
        yield ("providers",)
        yield ("providers", "house")
        yield from fields(ProviderSettings, ("providers", "house"))
        yield ("providers", "house", "headers", "X-Team")
        yield ("providers", "house", "models", "m")
        yield from fields(CardSettings, ("providers", "house", "models", "m"))


@pytest.mark.parametrize("key", list(fields()), ids=".".join)
def test_no_field_answers_a_wrong_value_in_a_librarys_words(tmp_path: Path, key: Key) -> None:
    told: list[str] = []
    for value in VALUES:
        (tmp_path / "cozy.toml").write_text(f"{'.'.join(map(str, key))} = {value}\n")
        told += map(str, examine(tmp_path, {}).problems)
    assert told, "there is something that it does not take"
    for words in told:
        message = re.sub(r"`[^`]*`", "", words.partition("cozy.toml:1:")[2])
        assert not JARGON.search(message), words
        assert re.match(r"\d+: : +(must |needs |no such key|secrets |there is no |is no )", message), words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("server.port = 99999", "must be between 0 and 65535, not 99999"),
        ('server.port = "http"', 'must be a whole number between 0 and 65535, not `"http"`'),
        ("server.port = 1.5", "must be a whole number between 0 and 65535, not 1.5"),
        ("server.workers = true", "must be a whole number between 1 and 64, not `true`"),
        ("server.write_timeout_s = 0", "must be above 0, at most 3600, not 0"),
        ('server.cors_origins = "*"', 'must be a list such as `["*"]`, not `"*"`'),
        ('server.models = "gpt-*"', 'must be a list such as `["gpt-*"]`, not `"gpt-*"`'),
        ("server.models = [3]", "must be text in quotes, not 3"),
        ('server.watch = "sometimes"', 'must be `true` or `false`, not `"sometimes"`'),
        ('server.log_level = "loud"', 'must be one of `debug`, `info`, `warning`, `error`, not `"loud"`'),
        ("server = 1", "must be a table, `[server]`, not 1"),
        ("database.url = 1979-05-27", "must be text in quotes, not a date or a time"),
        ("paths.data = []", "must be text in quotes, not a list"),
        ('server.host = "999.1.1.1"', "`999.1.1.1` is no address"),
        ('server.host = "fe80::zz"', "`fe80::zz` is no address"),
        ('server.cors_origins = ["https://a.example/"]', "`https://a.example/` is no origin"),
        ('server.cors_origins = ["a.example"]', "`a.example` is no origin"),
        ('server.cors_origins = ["https://*.example"]', "`https://*.example` is no origin"),
        ('database.url = "mysql://x"', "must begin with `sqlite:///` or `postgresql://`"),
        ('redis.url = "rediss:/nope"', "must begin with `redis://`"),
        ('providers.a.base_url = "http://h:port/v1"', "must be an address such as"),
        ('root = "/"', "no such key"),
    ],
    ids=lambda value: value if " = " in value else "",
)
def test_a_wrong_value_is_told_with_what_would_be_right(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "cozy.toml").write_text(f"{line}\n")
    (problem,) = examine(tmp_path, {}).problems
    assert f"`{line.partition(' ')[0]}" in str(problem)
    assert words in str(problem)


@pytest.mark.parametrize(
    "line",
    [
        'server.host = "::"',
        'server.host = "fe80::1%eth0"',
        'server.host = "cozy.local"',
        'server.cors_origins = ["https://a.example", "http://localhost:5173", "app://cozy", "null", "*"]',
        "server.cors_origins = []",
        'database.url = "postgresql:///cozy?host=/run/postgresql"',
        'redis.url = "unix:///run/redis.sock"',
    ],
)
def test_what_can_be_is_taken(tmp_path: Path, line: str) -> None:
    (tmp_path / "cozy.toml").write_text(f"{line}\n")
    assert examine(tmp_path, {}).problems == ()


@pytest.mark.parametrize(
    "line",
    [
        'server.port = "${VALUE}"',
        'server.models = "${VALUE}"',
        'server.log_level = "${VALUE}"',
        'providers.a.api_key_env = "${VALUE}"',
        'redis.url = "${VALUE}"',
        "providers.openai.headers.X-Team = 20252025",
    ],
)
def test_what_the_environment_holds_is_not_repeated(tmp_path: Path, line: str) -> None:
    (tmp_path / "cozy.toml").write_text(f"{line}\n")
    (problem, *_) = examine(tmp_path, {"VALUE": "hunter20252025"}).problems
    assert "2025" not in str(problem)
