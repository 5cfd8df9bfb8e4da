"""Erasing what is kept of a user, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from cozy.adapters.sql_audit import audit_row
from cozy.adapters.sql_generations import bump
from cozy.errors import NotFound
from cozy.ports.erasure import Erasure, ToErase
from cozy.ports.operations import AuditEvent
from cozy.ports.store import Job
from cozy.storage.context_tables import engine_generations, metadata
from cozy.storage.database import Database
from cozy.storage.outbox import job_row
from cozy.storage.schema import utc_now
from cozy.storage.tables import (
    api_keys,
    audit_events,
    outbox,
    refresh_tokens,
    revoked_tokens,
    sessions,
    users,
)
from cozy.turn import UserId

KEPT = frozenset({api_keys, refresh_tokens, revoked_tokens, audit_events, outbox, engine_generations})
"""Tables whose rows outlive it: what belongs to the account, what was done (without a word of it), what is
still to be done, and how often engines were written to, by which old answers are known to be old."""
ERASED: Sequence[Table] = [
    table for table in reversed(metadata.sorted_tables) if "user_id" in table.c and table not in KEPT
]
"""Every other table with a user in it, new ones too; those that refer to others first."""

_OF_USER = outbox.c.user_id == bindparam("user")
_LOCK_SESSIONS = select(sessions.c.id).where(sessions.c.user_id == bindparam("user")).with_for_update()
_LOCK_USER = select(users.c.id).where(users.c.id == bindparam("user")).with_for_update()
_TARGETS = select(outbox.c.target).distinct().where(_OF_USER, outbox.c.state != "done")
_DROP_JOBS = delete(outbox).where(_OF_USER, outbox.c.kind == "write", outbox.c.state != "leased")
_QUEUED = select(outbox.c.target).where(_OF_USER, outbox.c.kind == "erase", outbox.c.state == "queued")
_WAITING = (
    select(outbox.c.target, outbox.c.created_at, outbox.c.attempts, outbox.c.due_at, outbox.c.last_error)
    .where(_OF_USER, outbox.c.kind == "erase", outbox.c.state.in_(("queued", "leased")))
    .order_by(outbox.c.seq)
)
_ERASED_AT = select(users.c.erased_at).where(users.c.id == bindparam("user"))


@dataclass(frozen=True, slots=True)
class SqlErasures:
    """Fills Erasures."""

    database: Database
    targets: Sequence[str]
    """Of every engine that may know something of users."""

    async def erase(self, user_id: UserId, audit: AuditEvent) -> Erasure:
        return await self.database.write(lambda connection: self._erase(connection, user_id, audit))

    async def state(self, user_id: UserId) -> Erasure:
        return await self.database.read(lambda connection: _state(connection, user_id))

    def _erase(self, connection: Connection, user_id: UserId, audit: AuditEvent) -> Erasure:
        whose = {"user": user_id}
        # first the sessions, as turns that are being stored do: those end before, or find theirs gone
        connection.execute(_LOCK_SESSIONS, whose)
        if connection.execute(_LOCK_USER, whose).first() is None:
            raise NotFound("user", user_id)
        now = utc_now()
        seen = connection.execute(_TARGETS, whose).scalars().all()
        removed = {"outbox": connection.execute(_DROP_JOBS, whose).rowcount}
        for table in ERASED:
            removed[table.name] = connection.execute(delete(table).where(table.c.user_id == user_id)).rowcount
        for target in self.targets:  # at once: the engines themselves may be away
            bump(connection, user_id, target)
        connection.execute(
            update(users)
            .where(users.c.id == user_id)
            .values(profile={}, preferences={}, display_name=None, erased_at=now, updated_at=now)
        )
        self._have_forgotten(connection, user_id, seen, now)
        facts = {**audit.payload, "removed": removed}
        connection.execute(insert(audit_events), audit_row(replace(audit, payload=facts), now))
        return replace(_state(connection, user_id), removed=removed)

    def _have_forgotten(
        self, connection: Connection, user_id: UserId, seen: Iterable[str], now: datetime
    ) -> None:
        """Queue a job for each engine, behind what is under way there, unless one waits already."""
        former = {target for target in seen if target.partition("/")[0] in ("memory", "profile")}
        queued = set(connection.execute(_QUEUED, {"user": user_id}).scalars())
        targets = sorted({*self.targets, *former} - queued)
        rows = [job_row(Job(uuid4(), target, user_id, {}, "erase"), now) for target in targets]
        if rows:
            connection.execute(insert(outbox), rows)


def _state(connection: Connection, user_id: UserId) -> Erasure:
    found = connection.execute(_ERASED_AT, {"user": user_id}).first()
    if found is None:
        raise NotFound("user", user_id)
    waiting = [ToErase(*row) for row in connection.execute(_WAITING, {"user": user_id})]
    return Erasure(user_id, found.erased_at, waiting)
