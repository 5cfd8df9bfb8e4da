"""What is looked at before the server listens."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cozy.configuration import Loaded, examine
from cozy.startup import findings, first_admin


def configured(folder: Path, **environ: str) -> Loaded:
    return examine(folder, environ)


async def test_an_empty_folder_is_ready_but_for_a_model_server(tmp_path: Path) -> None:
    found = await findings(configured(tmp_path), {})
    assert found.problems == []
    assert found.warnings == ["no model server is configured: the demo model answers"]


async def test_a_database_without_tables_is_a_problem_where_nobody_makes_them(
    empty_url: str, tmp_path: Path
) -> None:
    found = await findings(configured(tmp_path, COZY_DATABASE_URL=empty_url), {})
    if empty_url.startswith("sqlite"):
        assert found.problems == []
    else:
        assert len(found.problems) == 1
        assert "cozy db upgrade" in found.problems[0]


async def test_a_migrated_database_is_fine(database_url: str, tmp_path: Path) -> None:
    assert (await findings(configured(tmp_path, COZY_DATABASE_URL=database_url), {})).problems == []


async def test_a_database_of_a_later_version_is_a_problem(sqlite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    (problem,) = (await findings(configured(tmp_path, COZY_DATABASE_URL=sqlite_url), {})).problems
    assert "later version of Cozy" in problem


async def test_an_older_embedded_database_is_none(sqlite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert (await findings(configured(tmp_path, COZY_DATABASE_URL=sqlite_url), {})).problems == []


async def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "cozy.db").write_text("this is no database, but long enough to be taken for one " * 20)
    found = await findings(configured(tmp_path, COZY_DATABASE_URL=f"sqlite:///{tmp_path}/cozy.db"), {})
    assert any("not a SQLite database" in problem for problem in found.problems)


async def test_redis_that_is_away_is_a_warning_without_its_password(tmp_path: Path) -> None:
    found = await findings(configured(tmp_path, COZY_REDIS_URL="redis://:hunter2@127.0.0.1:1/0"), {})
    assert found.problems == []
    assert any(words.startswith("redis does not answer") for words in found.warnings)
    assert "hunter2" not in str(found)


async def test_redis_that_answers_is_none(tmp_path: Path, redis_url: str) -> None:
    found = await findings(configured(tmp_path, COZY_REDIS_URL=redis_url, COZY_SERVER_WORKERS="4"), {})
    assert not any("redis" in words for words in found.warnings)


async def test_several_processes_without_redis_are_warned_of(tmp_path: Path) -> None:
    found = await findings(configured(tmp_path, COZY_SERVER_WORKERS="4"), {})
    assert any("each of the 4 processes counts requests for itself" in words for words in found.warnings)


@pytest.mark.parametrize(("environ", "warned"), [({}, True), ({"OPENAI_API_KEY": "k"}, False)])
async def test_a_key_that_is_missing_is_warned_of(
    tmp_path: Path, environ: dict[str, str], warned: bool
) -> None:
    found = await findings(configured(tmp_path, COZY_MODEL_DEFAULT="openai/gpt-4.1-mini"), environ)
    assert any("`OPENAI_API_KEY` is not set" in words for words in found.warnings) == warned


async def test_the_key_of_an_engine_that_is_missing_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_text('[engines.facts]\nkind = "memobase"\napi_key_env = "FACTS_KEY"\n')
    words = "`FACTS_KEY` is not set: the engine `facts` may refuse to answer"
    for environ in ({}, {"FACTS_KEY": " \n"}):
        assert words in (await findings(configured(tmp_path), environ)).warnings
    assert words not in (await findings(configured(tmp_path), {"FACTS_KEY": "k"})).warnings


@pytest.mark.parametrize(
    ("url", "listens", "warned"),
    [
        ("", {}, True),
        ("http://localhost:8000", {}, True),
        ("http://127.0.0.1:8000", {"COZY_SERVER_HOST": "0.0.0.0"}, True),
        ("http://10.0.0.5", {"COZY_SERVER_HOST": "10.0.0.5", "COZY_SERVER_PORT": "80"}, True),
        ("http://10.0.0.5:8000", {}, False),
        ("http://127.0.0.1:8000", {"COZY_SERVER_PORT": "8080"}, False),
        ("https://127.0.0.1", {"COZY_SERVER_PORT": "80"}, False),
    ],
)
async def test_an_engine_or_a_model_server_where_cozy_itself_listens_is_warned_of(
    url: str, listens: dict[str, str], warned: bool, tmp_path: Path
) -> None:
    address = f'url = "{url}"\n' if url else ""
    base = f"{url or 'http://127.0.0.1:8000'}/v1"
    (tmp_path / "cozy.toml").write_text(
        f'[engines.wiki]\nkind = "cognee"\n{address}datasets = ["plants"]\n'
        f'[providers.house]\nbase_url = "{base}"\ndefault_model = "m"\n'
    )
    told = [w for w in (await findings(configured(tmp_path, **listens), {})).warnings if "itself" in w]
    assert [words.split("`")[1] for words in told] == ["providers.house", "engines.wiki"] * warned


async def test_what_hangs_on_nothing_wrong_is_looked_at_though_the_configuration_is_wrong(
    tmp_path: Path,
) -> None:
    (tmp_path / "personalities").mkdir()
    (tmp_path / "personalities" / "mia.yaml").write_text("id: mia\nname: Mia\npipeline: standrad\n")
    (tmp_path / "cozy.toml").write_text(
        f'[server]\nport = -1\n[tools]\ntimezone = "Mars"\n[database]\nurl = "sqlite:///{tmp_path}"\n'
        '[redis]\nurl = "redis://h:port/0"\n'
    )
    found = await findings(
        configured(tmp_path, COZY_SERVER_PROT="1", COZY_SERVER_WORKERS="many"),
        {"COZY_JWT_KEYS": "one=hunter3"},
    )
    words = "\n".join(found.problems)
    for part in (
        "`server.port`",
        "`server.workers`",
        "`standard`",
        "the database",
        "COZY_JWT_KEYS",
        "`tools.timezone`",
        "`redis.url`",
    ):
        assert part in words
    assert len(found.problems) == 7
    assert any("COZY_SERVER_PROT" in warning for warning in found.warnings)


async def test_what_hangs_on_something_wrong_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_text(
        '[paths]\ndata = 1\n[model]\ndefault = "opnai/x"\n[redis]\nurl = "http://h"\n'
    )
    found = await findings(configured(tmp_path, COZY_SERVER_WORKERS="2"), {})
    assert len(found.problems) == 3
    assert found.warnings == []


async def test_the_first_admin_is_made_once(tmp_path: Path) -> None:
    made = await first_admin(configured(tmp_path).settings)
    assert made is not None
    assert made[0].role == "admin"
    assert await first_admin(configured(tmp_path).settings) is None
