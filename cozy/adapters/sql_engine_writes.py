"""What turns have taught engines outside: a journal, so that what is done again is not sent again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from sqlalchemy import Connection, bindparam, select

from cozy.adapters.sql_engine import engine_errors, insert
from cozy.errors import EngineTimeout
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


class SqlEngineWrites:
    """The journal of one engine. Raises EngineUnavailable, as the engine, where the database fails."""

    def __init__(self, database: Database, engine: str) -> None:
        self._database = database
        self._engine = engine

    async def once(
        self, exchange: Exchange, send: Callable[[Write], Awaitable[int]], timeout_s: float
    ) -> int:
        """What `send` gives for a turn; 0 for one that has been taken in already. Raises EngineTimeout."""
        write = await self._begin(exchange)
        if write is None:
            return 0
        with anyio.move_on_after(timeout_s):
            learned = await send(write)
            await self._set(exchange.turn_id, done_at=utc_now())
            return learned
        raise EngineTimeout(self._engine, f"did not take the turn in within {timeout_s:g} s")

    async def _begin(self, exchange: Exchange) -> Write | None:
        """Note that the turn is about to be sent; or how far it came before, None where that was its end."""
        row = {
            "turn_id": exchange.turn_id,
            "engine": self._engine,
            "user_id": exchange.user_id,
            "begun_at": utc_now(),
        }

        def work(connection: Connection) -> Write | None:
            begun = insert(connection, engine_writes).values(row).on_conflict_do_nothing()
            if connection.execute(begun).rowcount:
                return Write(is_new=True, receipt=None)
            key = {"turn_id": exchange.turn_id, "engine": self._engine}
            known = connection.execute(_KNOWN, key).one()
            return None if known.done_at is not None else Write(is_new=False, receipt=known.receipt)

        with engine_errors(self._engine):
            return await self._database.write(work)

    async def note(self, turn_id: TurnId, receipt: str | None) -> None:
        """Keep what the write is known by; None: it has to be sent anew."""
        await self._set(turn_id, receipt=receipt)

    async def _set(self, turn_id: TurnId, **values: object) -> None:
        mine = (engine_writes.c.turn_id == turn_id, engine_writes.c.engine == self._engine)
        statement = engine_writes.update().where(*mine).values(**values)

        def work(connection: Connection) -> None:
            connection.execute(statement)

        with engine_errors(self._engine):
            await self._database.write(work)
