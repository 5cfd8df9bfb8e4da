"""The configuration: what goes before what, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.errors import ConfigError
from cozy.settings import DEMO_MODEL, load, load_settings


def write(folder: Path, text: str) -> Path:
    (folder / "cozy.toml").write_text(text, encoding="utf-8")
    return folder


def test_without_a_file_everything_has_a_default(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    assert settings.model.default == DEMO_MODEL
    assert settings.database.url == f"sqlite:///{tmp_path / 'data' / 'cozy.db'}"
    assert settings.paths.personalities[0] == tmp_path / "personalities"


def test_the_shipped_personalities_are_searched_last_and_once(tmp_path: Path) -> None:
    folders = load_settings(tmp_path, {}).paths.personalities
    assert folders[-1].name == "personalities"
    assert (folders[-1] / "default.yaml").is_file()
    here = load_settings(folders[-1].parent, {}).paths.personalities
    assert len(here) == len(set(here))


def test_the_file_goes_before_the_environment_and_the_environment_before_the_default(tmp_path: Path) -> None:
    write(tmp_path, '[model]\ndefault = "ollama/qwen3"\n')
    env = {"COZY_MODEL_DEFAULT": "openai/gpt-5", "COZY_TOOLS_ALLOW": "calculator, mcp/*"}
    loaded = load(tmp_path, env)
    assert loaded.settings.model.default == "ollama/qwen3"
    assert loaded.settings.tools.allow == ("calculator", "mcp/*")
    assert loaded.origins == {"model.default": "cozy.toml", "tools.allow": "COZY_TOOLS_ALLOW"}


def test_the_file_is_found_from_a_folder_below(tmp_path: Path) -> None:
    write(tmp_path, '[paths]\ndata = "elsewhere"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert load_settings(below, {}).paths.data == tmp_path / "elsewhere"


def test_a_value_may_be_handed_to_the_environment(tmp_path: Path) -> None:
    write(tmp_path, '[database]\nurl = "${DB}"\n[model]\ndefault = "${MODEL:-demo/demo}"\n')
    settings = load_settings(tmp_path, {"DB": "postgresql://root@127.0.0.1/cozy"})
    assert settings.database.url == "postgresql://root@127.0.0.1/cozy"
    assert settings.model.default == "demo/demo"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"OPENAI_API_KEY": "k"}, "openai/gpt-4.1-mini"),
        ({"DEEPSEEK_API_KEY": "k"}, "deepseek/deepseek-chat"),
        ({"OPENAI_API_KEY": ""}, DEMO_MODEL),
        ({}, DEMO_MODEL),
    ],
)
def test_auto_is_the_first_provider_that_has_a_key(
    tmp_path: Path, env: dict[str, str], expected: str
) -> None:
    assert load_settings(tmp_path, env).model.default == expected


def test_auto_takes_a_provider_of_the_file_before_a_known_one(tmp_path: Path) -> None:
    write(tmp_path, '[providers.house]\nbase_url = "http://127.0.0.1:9/v1"\ndefault_model = "qwen"\n')
    assert load_settings(tmp_path, {"OPENAI_API_KEY": "k"}).model.default == "house/qwen"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[modle]\n", ["`modle`", "did you mean `model`?"]),
        ('[model]\ndefalt = "x"\n', ["`model.defalt`", "did you mean `default`?"]),
        ('[providers.a]\nbase_urll = "http://x"\n', ["base_urll", "did you mean `base_url`?"]),
        ('[providers.a]\nbase_url = "ftp://x"\n', ["`providers.a.base_url`", "http"]),
        ('[providers.a]\napi_key_env = "A"\n', ["needs a `base_url`"]),
        ('[providers.a]\nbase_url = "http://x"\napi_key = "sk-1"\n', ["secrets", "api_key_env"]),
        ('[providers.a]\nbase_url = "http://x"\napi_key_env = "sk-1"\n', ["the name of an environment"]),
        ('[database]\nurl = "${NOWHERE}"\n', ["`NOWHERE` is not set", "${NOWHERE:-default}"]),
        ("[workers]\nlease_s = -1\n", ["`workers.lease_s`", "greater than 0"]),
        ('[workers]\nlease_s = "soon"\n', ["`workers.lease_s`", "number"]),
        ("model = 3\n", ["`model`"]),
        ("a = \n", ["cozy.toml", "line 1"]),
    ],
    ids=lambda v: v.strip().replace("\n", " ")[:30] if isinstance(v, str) else "",
)
def test_an_impossible_value_is_named_with_its_key_and_what_would_be_right(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text), {})
    for word in words:
        assert word in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_a_value_of_the_environment_is_blamed_on_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"COZY_WORKERS_LEASE_S: `workers\.lease_s`"):
        load_settings(tmp_path, {"COZY_WORKERS_LEASE_S": "-3"})


def test_a_file_that_is_not_utf_8_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_bytes("# 配置\n".encode("gbk"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(tmp_path, {})


def test_the_version_changes_with_a_value_and_not_with_the_place(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    one = write(
        a, '[model]\ndefault = "x/y"\n[database]\nurl = "sqlite:////tmp/x.db"\n[paths]\ndata = "/tmp/d"\n'
    )
    two = write(
        b, '[model]\ndefault = "x/z"\n[database]\nurl = "sqlite:////tmp/x.db"\n[paths]\ndata = "/tmp/d"\n'
    )
    assert load_settings(one, {}).version == load_settings(one, {}).version
    assert load_settings(one, {}).version != load_settings(two, {}).version
