"""Jobs that wait in the database, as operators see them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, String, cast, delete, func, select, update

from cozy.ports.outbox import JobState, StoredJob
from cozy.storage.database import Database
from cozy.storage.outbox import is_, is_kind, now_of
from cozy.storage.tables import outbox, users
from cozy.turn import UserId

_JOBS = select(
    outbox.c.id,
    outbox.c.state,
    outbox.c.kind,
    outbox.c.target,
    outbox.c.user_id,
    users.c.username,
    outbox.c.attempts,
    outbox.c.created_at,
    outbox.c.due_at,
    outbox.c.leased_until,
    outbox.c.finished_at,
    outbox.c.last_error,
    outbox.c.payload,
).join_from(outbox, users, users.c.id == outbox.c.user_id)
_ID = func.replace(cast(outbox.c.id, String), "-", "")
"""SQLite keeps ids without their dashes, PostgreSQL writes them."""


@dataclass(frozen=True, slots=True)
class SqlOutboxAdmin:
    """Fills OutboxAdmin."""

    database: Database

    async def jobs(
        self,
        *,
        states: Collection[JobState] = ("queued", "leased", "dead"),
        target: str | None = None,
        user_id: UserId | None = None,
        limit: int = 100,
    ) -> Sequence[StoredJob]:
        query = _JOBS.where(outbox.c.state.in_(states)).order_by(outbox.c.seq).limit(limit)
        if target is not None:
            query = query.where(
                (outbox.c.target == target) | outbox.c.target.startswith(f"{target}/", autoescape=True)
            )
        if user_id is not None:
            query = query.where(outbox.c.user_id == user_id)
        return await self.database.read(lambda c: [StoredJob(*row) for row in c.execute(query)])

    async def find(self, beginning: str, *, limit: int = 10) -> Sequence[StoredJob]:
        begins = _ID.startswith(beginning.replace("-", "").lower(), autoescape=True)
        query = _JOBS.where(begins).order_by(outbox.c.seq).limit(limit)
        return await self.database.read(lambda c: [StoredJob(*row) for row in c.execute(query)])

    async def again(self, ids: Collection[UUID] | None = None) -> int:
        which = is_("dead") if ids is None else outbox.c.id.in_(ids) & (is_("dead") | is_("queued"))

        def work(connection: Connection) -> int:
            fresh = {"state": "queued", "attempts": 0, "due_at": now_of(connection), "finished_at": None}
            return connection.execute(update(outbox).where(which).values(fresh)).rowcount

        return await self.database.write(work)

    async def drop(self, ids: Collection[UUID]) -> int:
        statement = delete(outbox).where(outbox.c.id.in_(ids), is_("dead") | is_("queued"), is_kind("write"))
        return await self.database.write(lambda connection: connection.execute(statement).rowcount)
