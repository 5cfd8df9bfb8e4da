"""Engines outside, and which of them serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.configuration import examine, load, load_settings
from cozy.errors import ConfigError
from cozy.settings import ENGINE_URLS

FACTS = '[engines.facts]\nkind = "memobase"\napi_key_env = "FACTS_KEY"\n'
WIKI = '[engines.wiki]\nkind = "cognee"\ndatasets = ["plants"]\n'
NOTES = '[engines.notes]\nkind = "mem0"\nurl = "http://10.0.0.7:8888/"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "cozy.toml").write_text(text, encoding="utf-8")
    return folder


def test_an_engine_has_an_address_and_may_serve_what_it_brings(tmp_path: Path) -> None:
    choice = '[context]\nknowledge = "wiki"\nprofile = "facts"\nmemory = "notes"\n'
    settings = load_settings(write(tmp_path, FACTS + WIKI + NOTES + choice), {})
    assert settings.engines["facts"].url == ENGINE_URLS["memobase"]
    assert settings.engines["wiki"].url == ENGINE_URLS["cognee"]
    assert settings.engines["notes"].url == "http://10.0.0.7:8888"
    assert settings.context.memory == "notes"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[context]\nmemory = "nots"\n' + NOTES, ["toml:2:1: `context.memory`", "`nots`", "mean `notes`?"]),
        ('[context]\nmemory = "mem0"\n', ["there is no engine `mem0`", "`embedded`", "[engines.NAME]"]),
        (
            '[context]\nmemory = "wiki"\n' + WIKI,
            ["`wiki` is a `cognee`, which brings knowledge and no memory", "`embedded`"],
        ),
        ('[engines.a]\nkind = "mem1"\n', ["toml:2:1: `engines.a.kind`: must be one of", '`"mem1"`']),
        ('[engines.a]\nurl = "http://a"\n', ["`engines.a.kind`: has to be given: one of `cognee`"]),
        ("[engines]\na = 3\n", ["`engines.a`: must be a table"]),
        ('[engines.a]\nkind = "cognee"\n', ["`engines.a`: needs `datasets`"]),
        ('[engines.a]\nkind = "cognee"\ndatasets = [" "]\n', ["a dataset has a name"]),
        (NOTES + 'datasets = ["x"]\n', ["`engines.notes.datasets`: `mem0` has no datasets"]),
        ('[engines.a]\nkind = "memobase"\n', ["`engines.a`: needs an `api_key_env`"]),
        ('[engines.a]\nkind = "mem0_platform"\n', ["`engines.a`: needs an `api_key_env`"]),
        (FACTS + 'username = "ada"\n', ["`engines.facts.username`: `memobase` knows no accounts"]),
        (NOTES + 'username = "ada"\n', ["`engines.notes`: an account needs a `password_env` too"]),
        (NOTES + 'password_env = "P"\n', ["`engines.notes`: an account needs a `username` too"]),
        (NOTES + 'password_env = "hunter-2"\n', ["the name of an environment variable, not a password"]),
        (NOTES + 'api_key_env = "sk-hunter-2"\n', ["the name of an environment variable, not a key"]),
        (NOTES + 'api_key = "hunter-2"\n', ["secrets", "`api_key_env`"]),
        (NOTES.replace("http", "ftp"), ["`engines.notes.url`", "http"]),
        (NOTES.replace("8888/", "8888/?a=1"), ["`engines.notes.url`", "nothing behind a `?` or `#`"]),
        (NOTES.replace("8888/", "8888/#a"), ["`engines.notes.url`", "nothing behind a `?` or `#`"]),
        (NOTES.replace("10.0", "u:hunter-2@10.0"), ["`engines.notes.url`", "secrets"]),
        (NOTES + "connections = 0\n", ["`engines.notes.connections`: must be"]),
        ('[engines.embedded]\nkind = "mem0"\n', ["`engines.embedded`", "Cozy's own database"]),
        (NOTES + 'datset = ["x"]\n', ["`engines.notes.datset`: no such key; did you mean `datasets`?"]),
    ],
    ids=lambda v: v.strip().replace("\n", " ")[-40:] if isinstance(v, str) else "",
)
def test_what_cannot_be_is_named_with_its_key(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text), {})
    for word in words:
        assert word in str(caught.value)
    assert "hunter-2" not in str(caught.value)


def test_an_engine_that_is_wrong_is_not_missed_by_who_names_it(tmp_path: Path) -> None:
    text = '[engines.a]\nkind = "mem1"\n[context]\nmemory = "a"\n'
    (problem,) = examine(write(tmp_path, text), {}).problems
    assert "`engines.a.kind`" in str(problem)


def test_the_variables_of_engines_may_be_called_anything(tmp_path: Path) -> None:
    account = 'api_key_env = "COZY_REDIS_KEY"\nusername = "ada"\npassword_env = "COZY_ENGINES_WORD"\n'
    loaded = load(write(tmp_path, NOTES + account), {"COZY_REDIS_KEY": "a", "COZY_ENGINES_WORD": "b"})
    assert loaded.warnings == ()
