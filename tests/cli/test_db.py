from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cozy.cli.db import db
from cozy.errors import StorageError
from cozy.storage.migrate import HEAD


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(url: str, *arguments: str) -> Result:
    return CliRunner(env={"COZY_DATABASE_URL": url}).invoke(db, arguments)


def test_an_installation_s_life(empty_url: str, here: Path) -> None:
    new = run(empty_url, "status")
    assert (new.exit_code, new.stdout) == (1, "empty\n")
    assert "cozy db upgrade" in new.stderr

    made = run(empty_url, "upgrade")
    assert (made.exit_code, made.stderr) == (0, f"upgraded from nothing to {HEAD}\n")

    again = run(empty_url, "upgrade")
    assert (again.exit_code, again.stderr) == (0, f"up to date at {HEAD}\n")

    now = run(empty_url, "status")
    assert (now.exit_code, now.stdout, now.stderr) == (0, f"{HEAD}\n", "")


def test_without_any_configuration_the_database_is_in_the_data_folder(here: Path) -> None:
    result = CliRunner().invoke(db, ["upgrade"])
    assert result.exit_code == 0, result.output
    with closing(sqlite3.connect(here / "data" / "cozy.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


def test_a_database_of_a_later_version_is_told(sqlite_url: str, here: Path) -> None:
    with closing(sqlite3.connect(here / "cozy.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    result = run(sqlite_url, "status")
    assert (result.exit_code, result.stdout) == (1, "9999\n")
    assert "later version of Cozy" in result.stderr
    assert "cozy db upgrade" not in result.stderr


def test_a_server_that_is_away_is_told(here: Path) -> None:
    result = run("postgresql://postgres@127.0.0.1:1/cozy", "status")
    assert isinstance(result.exception, StorageError)
    assert "is away" in str(result.exception)
