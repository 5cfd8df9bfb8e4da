"""What a database's own errors mean, in words that say what to do."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cozy.errors import StorageError

UPGRADE_HINT = "bring it up to date with `cozy db upgrade`"
_FOREIGN = ("the database has tables that are not Cozy's", "name another one in `database.url`")

# SQLite tells by its text, PostgreSQL by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLITE: tuple[tuple[str, str, str], ...] = (
    ("no such table", "the database lacks a table of this version", UPGRADE_HINT),
    ("no such column", "the database lacks a column of this version", UPGRADE_HINT),
    ("has no column named", "the database lacks a column of this version", UPGRADE_HINT),
    ("already exists", *_FOREIGN),
    ("locked", "the database is locked by another program", "close what holds it open for writing"),
    ("disk is full", "the disk is full", "make room where the database lies"),
    ("readonly", "the database may not be written to", "check the owner and mode of its file and folder"),
    ("unable to open", "the database cannot be opened", "check the owner and mode of its file and folder"),
    ("disk i/o error", "the disk under the database failed", "look at the system's log"),
    ("malformed", "the database file is damaged", "restore it from a copy"),
    ("not a database", "the file is not a SQLite database", "name another file in `database.url`"),
    ("interrupted", "the read was stopped", ""),
)
_SQLSTATE: tuple[tuple[str, str, str], ...] = (
    ("42P01", "the database lacks a table of this version", UPGRADE_HINT),
    ("42703", "the database lacks a column of this version", UPGRADE_HINT),
    ("42P07", *_FOREIGN),
    ("53100", "the database's disk is full", "make room on the database server"),
    ("53300", "the database has no connection to spare", "raise `max_connections` or run fewer replicas"),
    ("25006", "the database may not be written to", "connect to the primary"),
    ("28", "the database refused the user or password", "check `database.url`"),
    ("3D000", "there is no database of that name", "make it with `createdb`, or check `database.url`"),
    ("42501", "the user lacks a right in the database", "grant it the schema and its tables"),
    ("57P", "the database is away", "check that it is running"),
    ("08", "the database is away", "check that it is running"),
)


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's code of an error, five characters; empty where it has none."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return getattr(origin, "sqlstate", None) or ""


def storage_error(error: BaseException) -> StorageError:
    """The vendor's error in our words; never with the values of a statement."""
    if isinstance(error, PoolTimeout):
        return StorageError("all connections to the database are busy", details={"kind": "busy"})
    if code := sqlstate(error):
        for prefix, message, hint in _SQLSTATE:
            if code.startswith(prefix):
                return StorageError(message, hint=hint, details={"sqlstate": code})
        return StorageError(f"the database refused ({_kind(error)}, {code})", details={"sqlstate": code})
    origin = error.orig if isinstance(error, DBAPIError) else error
    text = str(origin)
    if isinstance(origin, sqlite3.Error):
        for part, message, hint in _SQLITE:
            if part in text.lower():
                return StorageError(message, hint=hint or None, details={"sqlite": text})
        return StorageError(f"the database refused: {text}", details={"sqlite": text})
    away = isinstance(origin, OSError) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    if away:
        return StorageError(
            "the database is away", hint="check that it is running and `database.url` is right"
        )
    what = "the statement" if isinstance(error, SQLAlchemyError) else "the database"
    return StorageError(f"{what} failed ({_kind(error)})")


def closed() -> StorageError:
    """For whoever comes while the application is being stopped, or after."""
    return StorageError("the database is closed")


def _kind(error: BaseException) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    cause = getattr(origin, "__cause__", None)  # SQLAlchemy's asyncpg dialect hangs the real one there
    return type(cause or origin or error).__name__
