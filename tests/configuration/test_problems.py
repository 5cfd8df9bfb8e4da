"""Everything that is wrong is told at once, with its place, and no secret with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.configuration import examine, load_settings
from cozy.errors import ConfigErrors

WRONG = """\
root = "/srv"

[servr]
port = 1

[server]
port = 99999
host = "999.1.1.1"
cors_origins = "*"
trusted_proxies = ["10.0.0.0/8", "proxy.local"]
watch = "sometimes"

[model]
default = "acme/fast"

[database]
url = "mysql://ada:${PASS}@db/cozy"

[redis]
url = "rediss:/nope"

[providers.z]
api_key = "planted-1"
base_url = "ftp://x"

[providers.y]
api_key_env = "planted-2"

[providers.openai.headers]
Authorization = "Bearer planted-3"
X-Team = "${NOWHERE}"
"""
TOLD = [
    "cozy.toml:1:1: `root`: no such key",
    "cozy.toml:3:2: `servr`: no such key; did you mean `server`?",
    "cozy.toml:7:1: `server.port`: must be between 0 and 65535, not 99999",
    "cozy.toml:8:1: `server.host`: `999.1.1.1` is no address and no name of a machine, such as `127.0.0.1`",
    'cozy.toml:9:1: `server.cors_origins`: must be a list such as `["*"]`, not `"*"`',
    (
        "cozy.toml:10:1: `server.trusted_proxies`: "
        "`proxy.local` is no address and no network such as `10.0.0.0/8`"
    ),
    'cozy.toml:11:1: `server.watch`: must be `true` or `false`, not `"sometimes"`',
    "cozy.toml:14:1: `model.default`: there is no provider `acme`, so there is no model `acme/fast`",
    "cozy.toml:17:1: `database.url`: must begin with `sqlite:///` or `postgresql://`",
    "cozy.toml:20:1: `redis.url`: must begin with `redis://`, `rediss://` or `unix://`",
    "cozy.toml:23:1: `providers.z.api_key`: secrets do not belong in the file",
    "cozy.toml:24:1: `providers.z.base_url`: must be an address such as `http://127.0.0.1:8000/v1`",
    "cozy.toml:26:12: `providers.y`: needs a `base_url`",
    "cozy.toml:27:1: `providers.y.api_key_env`: must be the name of an environment variable, not a key",
    "cozy.toml:30:1: `providers.openai.headers.Authorization`: secrets do not belong in the file",
    "cozy.toml:31:1: `providers.openai.headers.X-Team`: the environment variable `NOWHERE` is not set",
    'COZY_LIMITS_PER_KEY: `limits.per_key`: must be at least 0, not `"-1"`',
    'COZY_WORKERS_LEASE_S: `workers.lease_s`: must be a number above 0, at most 3600, not `"soon"`',
    "OPENAI_BASE_URL: `providers.openai.base_url`: must be an address such as `http://127.0.0.1:8000/v1`",
]
ENVIRONMENT = {
    "PASS": "planted-4",
    "COZY_WORKERS_LEASE_S": "soon",
    "COZY_LIMITS_PER_KEY": "-1",
    "COZY_SERVER_PORT": "also wrong, but the file goes first",
    "OPENAI_BASE_URL": "https//planted-5",
}


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_everything_that_is_wrong_is_told_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    (tmp_path / "cozy.toml").write_text(WRONG, newline=end)
    monkeypatch.chdir(tmp_path)
    told = [str(problem) for problem in examine(None, ENVIRONMENT).problems]
    assert [words.partition("\n")[0] for words in told] == TOLD
    assert not any("planted" in words for words in told)
    with pytest.raises(ConfigErrors) as caught:
        load_settings(None, ENVIRONMENT)
    assert str(caught.value).split("error: ")[1:] == [f"{words}\n" for words in told[:-1]] + [told[-1]]


def test_what_is_wrong_has_its_default_so_that_the_rest_can_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_text(WRONG)
    loaded = examine(tmp_path, ENVIRONMENT)
    assert loaded.settings.server.port == 8000
    assert {"y", "z"} <= set(loaded.settings.providers)
    assert loaded.is_wrong("database.url")
    assert loaded.is_wrong("limits.per_user", "model.default")
    assert not loaded.is_wrong("paths.data", "server.workers", "providers", "providers.x")


def test_a_provider_that_is_none_is_still_one_that_others_may_name(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_text('[model]\ndefault = "z/fast"\n[providers]\nz = 3\n')
    (problem,) = examine(tmp_path, {}).problems
    assert "cozy.toml:4:1: `providers.z`: must be a table, `[providers.z]`, not 3" in str(problem)


def test_a_file_outside_is_named_in_full(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_text("[server]\nport = -1\n")
    (problem,) = examine(tmp_path, {}).problems
    assert str(problem).startswith(f"{tmp_path.as_posix()}/cozy.toml:2:1: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nport = \n", "cozy.toml:2:8: invalid value"),
        ("[server]\n[server]\n", "cozy.toml:2:"),
        ("[server]\nhost = '''", "cozy.toml: "),
    ],
    ids=["no value", "twice", "no end"],
)
def test_a_file_that_is_no_toml_is_told_with_its_place_and_nothing_else(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "cozy.toml").write_text(text)
    loaded = examine(tmp_path, {})
    (problem,) = loaded.problems
    assert words in str(problem)
    assert loaded.is_wrong("database.url")


def test_every_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_text(
        '[database]\nurl = "${A}://${B}/${C:-c}${A}"\n[server]\nmodels = ["${D}"]\n'
    )
    told = [str(problem) for problem in examine(tmp_path, {}).problems]
    assert [words.partition("toml:")[2].partition("\n")[0] for words in told] == [
        "2:1: `database.url`: the environment variable `A` is not set",
        "2:1: `database.url`: the environment variable `B` is not set",
        "4:11: `server.models[0]`: the environment variable `D` is not set",
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[model]\r\ndefault = “demo/demo”\r\n", 'write `"`, not `“`'),
        ('[model]\ndefault＝"demo/demo"\n', "write `=`, not `＝`"),
        ('[model]\ndefault："demo/demo"\n', "write `=`, not `：`"),
        ("[model]\ndefault = demo\n", None),
        ("[model", None),
    ],
)
def test_a_sign_of_a_chinese_keyboard_is_told_of(tmp_path: Path, text: str, hint: str | None) -> None:
    (tmp_path / "cozy.toml").write_bytes(text.encode())
    [problem] = examine(tmp_path, {}).problems
    assert problem.hint == hint
