"""Counters in the database that every process of an installation follows."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from cozy.adapters.sql_engine import insert
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import signals


class SqlSignals:
    """Fills Signals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def raise_(self, name: str) -> int:
        def work(connection: Connection) -> int:
            row = {"name": name, "count": 1, "updated_at": utc_now()}
            counted = (
                insert(connection, signals)
                .values(row)
                .on_conflict_do_update(
                    index_elements=[signals.c.name],
                    set_={"count": signals.c["count"] + 1, "updated_at": row["updated_at"]},
                )
                .returning(signals.c["count"])
            )
            return connection.execute(counted).scalar_one()

        return await self._database.write(work)

    async def counts(self) -> Mapping[str, int]:
        statement = select(signals.c.name, signals.c["count"].label("raised"))
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return {row.name: row.raised for row in rows}
