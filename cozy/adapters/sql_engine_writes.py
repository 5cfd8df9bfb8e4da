"""What turns have taught engines outside: a journal, so that what is done again is not sent again."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from cozy.adapters.sql_engine import engine_errors, insert
from cozy.ports.memory import Exchange
from cozy.storage.context_tables import engine_writes
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.turn import TurnId

_KNOWN = select(engine_writes.c.receipt, engine_writes.c.done_at).where(
    engine_writes.c.turn_id == bindparam("turn_id"), engine_writes.c.engine == bindparam("engine")
)


@dataclass(frozen=True, slots=True)
class Write:
    """How far the writing of a turn has come."""

    is_new: bool
    receipt: str | None
    """What the adapter noted of it: it knows by that where the write is."""
    is_done: bool


class SqlEngineWrites:
    """The journal of one engine. Raises EngineUnavailable, as the engine, where the database fails."""

    def __init__(self, database: Database, engine: str) -> None:
        self._database = database
        self._engine = engine

    async def begin(self, exchange: Exchange) -> Write:
        """Note that the turn is about to be sent; or how far it came before."""
        row = {
            "turn_id": exchange.turn_id,
            "engine": self._engine,
            "user_id": exchange.user_id,
            "begun_at": utc_now(),
        }

        def work(connection: Connection) -> Write:
            begun = insert(connection, engine_writes).values(row).on_conflict_do_nothing()
            if connection.execute(begun).rowcount:
                return Write(is_new=True, receipt=None, is_done=False)
            key = {"turn_id": exchange.turn_id, "engine": self._engine}
            known = connection.execute(_KNOWN, key).one()
            return Write(is_new=False, receipt=known.receipt, is_done=known.done_at is not None)

        with engine_errors(self._engine):
            return await self._database.write(work)

    async def note(self, turn_id: TurnId, receipt: str | None) -> None:
        """Keep what the write is known by; None: it has to be sent anew."""
        await self._set(turn_id, receipt=receipt)

    async def finish(self, turn_id: TurnId) -> None:
        """It has been taken in."""
        await self._set(turn_id, done_at=utc_now())

    async def _set(self, turn_id: TurnId, **values: object) -> None:
        mine = (engine_writes.c.turn_id == turn_id, engine_writes.c.engine == self._engine)
        statement = engine_writes.update().where(*mine).values(**values)

        def work(connection: Connection) -> None:
            connection.execute(statement)

        with engine_errors(self._engine):
            await self._database.write(work)
