"""Bringing a database up to the tables of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Literal

from anyio import to_thread
from sqlalchemy import Connection, MetaData, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

import cozy
from cozy.errors import StorageError
from cozy.storage.database import Database, open_database, parse_url
from cozy.storage.failures import UPGRADE_HINT, storage_error

HEAD = "0006"
"""The newest revision in `migrations/`, known without loading Alembic; a test holds it there."""

Direction = Literal["upgrade", "downgrade"]

PATIENCE_MS = 60_000
"""How long a migration waits for another one of the same SQLite file."""
LOCK_KEY = 0x636F7A79
"""Of PostgreSQL's advisory lock: replicas that start together migrate one after the other."""

# Alembic keeps the migration at work in module globals
_alembic = Lock()


async def upgrade(url: str) -> bool:
    """Whether anything had to be done. A SQLite file that holds something is copied beside itself first.

    Raises StorageError where the database cannot be reached or is of a later version of Cozy.
    """
    have, head = await current(url)
    if have == head:
        return False
    if have is not None and have not in _known():
        raise _of_later_version(have)
    await run(url, "upgrade", head)
    return True


async def current(url: str) -> tuple[str | None, str]:
    """The revision that the database has (None: no tables yet) and the one that this version needs."""
    if not _exists(parse_url(url)):  # looking must not make the file
        return None, HEAD
    async with open_database(url) as database:
        return await database.read(_revision), HEAD


async def check_migrated(database: Database) -> None:
    """Raises StorageError where the tables are not those of this version."""
    if problem := unfit(await database.read(_revision)):
        raise problem


def unfit(have: str | None) -> StorageError | None:
    """What is wrong with a database at the revision `have`; None where it is this version's."""
    if have == HEAD:
        return None
    if have is None:
        return StorageError("the database has no tables yet", hint="make them with `cozy db upgrade`")
    if have not in _known():
        return _of_later_version(have)
    return StorageError(f"the database is at revision {have}, this version needs {HEAD}", hint=UPGRADE_HINT)


def is_known(revision: str) -> bool:
    """Whether it is of this version or an earlier one."""
    return revision in _known()


def _known() -> set[str]:
    """The revisions of this version, by the names of their files: without loading Alembic."""
    return {script.name.partition("_")[0] for script in (migrations_folder() / "versions").glob("*.py")}


def _of_later_version(have: str | None) -> StorageError:
    return StorageError(
        f"the database is at revision {have}, which this version does not know",
        hint="it was made by a later version of Cozy: install that one",
    )


async def run(url: str, direction: Direction, target: str, *, folder: Path | None = None) -> None:
    """Migrate to the revision `target`, in one transaction, with the scripts of `folder`."""
    parsed = parse_url(url)
    scripts = folder or migrations_folder()

    def work(connection: Connection) -> None:
        _migrate(connection, scripts, direction, target)

    try:
        if parsed.get_backend_name() == "sqlite":
            await to_thread.run_sync(_on_sqlite, parsed, work)
        else:
            await _on_postgresql(parsed, work)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise storage_error(error) from error


def migrations_folder() -> Path:
    """Where the migrations are: in the installed package, or beside it in a checkout."""
    package = Path(cozy.__file__).parent
    shipped = package / "shipped" / "migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def model_metadata() -> MetaData:
    """What the migrations lead to: every table of Cozy."""
    from cozy.storage.context_tables import metadata  # its tables refer to all the others

    return metadata


def _exists(url: URL) -> bool:
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection, folder: Path, direction: Direction, target: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        with _alembic:
            getattr(command, direction)(config, target)
    except CommandError as error:
        raise _of_later_version(_revision(connection)) from error


def _on_sqlite(url: URL, work: Callable[[Connection], None]) -> None:
    from cozy.storage.sqlite import make_folder, sqlite_engine

    path = Path(url.database or "")
    make_folder(path)
    copy = _copy(path)
    migrated = False
    engine = sqlite_engine(url, "BEGIN IMMEDIATE", 1)

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # SQLite changes a table by making it anew: with keys enforced, dropping the old one takes the
        # rows that point to it along
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")

    event.listen(engine, "connect", prepare)
    try:
        with engine.begin() as connection:
            have = _revision(connection)
            work(connection)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                tables = ", ".join(sorted({str(row[0]) for row in broken}))
                raise StorageError(f"the migration would break {len(broken)} references of {tables}")
            migrated = _revision(connection) != have
    finally:
        engine.dispose()
        if copy is not None and not migrated:  # the file is as it was
            copy.unlink()


def _copy(path: Path) -> Path | None:
    """Keep the file as it is, beside itself, where it holds any table."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return None
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        part = Path(f"{path}.{stamp}.part")  # half a copy must not look like one
        try:
            connection.execute("VACUUM INTO ?", (str(part),))
            return part.rename(f"{path}.{stamp}.bak")
        finally:
            part.unlink(missing_ok=True)


async def _on_postgresql(url: URL, work: Callable[[Connection], None]) -> None:
    from cozy.storage.postgresql import postgresql_engine

    engine = postgresql_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            await connection.run_sync(work)
    finally:
        await engine.dispose()
