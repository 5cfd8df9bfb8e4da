"""PostgreSQL through asyncpg: a pool, and one transaction for each work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import anyio
from anyio import CapacityLimiter
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, AdaptedConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cozy.storage.failures import closed, sqlstate, storage_error
from cozy.storage.schema import to_json

T = TypeVar("T")

CONNECTIONS = 20
CONNECT_S = 5.0
CLOSING_S = 5.0
DEADLOCK, SERIALIZATION = "40P01", "40001"
VENDOR_ERRORS = (SQLAlchemyError, OSError)


@asynccontextmanager
async def open_postgresql(url: URL) -> AsyncGenerator[PostgresqlDatabase]:
    """The database named by `url`, which must exist."""
    database = PostgresqlDatabase(postgresql_engine(url))
    try:
        await database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))
        yield database
    finally:
        with anyio.move_on_after(CLOSING_S, shield=True):
            await database.close()


def postgresql_engine(url: URL) -> AsyncEngine:
    """An engine over asyncpg; `sslmode`, as libpq and every tutorial spell it, is understood."""
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    engine = create_async_engine(
        url.set(drivername="postgresql+asyncpg", query=query),
        pool_size=CONNECTIONS,
        max_overflow=0,
        json_serializer=to_json,
        hide_parameters=True,
        connect_args={"timeout": CONNECT_S, "server_settings": {"application_name": "cozy"}},
    )

    def on_connect(connection: AdaptedConnection, _record: object) -> None:
        connection.run_async(_tune)

    event.listen(engine.sync_engine, "connect", on_connect)
    return engine


async def _tune(connection: Any) -> None:
    """Set what this server's version knows: plans of short statements are not worth compiling, and a
    statement whose caller was cancelled, and with it its connection, is not worth ending."""
    await connection.execute(
        "SELECT set_config(name, CASE name WHEN 'jit' THEN 'off' ELSE '500ms' END, false) "
        "FROM pg_settings WHERE name IN ('jit', 'client_connection_check_interval')"
    )


class PostgresqlDatabase:
    """A server; works run side by side, each on a connection of its own."""

    dialect: Literal["sqlite", "postgresql"] = "postgresql"

    def __init__(self, engine: AsyncEngine) -> None:
        self._writing = engine
        self._reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # SQLAlchemy's pool lets whoever comes last overtake whoever waits: 754 ms at p99 instead of 120
        self._places = CapacityLimiter(CONNECTIONS)
        self._closed = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._transact(self._reading, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._transact(self._writing, work)

    async def close(self) -> None:
        self._closed = True
        await self._writing.dispose()

    async def _transact(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise closed()
        try:
            async with self._places:
                try:
                    return await _run(engine, work)
                except _NothingDoneError:  # a restarted server cuts the whole pool: take a new one
                    return await _run(engine, work)
        except _NothingDoneError as error:
            raise storage_error(error.cause) from error.cause
        except VENDOR_ERRORS as error:
            raise storage_error(error) from error


class _NothingDoneError(Exception):
    """The work failed before its commit, for a reason that another try may not meet."""

    def __init__(self, cause: DBAPIError) -> None:
        super().__init__(cause)
        self.cause = cause


async def _run(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    connection = await engine.connect()
    try:
        try:
            value = await connection.run_sync(work)
        except DBAPIError as error:
            if error.connection_invalidated or sqlstate(error) in {DEADLOCK, SERIALIZATION}:
                raise _NothingDoneError(error) from error
            raise
        await connection.commit()
        return value
    finally:
        with anyio.move_on_after(CLOSING_S, shield=True):
            await connection.close()
