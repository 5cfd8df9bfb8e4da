"""`cozy config`: what is configured, where it comes from, whether it will do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cozy.configuration import load_settings
from cozy.settings import Settings
from tests.cli.terminal import called


def test_every_value_is_shown_with_where_it_comes_from(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "cozy.toml").write_text(
        '[server]\nport = 9000\n[providers.house]\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[providers.house.headers]\nX-Team = "${TEAM}"\n[database]\nurl = "${DB}"\n'
    )
    monkeypatch.setenv("TEAM", "hunter2")
    monkeypatch.setenv("DB", "postgresql://ada:hunter3@db/cozy")
    monkeypatch.setenv("COZY_SERVER_HOST", "0.0.0.0")
    monkeypatch.setenv("COZY_TOOLS_ALLOW", "calculator,clock")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:7/v1")
    done = called("config", "show")
    assert done.code == 0
    rows = {cells[0]: cells[1:] for cells in (re.split(r"\s{2,}", line) for line in done.out.splitlines())}
    assert rows["key"] == ["value", "from"]
    assert rows["server.port"] == ["9000", "cozy.toml"]
    assert rows["server.host"] == ["0.0.0.0", "COZY_SERVER_HOST"]
    assert rows["server.workers"] == ["1", "default"]
    assert rows["server.watch"] == ["false", "default"]
    assert rows["tools.allow"] == ["calculator, clock", "COZY_TOOLS_ALLOW"]
    assert rows["database.url"] == ["postgresql://ada:***@db/cozy", "cozy.toml"]
    assert rows["providers.house.headers.X-Team"] == ["***", "cozy.toml"]
    assert rows["providers.openai.base_url"] == ["http://127.0.0.1:7/v1", "OPENAI_BASE_URL"]
    assert "hunter" not in done.out + done.err
    assert f"version: {load_settings().version}" in done.err

    told = json.loads(called("config", "show", "--json").out)
    assert told["version"] == load_settings().version
    assert told["values"]["server.port"] == {"value": 9000, "from": "cozy.toml"}
    assert told["values"]["tools.allow"]["value"] == ["calculator", "clock"]
    assert "hunter" not in json.dumps(told)


def test_no_key_is_left_out(here: Path) -> None:
    shown = json.loads(called("config", "show", "--json").out)["values"]
    for section, field in Settings.model_fields.items():
        if section not in ("root", "file", "providers", "engines"):
            for key in field.annotation.model_fields:  # type: ignore[union-attr]
                assert f"{section}.{key}" in shown


def test_an_installation_that_is_ready_is_told_so_and_left_alone(here: Path) -> None:
    done = called("config", "check")
    assert (done.code, done.out) == (0, "")
    assert "ready to serve" in done.err
    assert not (here / "data").exists(), "looking makes nothing"


def test_everything_that_is_wrong_is_told_at_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "personalities").mkdir()
    (here / "personalities" / "mia.yaml").write_text("id: mia\nname: Mia\npipeline: standrad\n")
    monkeypatch.setenv("COZY_DATABASE_URL", "postgresql://ada:hunter2@127.0.0.1:1/cozy")
    monkeypatch.setenv("COZY_JWT_KEYS", "one=hunter3")
    monkeypatch.setenv("COZY_REDIS_URL", "redis://:hunter4@127.0.0.1:port/0")
    monkeypatch.setenv("COZY_SERVER_PROT", "9000")
    (here / "cozy.toml").write_text('[server]\nport = 99999\n[providers.x]\napi_key = "hunter5"\n')
    done = called("config", "check")
    assert done.code == 1
    assert done.err.count("error: ") >= 7
    for words in (
        "error: cozy.toml:2:1: `server.port`",
        "error: cozy.toml:4:1: `providers.x.api_key`",
        "warning: `COZY_SERVER_PROT` is ignored",
        "did you mean `standard`?",
        "the database is away",
        "COZY_JWT_KEYS",
        "`redis.url`",
    ):
        assert words in done.err
    assert "hunter" not in done.err + done.out


def test_an_impossible_value_is_an_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COZY_SERVER_PORT", "99999")
    done = called("config", "check")
    assert done.code == 1
    assert "error: COZY_SERVER_PORT: `server.port`" in done.err
    shown = called("config", "show")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith("error: COZY_SERVER_PORT: `server.port`")
