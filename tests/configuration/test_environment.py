"""Variables that look like settings and are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.configuration import examine

FILE = """\
[providers.house]
base_url = "${COZY_SERVER_HOUSE}"
api_key_env = "COZY_AUTH_HOUSE_KEY"
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "COZY_SERVER_PROT",
            "`COZY_SERVER_PROT` is ignored: `[server]` has no key `prot`; did you mean `port`?",
        ),
        ("COZY_REDIS_NOPE", "`[redis]` has no key `nope`; known: `prefix`, `url`"),
        ("COZY_SERVR_PORT", "is ignored; did you mean `COZY_SERVER_PORT`?"),
        ("COZY_ENGINES_WIKI_URL", "is ignored: engines are set in `cozy.toml`, under `[engines.NAME]`"),
        ("COZY_PROVIDERS_HOUSE_BASE_URL", "is ignored: providers are set in `cozy.toml`"),
    ],
)
def test_a_variable_that_is_no_setting_is_warned_of(tmp_path: Path, name: str, words: str) -> None:
    loaded = examine(tmp_path, {name: "hunter2"})
    assert loaded.problems == ()
    (warning,) = loaded.warnings
    assert words in warning
    assert "hunter2" not in warning


@pytest.mark.parametrize(
    "name",
    [
        "COZY_SERVER_PORT",
        "COZY_USER",
        "COZY_JWT_KEYS",
        "COZY_TEST_POSTGRES",
        "COZY_TEST_REDIS",
        "COZY_SERVER_HOUSE",
        "COZY_AUTH_HOUSE_KEY",
        "COZYCHAT_SERVER_PORT",
    ],
)
def test_other_variables_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "cozy.toml").write_text(FILE)
    assert examine(tmp_path, {"COZY_SERVER_HOUSE": "http://127.0.0.1:9/v1", name: "1"}).warnings == ()
