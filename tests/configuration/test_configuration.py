"""The configuration: what goes before what, and what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cozy.configuration import load, load_settings
from cozy.configuration.secrets import masked
from cozy.errors import ConfigError
from cozy.settings import DEMO_MODEL, CardSettings, EngineSettings, ProviderSettings, Settings


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


def test_a_key_to_cozy_itself_makes_no_model_server(tmp_path: Path) -> None:
    own = {"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1", "OPENAI_API_KEY": f"cozy_{'A' * 43}"}
    loaded = load(tmp_path, own)
    assert loaded.settings.model.default == DEMO_MODEL
    assert loaded.warnings == (
        "`OPENAI_API_KEY` is a key to Cozy itself, as its clients have: `auto` takes no model server for it",
    )
    assert load_settings(tmp_path, {**own, "DEEPSEEK_API_KEY": "k"}).model.default == "deepseek/deepseek-chat"


def test_another_cozy_may_be_a_model_server_where_the_file_says_so(tmp_path: Path) -> None:
    write(
        tmp_path,
        '[providers.other]\nbase_url = "http://10.0.0.2:8000/v1"\napi_key_env = "OTHER_KEY"\n'
        'default_model = "mia"\n',
    )
    loaded = load(tmp_path, {"OTHER_KEY": f"cozy_{'A' * 43}"})
    assert loaded.settings.model.default == "other/mia"
    assert loaded.warnings == ()


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
        ("[workers]\nlease_s = -1\n", ["toml:2:1: `workers.lease_s`: must be above 0, at most 3600, not -1"]),
        (
            '[workers]\nlease_s = "soon"\n',
            ['`workers.lease_s`: must be a number above 0, at most 3600, not `"soon"`'],
        ),
        ("model = 3\n", ["`model`: must be a table, `[model]`, not 3"]),
        ("a = \n", ["cozy.toml:1:5: invalid value"]),
        (
            '[providers.openai.models."qwen3:8b"]\nprice_in = -1\n',
            ['`providers.openai.models."qwen3:8b".price_in`'],
        ),
        (
            '[model]\ndefault = "opnai/gpt-5"\n',
            ["cozy.toml:2:1: `model.default`", "`opnai/gpt-5`", "mean `openai`?"],
        ),
        ('[model]\ndefault = "acme/x"\n', ["`acme/x`", "known:", "`demo`", "`ollama`"]),
        ('[model]\ndefault = "gpt-5"\n', ["`model.default`", "`gpt-5` is no model", "`openai/gpt-5`"]),
        ('[model]\ndefault = "openai/"\n', ["`openai/` is no model"]),
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


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("COZY_WORKERS_LEASE_S", "-3", "COZY_WORKERS_LEASE_S: `workers.lease_s`"),
        (
            "COZY_MODEL_DEFAULT",
            "opnai/x",
            "COZY_MODEL_DEFAULT: `model.default`: there is no provider `opnai`",
        ),
    ],
)
def test_a_value_of_the_environment_is_blamed_on_its_variable(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_settings(tmp_path, {name: value})


@pytest.mark.parametrize("model", ["gpt-4.1-mini", "通义.千问", "a b"])
def test_a_key_may_hold_dots_and_is_shown_as_it_is_written(tmp_path: Path, model: str) -> None:
    write(tmp_path, f'[providers.openai.models."{model}"]\ncontext_tokens = 4096\n')
    loaded = load(tmp_path, {})
    assert loaded.settings.providers["openai"].models[model].context_tokens == 4096
    assert loaded.origins == {f'providers.openai.models."{model}".context_tokens': "cozy.toml"}


HEADERS = "[providers.openai.headers]\n"
SECRETS = [
    ('Authorization = "{}"', "providers.openai.headers.Authorization"),
    ('Authorization = "Bearer {}"', "providers.openai.headers.Authorization"),
    ('Proxy-Authorization = "Basic {}"', "providers.openai.headers.Proxy-Authorization"),
    ('x-api-key = "{}"', "providers.openai.headers.x-api-key"),
    ('"X-ApiKey" = "{}"', "providers.openai.headers.X-ApiKey"),
    ('"X-Auth.Token" = "{}"', 'providers.openai.headers."X-Auth.Token"'),
    ('Cookie = "session={}"', "providers.openai.headers.Cookie"),
]
ADDRESSES = [
    ('[database]\nurl = "postgresql://cozy:{}@db/cozy"\n', "database.url"),
    ('[database]\nurl = "postgresql://:{}@db/cozy"\n', "database.url"),
    ('[database]\nurl = "postgresql://db/cozy?sslmode=require&password={}"\n', "database.url"),
    ('[providers.openai]\nbase_url = "http://ada:{}@127.0.0.1:9/v1"\n', "providers.openai.base_url"),
]


@pytest.mark.parametrize(
    ("line", "key"), [*((HEADERS + text + "\n", key) for text, key in SECRETS), *ADDRESSES]
)
def test_a_secret_comes_from_the_environment_or_not_at_all(tmp_path: Path, line: str, key: str) -> None:
    write(tmp_path, line.format("${PASS}"))
    load_settings(tmp_path, {"PASS": "hunter2"})
    write(tmp_path, line.format("${PASS:-}"))
    load_settings(tmp_path, {})
    for written in ("hunter2", "${PASS:-hunter2}"):
        write(tmp_path, line.format(written))
        with pytest.raises(ConfigError) as caught:
            load_settings(tmp_path, {"PASS": "x"})
        assert f"`{key}`" in str(caught.value)
        assert "secrets" in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        HEADERS + 'X-Team = "kitchen"\nUser-Agent = "cozy"\n',
        '[database]\nurl = "postgresql://cozy@db:5432/cozy"\n',
        '[database]\nurl = "postgresql://${WHO:-cozy}@db/cozy"\n',
        '[database]\nurl = "${DB:-sqlite:///a@b/cozy.db}"\n',
        '[providers.openai.models."my-key"]\nprice_in = 1\n',
    ],
)
def test_what_is_no_secret_may_stand_in_the_file(tmp_path: Path, text: str) -> None:
    load_settings(write(tmp_path, text), {})


def test_an_address_that_holds_a_password_is_refused_wherever_its_parts_come_from(tmp_path: Path) -> None:
    write(tmp_path, '[database]\nurl = "${DB:-postgresql://cozy:hunter2@db/cozy}"\n')
    with pytest.raises(ConfigError, match=r"`database\.url`"):
        load_settings(tmp_path, {})


def test_a_file_that_is_not_utf_8_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_bytes("# 配置\n".encode("gbk"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(tmp_path, {})


def test_the_version_changes_with_a_value_and_not_with_the_place(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    one = write(
        a,
        '[model]\ndefault = "openai/y"\n[database]\nurl = "sqlite:////tmp/x.db"\n[paths]\ndata = "/tmp/d"\n',
    )
    two = write(
        b,
        '[model]\ndefault = "openai/z"\n[database]\nurl = "sqlite:////tmp/x.db"\n[paths]\ndata = "/tmp/d"\n',
    )
    assert load_settings(one, {}).version == load_settings(one, {}).version
    assert load_settings(one, {}).version != load_settings(two, {}).version


def test_an_engine_has_one_version_on_every_machine_that_has_it_alike(tmp_path: Path) -> None:
    written = '[engines.diary]\nkind = "mem0"\nurl = "http://mem0:8000"\n'
    texts = {"a": written, "b": f"{written}[server]\nport = 9000\n", "c": written.replace("8000", "8001")}
    versions: dict[str, str] = {}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        versions[name] = load_settings(write(tmp_path / name, text), {}).engines["diary"].version
    assert versions["a"] == versions["b"] != versions["c"]


def documented(text: str) -> dict[str, dict[str, str]]:
    """The keys of each section of `cozy.toml`, those that are commented out too."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in text.splitlines():
        if heading := re.match(r"^(?:# )?\[([a-z0-9_.]+)\]$", line):
            section = heading[1]
            found.setdefault(section, {})
        elif key := re.match(r"^(?:# )?([a-z_]+) = (.+)$", line):
            found[section][key[1]] = key[2]
    return found


def test_every_key_stands_in_the_file_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "cozy.toml").read_text(encoding="utf-8")
    found = documented(text)
    for name, field in Settings.model_fields.items():
        if name in ("root", "file", "providers", "engines"):
            continue
        keys = field.annotation.model_fields  # type: ignore[union-attr]
        assert list(found[name]) == list(keys), f"[{name}]"
        for key, value in found[name].items():
            default = keys[key].default
            written = tomllib.loads(f"x = {value}")["x"]
            told = list(map(str, default)) if isinstance(default, tuple) else default
            assert written == (str(told) if isinstance(told, Path) else told), f"{name}.{key}"
    assert set(found["providers.house"]) == set(ProviderSettings.model_fields) - {"models"}
    assert set(found["engines.wiki"]) == set(EngineSettings.model_fields)
    assert set(found["providers.house.models.qwen3"]) == set(CardSettings.model_fields)


def test_the_file_is_read_with_every_line_uncommented(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "cozy.toml").read_text(encoding="utf-8")
    bare = re.sub(r"^# (?=\[[a-z0-9_.]+\]$|[a-z_]+ = )", "", text, flags=re.MULTILINE)
    settings = load_settings(write(tmp_path, bare), {"HOUSE_API_KEY": "k", "HOUSE_TOKEN": "t"})
    assert settings.providers["house"].headers == {"Authorization": "Bearer t"}


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("database.url", "postgresql://ada:hunter2@db:5432/cozy", "postgresql://ada:***@db:5432/cozy"),
        ("database.url", "postgresql://db/cozy?ssl=1&password=hunter2&x=1", None),
        ("redis.url", "redis://:hunter2@h/0", "redis://:***@h/0"),
        ("database.url", "sqlite:////srv/a@b/cozy.db", "sqlite:////srv/a@b/cozy.db"),
        ("providers.house.headers.X-Team", "hunter2", "***"),
        ("providers.house.api_key", "hunter2", "***"),
        ("providers.house.api_key_env", "HOUSE_API_KEY", "HOUSE_API_KEY"),
        ("limits.per_key", 300, 300),
        ("redis.url", "", ""),
    ],
)
def test_secrets_are_masked_where_a_value_is_shown(key: str, value: object, shown: object) -> None:
    told = masked(key.split("."), value)
    assert "hunter2" not in str(told)
    if shown is not None:
        assert told == shown


@pytest.mark.parametrize("value", ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8, 10.1.2.3"])
def test_proxies_are_addresses_or_networks(tmp_path: Path, value: str) -> None:
    assert load_settings(tmp_path, {"COZY_SERVER_TRUSTED_PROXIES": value}).server.trusted_proxies
    with pytest.raises(ConfigError, match=r"`server\.trusted_proxies`.*`proxy\.local` is no address"):
        load_settings(tmp_path, {"COZY_SERVER_TRUSTED_PROXIES": "proxy.local"})
