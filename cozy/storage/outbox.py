"""Jobs that wait in the database: leased to one worker at a time, and never lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from cozy.ports.outbox import Ending, JobProgress, LeasedJob, OutboxFigures
from cozy.ports.store import Job
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import outbox

KEPT_DONE = timedelta(days=1)
"""How long a finished job is remembered, so that it is not done again when its turn is written again."""


def is_(state: str, table: FromClause = outbox) -> ColumnElement[bool]:
    """A literal, not a parameter: only so do the planners see that the partial indexes fit."""
    return table.c.state == literal_column(f"'{state}'")


def is_kind(kind: str, table: FromClause = outbox) -> ColumnElement[bool]:
    return table.c.kind == literal_column(f"'{kind}'")


_waiting = outbox.alias("waiting")
_running = outbox.alias("running")
_erasing = outbox.alias("erasing")
# one pass over an index, however many wait behind the first of their user and target
_FIRST = (
    select(func.min(_waiting.c.seq))
    .where(is_("queued", _waiting))
    .group_by(_waiting.c.user_id, _waiting.c.target)
)
_READY = (
    is_("queued"),
    outbox.c.seq.in_(_FIRST),
    outbox.c.due_at <= bindparam("now"),
    outbox.c.target.not_in(bindparam("without", expanding=True)),
    ~exists().where(
        is_("leased", _running),
        _running.c.user_id == outbox.c.user_id,
        _running.c.target == outbox.c.target,
    ),
)
_EXPIRED = (is_("leased"), outbox.c.leased_until <= bindparam("now"))

_ANYTHING = select(
    exists(select(outbox.c.seq).where(*_READY)) | exists(select(outbox.c.seq).where(*_EXPIRED))
)
_expired = select(outbox.c.seq).where(*_EXPIRED).with_for_update(skip_locked=True)
_GIVE_BACK = update(outbox).where(outbox.c.seq.in_(_expired)).values(state="queued", leased_until=None)
_FORGET = delete(outbox).where(is_("done"), outbox.c.finished_at < bindparam("before"))
# a write that was under way when its user was erased, and comes to nothing, goes with all they said
_ERASED_SINCE = (
    is_kind("erase", _erasing),
    is_("queued", _erasing),
    _erasing.c.user_id == outbox.c.user_id,
    _erasing.c.target == outbox.c.target,
    _erasing.c.seq > outbox.c.seq,
)
_OVERTAKEN_ONE = delete(outbox).where(
    outbox.c.id == bindparam("job"),
    is_kind("write"),
    is_("queued") | is_("dead"),
    exists().where(*_ERASED_SINCE),
)
_overtaken = select(outbox.c.seq).join(_erasing, and_(*_ERASED_SINCE)).where(is_kind("write"), is_("queued"))
# what was chosen may be another's by now: so here, as in `_TRIM`, its state is asked for once more
_OVERTAKEN = delete(outbox).where(outbox.c.seq.in_(_overtaken), is_("queued"))
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
        outbox.c.id,
        outbox.c.target,
        outbox.c.user_id,
        outbox.c.payload,
        outbox.c.kind,
        outbox.c.attempts,
    )
)
_FINISH = (
    update(outbox)
    .where(outbox.c.id == bindparam("job"))
    .values(
        state="done",
        leased_until=None,
        finished_at=bindparam("now"),
        payload={},
        last_error=None,
    )
)
_HELD = (
    outbox.c.id == bindparam("job"),
    outbox.c.attempts == bindparam("lease"),
    is_("leased"),
)
_RETRY = (
    update(outbox)
    .where(*_HELD)
    .values(
        state="queued",
        leased_until=None,
        due_at=bindparam("due"),
        last_error=bindparam("error"),
        attempts=outbox.c.attempts - bindparam("uncounted"),
    )
)
_BURY = (
    update(outbox)
    .where(*_HELD)
    .values(state="dead", leased_until=None, finished_at=bindparam("now"), last_error=bindparam("error"))
)
_RELEASE = (
    update(outbox).where(*_HELD).values(state="queued", leased_until=None, attempts=outbox.c.attempts - 1)
)
_RENEW = update(outbox).where(*_HELD).values(leased_until=bindparam("until"))
_PROGRESS = select(outbox.c.id, outbox.c.state, outbox.c.last_error).where(
    outbox.c.id.in_(bindparam("ids", expanding=True))
)
_WAITING = (is_("queued"), is_kind("write"))
_beyond = select(outbox.c.seq).where(*_WAITING).order_by(outbox.c.seq.desc())
_TRIM = delete(outbox).where(
    *_WAITING,
    outbox.c.seq.in_(
        # one row at a time from the newest on: what lies beyond those to be kept
        _beyond.limit(bindparam("most")).offset(bindparam("keep"))
    ),
)
_TRIM_OLD = delete(outbox).where(*_WAITING, outbox.c.created_at < bindparam("before"))
MOST = 2**62
"""SQLite knows no OFFSET without a LIMIT."""


_created = func.min(outbox.c.created_at)
_SUMMED = (
    func.count(),
    _created,
    func.count().filter(is_kind("write")),
    _created.filter(is_kind("write")),
)
# one by one: so each goes by a partial index, and never over what is done
_FIGURES = {state: select(*_SUMMED).where(is_(state)) for state in ("queued", "leased", "dead")}


@dataclass(frozen=True, slots=True)
class SqlOutbox:
    """Fills the Outbox port; any number of processes may claim from one database."""

    database: Database

    async def claim(
        self, *, limit: int, lease_s: float, without: Collection[str] = ()
    ) -> Sequence[LeasedJob]:
        excluded = list(without)

        def look(connection: Connection) -> bool:
            return connection.execute(
                _ANYTHING, {"now": now_of(connection), "without": excluded}
            ).scalar_one()

        def take(connection: Connection) -> list[LeasedJob]:
            return _take(connection, limit, timedelta(seconds=lease_s), excluded)

        # a worker that finds nothing, as most do, does not hold up those who write
        if not await self.database.read(look):
            return []
        try:
            return await self.database.write(take)
        except _TakenError:
            return []

    async def renew(self, leases: Sequence[LeasedJob], *, lease_s: float) -> Collection[UUID]:
        def work(connection: Connection) -> set[UUID]:
            until = now_of(connection) + timedelta(seconds=lease_s)
            return {
                one.job.id
                for one in leases
                if connection.execute(_RENEW, {**_lease(one), "until": until}).rowcount
            }

        return await self.database.write(work)

    async def settle(self, endings: Sequence[Ending]) -> None:
        # in one order: a job whose lease ran out may be settled by two processes, and neither is to wait for
        # what the other holds
        in_order = sorted(endings, key=lambda ending: ending.lease.job.id)

        def work(connection: Connection) -> None:
            now = now_of(connection)
            for ending in in_order:
                _settle(connection, ending, now)

        await self.database.write(work)

    async def progress(self, ids: Collection[UUID]) -> Mapping[UUID, JobProgress]:
        rows = await self.database.read(lambda c: c.execute(_PROGRESS, {"ids": list(ids)}).all())
        return {row.id: JobProgress(row.state, row.last_error) for row in rows}

    async def trim(self, *, keep: int, older_than_s: float | None = None) -> int:
        def work(connection: Connection) -> int:
            gone = connection.execute(_TRIM, {"keep": keep, "most": MOST}).rowcount
            if older_than_s is not None:
                before = now_of(connection) - timedelta(seconds=older_than_s)
                gone += connection.execute(_TRIM_OLD, {"before": before}).rowcount
            return gone

        return await self.database.write(work)

    async def depth(self) -> int:
        return (await self.figures()).open

    async def figures(self) -> OutboxFigures:
        def work(connection: Connection) -> OutboxFigures:
            found = {state: connection.execute(query).one() for state, query in _FIGURES.items()}
            queued, leased, dead = (found[state] for state in ("queued", "leased", "dead"))
            now = now_of(connection)

            def oldest_s(*moments: datetime | None) -> float:
                begun = [moment for moment in moments if moment is not None]
                # the clocks of two machines may differ by a little
                return max(0.0, (now - min(begun)).total_seconds()) if begun else 0.0

            return OutboxFigures(
                waiting=queued[2],
                open=queued[0] + leased[0],
                oldest_s=oldest_s(queued[1], leased[1]),
                dead=dead[0],
                oldest_waiting_s=oldest_s(queued[3]),
            )

        return await self.database.read(work)


class _TakenError(Exception):
    """Another claimer was given a job of the same user and target in the same moment."""


def _take(connection: Connection, limit: int, lease: timedelta, without: Sequence[str]) -> list[LeasedJob]:
    now = now_of(connection)
    connection.execute(_GIVE_BACK, {"now": now})
    connection.execute(_FORGET, {"before": now - KEPT_DONE})
    connection.execute(_OVERTAKEN)
    chosen = connection.execute(_CHOOSE, {"now": now, "limit": limit, "without": without}).scalars().all()
    if not chosen:
        return []
    try:
        rows = connection.execute(_LEASE, {"chosen": chosen, "until": now + lease}).all()
    except IntegrityError as error:
        raise _TakenError from error
    return [
        LeasedJob(Job(row.id, row.target, row.user_id, row.payload, row.kind), row.attempts) for row in rows
    ]


def _lease(leased: LeasedJob) -> dict[str, Any]:
    return {"job": leased.job.id, "lease": leased.attempts}


def _settle(connection: Connection, ending: Ending, now: datetime) -> None:
    held = _lease(ending.lease)
    match ending.outcome:
        case "done":
            connection.execute(_FINISH, {"job": ending.lease.job.id, "now": now})
        case "failed":
            due = now + timedelta(seconds=ending.after_s)
            values = {"due": due, "error": ending.error, "uncounted": 0 if ending.counts else 1}
            connection.execute(_RETRY, {**held, **values})
        case "dead":
            connection.execute(_BURY, {**held, "now": now, "error": ending.error})
        case "released":
            connection.execute(_RELEASE, held)
    if ending.outcome != "done":
        connection.execute(_OVERTAKEN_ONE, {"job": ending.lease.job.id})


def job_row(job: Job, now: datetime) -> dict[str, Any]:
    """A new job, for whoever writes it together with what it comes from."""
    return {
        "id": job.id,
        "user_id": job.user_id,
        "target": job.target,
        "kind": job.kind,
        "payload": dict(job.payload),
        "state": "queued",
        "attempts": 0,
        "due_at": now,
        "created_at": now,
    }


def now_of(connection: Connection) -> datetime:
    """The server's clock, where several machines look at one database."""
    if connection.dialect.name == "sqlite":
        return utc_now()
    return connection.execute(select(func.clock_timestamp())).scalar_one()
