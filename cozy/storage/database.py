"""Transactions on SQLite or PostgreSQL, behind one pair of words: read and write."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cozy.errors import StorageError

T = TypeVar("T")


class Database(Protocol):
    """Work is a plain function of a connection, run inside a transaction of its own or a shared one.

    It may run a second time (its batch failed, the connection was lost), and off the event loop's thread:
    it does nothing but SQL and reads nothing that changes. Raises StorageError for whatever the database
    does; what the work itself raises comes through, and its transaction is rolled back.
    """

    dialect: Literal["sqlite", "postgresql"]

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, from one consistent view; it must not write."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, once it is committed. A caller cancelled before may find it done or not."""
        ...


@asynccontextmanager
async def open_database(url: str) -> AsyncGenerator[Database]:
    """The database at `sqlite:///data/cozy.db` or `postgresql://user@host/name`, until the block is left.

    A SQLite file and its folder are made where there are none. Raises StorageError where none answers.
    """
    async with _opened(parse_url(url)) as database:
        yield database


def parse_url(url: str) -> URL:
    """`url` taken apart; raises StorageError for what is not SQLite with a file, or PostgreSQL."""
    hint = "write `sqlite:///data/cozy.db` or `postgresql://user@host/name`"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StorageError("the database's address cannot be read", hint=hint) from error
    kind = parsed.get_backend_name()
    if kind == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise StorageError("the database's address names no file", hint=hint)
    if kind == "postgres":
        return parsed.set(drivername="postgresql")
    if kind not in {"sqlite", "postgresql"}:
        raise StorageError(f"databases of kind `{kind}` are not supported", hint=hint)
    return parsed


def _opened(url: URL) -> AbstractAsyncContextManager[Database]:
    if url.get_backend_name() == "sqlite":
        from cozy.storage.sqlite import open_sqlite

        return open_sqlite(url)
    from cozy.storage.postgresql import open_postgresql

    return open_postgresql(url)
