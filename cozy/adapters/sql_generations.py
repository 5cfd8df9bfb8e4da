"""How often each engine outside was written to, so that no process uses what it kept of it before.

In the database, not in Redis: where Redis is away or not there, other processes write all the same.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from cozy.adapters.sql_engine import insert
from cozy.storage.context_tables import engine_generations
from cozy.storage.database import Database
from cozy.turn import UserId

EVERYBODY = UserId(UUID(int=0))
"""For what is the same for all users: documents."""

_COUNT = select(engine_generations.c.count).where(
    engine_generations.c.user_id == bindparam("user_id"), engine_generations.c.engine == bindparam("engine")
)


class SqlGenerations:
    """Raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user_id: UserId, engine: str) -> int:
        """0 before the first write."""
        values = {"user_id": user_id, "engine": engine}
        found = await self._database.read(lambda connection: connection.execute(_COUNT, values).scalar())
        return found or 0

    async def bump(self, user_id: UserId, engine: str) -> None:
        await self._database.write(lambda connection: bump(connection, user_id, engine))


def bump(connection: Connection, user_id: UserId, engine: str) -> None:
    """Have nothing used that was kept before of what this engine knows of the user."""
    first = insert(connection, engine_generations).values(user_id=user_id, engine=engine, count=1)
    more = {"count": engine_generations.c.count + 1}
    connection.execute(first.on_conflict_do_update(index_elements=["user_id", "engine"], set_=more))
