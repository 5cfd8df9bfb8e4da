from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, inspect, select, text, update

from cozy.errors import StorageError
from cozy.storage import migrate
from cozy.storage.database import open_database
from cozy.storage.schema import utc_now
from cozy.storage.tables import messages, outbox, sessions, users

SQLITE_SEARCH = re.compile("passage_(index|counts|hits)")
"""Virtual tables: made by a migration, unknown to SQLAlchemy."""
POSTGRESQL_SEARCH = "ix_passages_terms"
"""An index that SQLite has no use for."""


def heads(folder: Path) -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config).get_heads()


@pytest.fixture
def made_up(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the migrations with one more, `9001`, that does what is given."""

    def make(body: str) -> Path:
        folder = tmp_path / "migrations"
        shutil.copytree(migrate.migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        (folder / "versions" / "9001_made_up.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = '9001'\ndown_revision = '{migrate.HEAD}'\n"
            f"def upgrade():\n{lines}\n",
            encoding="utf-8",
        )
        return folder

    return make


def fill(connection: Connection) -> None:
    """Two users with a session each, ten messages and a job."""
    now = utc_now()
    for name in ("ada", "小明"):
        user, session = uuid4(), uuid4()
        dates = {"created_at": now, "updated_at": now}
        connection.execute(
            insert(users), {"id": user, "username": name, "role": "user", "status": "active", **dates}
        )
        connection.execute(
            insert(sessions),
            {
                "id": session,
                "user_id": user,
                "personality_id": "default",
                "message_count": 10,
                "total_tokens": 0,
                "next_position": 10,
                "metadata": {"城市": "杭州"},
                **dates,
            },
        )
        for position in range(10):
            connection.execute(
                insert(messages),
                {
                    "id": uuid4(),
                    "session_id": session,
                    "user_id": user,
                    "turn_id": uuid4(),
                    "position": position,
                    "role": "user",
                    "status": "complete",
                    "content": f"第{position}句",
                    "metadata": {},
                    "created_at": now,
                },
            )
        connection.execute(
            insert(outbox),
            {
                "id": uuid4(),
                "user_id": user,
                "target": "memory",
                "payload": {},
                "state": "queued",
                "attempts": 0,
                "due_at": now,
                "created_at": now,
            },
        )


def rows(connection: Connection) -> dict[str, int]:
    tables = (users, sessions, messages, outbox)
    return {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}


ALL_ROWS = {"users": 2, "sessions": 2, "messages": 20, "outbox": 2}


def test_the_head_known_without_alembic_is_the_newest_migration() -> None:
    assert heads(migrate.migrations_folder()) == [migrate.HEAD]


async def test_an_empty_database_is_migrated_once(empty_url: str) -> None:
    assert await migrate.current(empty_url) == (None, migrate.HEAD)
    assert await migrate.upgrade(empty_url) is True
    assert await migrate.current(empty_url) == (migrate.HEAD, migrate.HEAD)
    assert await migrate.upgrade(empty_url) is False


async def test_looking_at_a_sqlite_file_that_is_not_there_does_not_make_it(tmp_path: Path) -> None:
    assert await migrate.current(f"sqlite:///{tmp_path / 'new' / 'cozy.db'}") == (None, migrate.HEAD)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_do_does_not_load_alembic(database_url: str) -> None:
    code = (
        "import sys, anyio; from cozy.storage import migrate; "
        "assert not anyio.run(migrate.upgrade, sys.argv[1]); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, database_url], check=True, timeout=180)


def test_a_sqlite_installation_loads_nothing_of_postgresql_s(sqlite_url: str) -> None:
    code = (
        "import sys, anyio; from cozy.storage import migrate; "
        "anyio.run(migrate.upgrade, sys.argv[1]); "
        "assert not {'asyncpg', 'sqlalchemy.ext.asyncio'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, sqlite_url], check=True, timeout=180)


async def test_the_migrated_tables_are_those_of_the_model(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_object": lambda _object, name, *_: (
                connection.dialect.name == "postgresql" or name != POSTGRESQL_SEARCH
            ),
            "include_name": lambda name, kind, _: kind != "table" or not SQLITE_SEARCH.match(name),
        }
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, migrate.model_metadata())

    async with open_database(database_url) as database:
        assert await database.read(differences) == []


async def test_every_migration_can_be_taken_back(database_url: str) -> None:
    await migrate.run(database_url, "downgrade", "base")
    async with open_database(database_url) as database:
        left = await database.read(lambda connection: inspect(connection).get_table_names())
    assert left == ["alembic_version"]
    assert await migrate.upgrade(database_url) is True


async def test_names_as_they_were_typed_become_those_that_logins_know(database_url: str) -> None:
    await migrate.run(database_url, "downgrade", "0003")
    names = ("Ada", "ADA", "bob", "Bob", "小明", " Ｅve")
    now = utc_now()
    made = [
        {"username": name, "role": "user", "status": "active"}
        | {"id": uuid4(), "created_at": now + timedelta(seconds=n), "updated_at": now}
        for n, name in enumerate(names)
    ]
    async with open_database(database_url) as database:
        await database.write(lambda c: c.execute(insert(users), made))
    await migrate.upgrade(database_url)
    async with open_database(database_url) as database:
        found = await database.read(
            lambda c: {row.id: row.username for row in c.execute(select(users.c.id, users.c.username))}
        )
    renamed = dict(zip([row["id"] for row in made], ("ada", "ADA", "bob", "Bob", "小明", "eve"), strict=True))
    assert found == renamed


async def test_a_migration_that_makes_tables_anew_loses_no_row(
    database_url: str, made_up: Callable[[str], Path]
) -> None:
    async with open_database(database_url) as database:
        await database.write(fill)
    folder = made_up("""
for table in ("users", "sessions", "messages"):
    with op.batch_alter_table(table) as batch:
        batch.alter_column("created_at", nullable=True)
        batch.add_column(sa.Column("made_up", sa.Text(), server_default="无", nullable=False))
""")
    await migrate.run(database_url, "upgrade", "head", folder=folder)
    async with open_database(database_url) as database:
        assert await database.read(rows) == ALL_ROWS
        added = await database.read(lambda c: c.execute(text("SELECT DISTINCT made_up FROM messages")).all())
        assert [tuple(row) for row in added] == [("无",)]
        with pytest.raises(StorageError):  # keys still point at the tables made anew
            await database.write(lambda c: c.execute(update(messages).values(user_id=uuid4())))
        plan = await database.read(lambda c: inspect(c).get_indexes("messages"))
    assert "ix_messages_alive" in {index["name"] for index in plan}


async def test_a_migration_that_breaks_references_is_taken_back(
    sqlite_url: str, made_up: Callable[[str], Path]
) -> None:
    async with open_database(sqlite_url) as database:
        await database.write(fill)
    folder = made_up('op.execute("DELETE FROM users")')
    with pytest.raises(StorageError, match="references of messages, outbox, sessions"):
        await migrate.run(sqlite_url, "upgrade", "head", folder=folder)
    async with open_database(sqlite_url) as database:
        assert await database.read(rows) == ALL_ROWS
    assert await migrate.current(sqlite_url) == (migrate.HEAD, migrate.HEAD)


async def test_a_migration_that_fails_halfway_leaves_nothing(
    database_url: str, made_up: Callable[[str], Path]
) -> None:
    async with open_database(database_url) as database:
        await database.write(fill)
    folder = made_up("""
op.create_table("half", sa.Column("id", sa.Integer()))
op.execute("DELETE FROM outbox")
op.execute("INSERT INTO nowhere VALUES (1)")
""")
    with pytest.raises(StorageError):
        await migrate.run(database_url, "upgrade", "head", folder=folder)
    async with open_database(database_url) as database:
        assert await database.read(rows) == ALL_ROWS
        assert not await database.read(lambda connection: inspect(connection).has_table("half"))
    assert await migrate.current(database_url) == (migrate.HEAD, migrate.HEAD)


async def test_a_sqlite_file_with_rows_is_copied_before_it_is_migrated(
    sqlite_url: str, tmp_path: Path, made_up: Callable[[str], Path]
) -> None:
    async with open_database(sqlite_url) as database:
        await database.write(fill)
    folder = made_up('op.drop_table("outbox")')
    await migrate.run(sqlite_url, "upgrade", "head", folder=folder)
    (copy,) = tmp_path.glob("cozy.db.*.bak")
    async with open_database(f"sqlite:///{copy}") as database:
        assert await database.read(rows) == ALL_ROWS
        await migrate.check_migrated(database)


async def test_a_new_sqlite_file_is_not_copied(tmp_path: Path) -> None:
    await migrate.upgrade(f"sqlite:///{tmp_path / 'cozy.db'}")
    assert [path.name for path in tmp_path.iterdir()] == ["cozy.db"]


async def test_a_migration_that_fails_leaves_no_copy(
    sqlite_url: str, tmp_path: Path, made_up: Callable[[str], Path]
) -> None:
    folder = made_up('op.execute("INSERT INTO nowhere VALUES (1)")')
    for _ in range(2):  # a service that is started again and again would fill the disk
        with pytest.raises(StorageError):
            await migrate.run(sqlite_url, "upgrade", "head", folder=folder)
    assert list(tmp_path.glob("*.bak*")) == []


async def test_whoever_finds_the_migration_done_keeps_no_copy(sqlite_url: str, tmp_path: Path) -> None:
    await migrate.run(sqlite_url, "upgrade", "head")
    assert list(tmp_path.glob("*.bak*")) == []


async def test_tables_of_somebody_else_are_left_alone(empty_url: str) -> None:
    async with open_database(empty_url) as database:
        await database.write(lambda c: c.execute(text("CREATE TABLE users (name TEXT)")))
        with pytest.raises(StorageError, match="tables that are not Cozy's"):
            await migrate.upgrade(empty_url)
        assert await database.read(lambda c: inspect(c).get_table_names()) == ["users"]


async def test_a_folder_that_cannot_be_made_is_told() -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        await migrate.upgrade("sqlite:////proc/cozy/cozy.db")


async def test_a_database_without_tables_is_told(empty_url: str) -> None:
    async with open_database(empty_url) as database:
        with pytest.raises(StorageError, match="no tables yet") as failure:
            await migrate.check_migrated(database)
    assert "cozy db upgrade" in str(failure.value)


async def test_a_database_of_a_later_version_is_left_alone(database_url: str, tmp_path: Path) -> None:
    async with open_database(database_url) as database:
        await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
        with pytest.raises(StorageError, match="9999, which this version does not know") as failure:
            await migrate.check_migrated(database)
    assert "later version of Cozy" in str(failure.value), "`cozy db upgrade` would not help"
    with pytest.raises(StorageError, match="9999, which this version does not know"):
        await migrate.upgrade(database_url)
    assert list(tmp_path.glob("*.bak*")) == []


async def test_replicas_that_start_together_migrate_once(empty_url: str) -> None:
    code = "import sys, anyio; from cozy.storage import migrate; anyio.run(migrate.upgrade, sys.argv[1])"

    async def start() -> None:
        await anyio.run_process([sys.executable, "-c", code, empty_url], stderr=None)

    with anyio.fail_after(180):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(start)
    assert await migrate.current(empty_url) == (migrate.HEAD, migrate.HEAD)
