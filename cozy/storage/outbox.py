"""Jobs that wait in the database: leased to one worker at a time, and never lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from cozy.ports.store import Job, LeasedJob
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import outbox
from cozy.turn import UserId

KEPT_DONE = timedelta(days=1)
"""How long a finished job is remembered, so that it is not done again when its turn is written again."""


def _is(state: str, table: FromClause = outbox) -> ColumnElement[bool]:
    # a literal, not a parameter: only so do the planners see that the partial indexes fit
    return table.c.state == literal_column(f"'{state}'")


_earlier = outbox.alias("earlier")
_running = outbox.alias("running")
_READY = (
    _is("queued"),
    outbox.c.due_at <= bindparam("now"),
    ~exists().where(
        _is("leased", _running),
        _running.c.user_id == outbox.c.user_id,
        _running.c.target == outbox.c.target,
    ),
    ~exists().where(
        _is("queued", _earlier),
        _earlier.c.user_id == outbox.c.user_id,
        _earlier.c.target == outbox.c.target,
        _earlier.c.seq < outbox.c.seq,
    ),
)
_EXPIRED = (_is("leased"), outbox.c.leased_until <= bindparam("now"))

_ANYTHING = select(
    exists(select(outbox.c.seq).where(*_READY)) | exists(select(outbox.c.seq).where(*_EXPIRED))
)
_expired = select(outbox.c.seq).where(*_EXPIRED).with_for_update(skip_locked=True)
_GIVE_BACK = update(outbox).where(outbox.c.seq.in_(_expired)).values(state="queued", leased_until=None)
_FORGET = delete(outbox).where(_is("done"), outbox.c.finished_at < bindparam("before"))
_CHOOSE = (
    select(outbox.c.seq)
    .where(*_READY)
    .order_by(outbox.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=outbox)
)
_LEASE = (
    update(outbox)
    .where(outbox.c.seq.in_(bindparam("chosen", expanding=True)))
    .values(state="leased", leased_until=bindparam("until"), attempts=outbox.c.attempts + 1)
    .returning(
        outbox.c.seq, outbox.c.id, outbox.c.target, outbox.c.user_id, outbox.c.payload, outbox.c.attempts
    )
)
_JOB = outbox.c.id == bindparam("job")
_FINISH = (
    update(outbox)
    .where(_JOB)
    .values(state="done", leased_until=None, finished_at=bindparam("now"), payload={})
)
_RETRY = (
    update(outbox)
    .where(_JOB, _is("leased"))
    .values(state="queued", leased_until=None, due_at=bindparam("due"), last_error=bindparam("error"))
)
_BURY = (
    update(outbox)
    .where(_JOB, _is("queued") | _is("leased"))
    .values(state="dead", leased_until=None, finished_at=bindparam("now"), last_error=bindparam("error"))
)
_OPEN = _is("queued") | _is("leased")
_DEPTH = select(func.count()).select_from(outbox).where(_OPEN)
_OLDEST = select(func.min(outbox.c.created_at)).where(_OPEN)


@dataclass(frozen=True, slots=True)
class SqlOutbox:
    """Fills the Outbox port; any number of processes may claim from one database."""

    database: Database

    async def claim(self, *, limit: int, lease_s: float) -> Sequence[LeasedJob]:
        def look(connection: Connection) -> bool:
            return connection.execute(_ANYTHING, {"now": _now(connection)}).scalar_one()

        def take(connection: Connection) -> list[LeasedJob]:
            return _take(connection, limit, timedelta(seconds=lease_s))

        # a worker that finds nothing, as most do, does not hold up those who write
        if not await self.database.read(look):
            return []
        try:
            return await self.database.write(take)
        except _TakenError:
            return []

    async def done(self, job_id: UUID) -> None:
        def work(connection: Connection) -> None:
            connection.execute(_FINISH, {"job": job_id, "now": utc_now()})

        await self.database.write(work)

    async def retry(self, job_id: UUID, *, error: str, after_s: float) -> None:
        def work(connection: Connection) -> None:
            due = utc_now() + timedelta(seconds=after_s)
            connection.execute(_RETRY, {"job": job_id, "due": due, "error": error})

        await self.database.write(work)

    async def bury(self, job_id: UUID, *, error: str) -> None:
        def work(connection: Connection) -> None:
            connection.execute(_BURY, {"job": job_id, "now": utc_now(), "error": error})

        await self.database.write(work)

    async def depth(self) -> int:
        return await self.database.read(lambda connection: connection.execute(_DEPTH).scalar_one())

    async def oldest_s(self) -> float:
        def work(connection: Connection) -> float:
            oldest = connection.execute(_OLDEST).scalar_one()
            # the clocks of two machines may differ by a little
            return max(0.0, (_now(connection) - oldest).total_seconds()) if oldest else 0.0

        return await self.database.read(work)


class _TakenError(Exception):
    """Another claimer was given a job of the same user and target in the same moment."""


def _take(connection: Connection, limit: int, lease: timedelta) -> list[LeasedJob]:
    now = _now(connection)
    connection.execute(_GIVE_BACK, {"now": now})
    connection.execute(_FORGET, {"before": now - KEPT_DONE})
    chosen = connection.execute(_CHOOSE, {"now": now, "limit": limit}).scalars().all()
    if not chosen:
        return []
    try:
        rows = connection.execute(_LEASE, {"chosen": chosen, "until": now + lease}).all()
    except IntegrityError as error:
        raise _TakenError from error
    return [_leased(*row[1:]) for row in sorted(rows, key=lambda row: row[0])]


def _leased(id_: UUID, target: str, user_id: UserId, payload: Any, attempts: int) -> LeasedJob:
    return LeasedJob(Job(id_, target, user_id, payload), attempts)


def _now(connection: Connection) -> datetime:
    """The server's clock, where several machines look at one database."""
    if connection.dialect.name == "sqlite":
        return utc_now()
    return connection.execute(select(func.clock_timestamp())).scalar_one()
