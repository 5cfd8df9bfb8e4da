"""SQLite: many readers, and one writer that commits together what waits together.

Connections are `sqlite3`'s own, used in worker threads: one hop for a whole transaction, where a hop for
each statement would cost several times the statement (docs/decisions has the figures).
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from cozy.storage.failures import closed, storage_error
from cozy.storage.schema import to_json

T = TypeVar("T")

READERS = 4
BATCH = 64
CLOSING_S = 10.0
VENDOR_ERRORS = (SQLAlchemyError, sqlite3.Error)


@asynccontextmanager
async def open_sqlite(url: URL) -> AsyncGenerator[SqliteDatabase]:
    """The file named by `url`, made with its folder where there is none."""
    make_folder(Path(url.database or ""))
    readers, writer = sqlite_engine(url, "BEGIN", READERS), sqlite_engine(url, "BEGIN IMMEDIATE", 1)
    database = SqliteDatabase(readers, writer)
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(database.run_writer)
            try:
                await database.read(lambda connection: connection.exec_driver_sql("PRAGMA schema_version"))
                yield database
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # a task group would wrap the block's own error in a group
                failure = error
            finally:
                with anyio.move_on_after(CLOSING_S, shield=True):
                    await database.close()
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(readers.dispose)
            await to_thread.run_sync(writer.dispose)
    if failure is not None:
        raise failure


def make_folder(path: Path) -> None:
    """Make the folder of the file `path` where there is none. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(sqlite3.OperationalError(f"unable to open {path}: {error.strerror}")) from error


def sqlite_engine(url: URL, begin: str, connections: int) -> Engine:
    """An engine whose transactions start with the statement `begin`, `connections` at most at once."""
    engine = create_engine(
        url.set(drivername="sqlite"),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        json_serializer=to_json,
        hide_parameters=True,
    )

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        # first the patience: switching to WAL needs the file for itself for a moment
        for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    def on_begin(connection: Connection) -> None:
        _driver(connection).execute(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.driver_connection
    return driver


@dataclass(slots=True, eq=False)
class _Write:
    """One caller's work, and in the end its value or its error."""

    work: Callable[[Connection], Any]
    done: anyio.Event = field(default_factory=anyio.Event)
    abandoned: bool = False
    settled: bool = False
    value: Any = None
    error: BaseException | None = None


class SqliteDatabase:
    """A file; `write` is served by one task, which commits up to 64 works at a time."""

    dialect: Literal["sqlite", "postgresql"] = "sqlite"

    def __init__(self, readers: Engine, writer: Engine) -> None:
        self._readers = readers
        self._writer = writer
        self._reading = CapacityLimiter(READERS)
        self._writing = CapacityLimiter(1)
        self._send, self._receive = anyio.create_memory_object_stream[_Write](math.inf)
        self._ended = anyio.Event()
        self._closed = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise closed()
        running = _Running()
        try:
            # a deadline need not wait for a long search: its thread is left to itself, and told to stop
            return await to_thread.run_sync(
                self._read, work, running, limiter=self._reading, abandon_on_cancel=True
            )
        finally:
            running.stop()

    def _read(self, work: Callable[[Connection], T], running: _Running) -> T:
        try:
            with self._readers.connect() as connection, running.on(connection):
                return work(connection)
        except VENDOR_ERRORS as error:
            raise storage_error(error) from error

    async def write(self, work: Callable[[Connection], T]) -> T:
        item = _Write(work)
        try:
            self._send.send_nowait(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise closed() from None
        try:
            await item.done.wait()
        finally:
            item.abandoned = True  # nobody waits any more: where it has not begun, it need not
        if item.error is not None:
            raise item.error
        return item.value

    async def close(self) -> None:
        """Take no more work, and wait for what was taken."""
        self._closed = True
        self._send.close()
        await self._ended.wait()

    async def run_writer(self) -> None:
        """Commit what comes, until `close`, also when the application is cancelled: what it was doing is to
        be put on record. Whoever still waits when this ends is told so."""
        batch: list[_Write] = []
        try:
            with anyio.CancelScope(shield=True):
                async for first in self._receive:
                    batch = [first, *self._waiting(BATCH - 1)]
                    batch = [item for item in batch if not item.abandoned]
                    if batch:
                        await to_thread.run_sync(self._commit, batch, limiter=self._writing)
                        _tell(batch)
        finally:
            self._closed = True
            self._send.close()
            _tell(batch + self._waiting(None))
            self._receive.close()
            self._ended.set()

    def _waiting(self, limit: int | None) -> list[_Write]:
        count = self._receive.statistics().current_buffer_used
        return [self._receive.receive_nowait() for _ in range(count if limit is None else min(limit, count))]

    def _commit(self, batch: Sequence[_Write]) -> None:
        """All in one transaction; where one work fails, each in a transaction of its own."""
        if not self._transact(batch):
            for item in batch:
                self._transact([item])

    def _transact(self, batch: Sequence[_Write]) -> bool:
        """Whether the works have found their end; not where one of several failed, and nothing was done."""
        working = False
        try:
            with self._writer.begin() as connection:
                working = True
                for item in batch:
                    item.value = item.work(connection)
                working = False
        except BaseException as error:
            if working and len(batch) > 1:
                return False
            for item in batch:
                item.error = _translated(error)
        for item in batch:
            item.settled = True
        return True


def _translated(error: BaseException) -> BaseException:
    if not isinstance(error, VENDOR_ERRORS):
        return error
    failure = storage_error(error)
    failure.__cause__ = error
    return failure


def _tell(batch: Sequence[_Write]) -> None:
    for item in batch:
        if not item.settled and item.error is None:
            item.error = closed()
        item.done.set()


class _Running:
    """A read in its thread, which another thread may stop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._stopped = False

    @contextmanager
    def on(self, connection: Connection) -> Generator[None]:
        with self._lock:
            if self._stopped:
                raise sqlite3.OperationalError("interrupted")
            self._connection = _driver(connection)
        try:
            yield
        finally:
            with self._lock:  # from here on the connection may be another read's
                self._connection = None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._connection is not None:
                self._connection.interrupt()
