"""Sessions and messages in SQLite or PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Executable, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from cozy.adapters import account_rules
from cozy.adapters.erased_users import is_erased
from cozy.adapters.message_rows import (
    MESSAGE_COLUMNS,
    ROW_COLUMNS,
    message_of,
    message_rows,
    stored_message,
)
from cozy.adapters.request_rows import Pruning, prune, save_request
from cozy.adapters.sql_summaries import TEXT, forget_from
from cozy.adapters.turn_attempts import attempts
from cozy.errors import NotFound
from cozy.ports.store import Session, StoredMessage, TurnRecord
from cozy.storage.database import Database
from cozy.storage.outbox import job_row
from cozy.storage.schema import utc_now
from cozy.storage.tables import messages, outbox, sessions, users
from cozy.turn import Message, SessionId, TurnId, UserId

_DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}

_OWNED = (
    sessions.c.id == bindparam("session"),
    sessions.c.user_id == bindparam("user"),
    sessions.c.deleted_at.is_(None),
)
SESSION_COLUMNS = (
    sessions.c.id,
    sessions.c.user_id,
    sessions.c.personality_id,
    sessions.c.title,
    sessions.c.message_count,
    sessions.c.total_tokens,
    sessions.c.last_message_at,
    sessions.c.created_at,
    sessions.c.metadata,
    sessions.c.updated_at,
    sessions.c.archived_at,
)
_SESSION = select(*SESSION_COLUMNS).where(*_OWNED)
_SESSIONS = (
    select(*SESSION_COLUMNS)
    .where(
        sessions.c.user_id == bindparam("user"),
        sessions.c.deleted_at.is_(None),
        sessions.c.archived_at.is_(None),
    )
    .order_by(func.coalesce(sessions.c.last_message_at, sessions.c.created_at).desc(), sessions.c.id)
    .limit(bindparam("limit"))
    .offset(bindparam("offset"))
)
_LAST = (
    messages.c.session_id == bindparam("session"),
    messages.c.deleted_at.is_(None),
    exists(select(sessions.c.id).where(*_OWNED)),
)
_HISTORY = (
    select(*MESSAGE_COLUMNS).where(*_LAST).order_by(messages.c.position.desc()).limit(bindparam("limit"))
)
_alive = messages.alias("alive")
_IN_SESSION = (_alive.c.session_id == bindparam("session"), _alive.c.deleted_at.is_(None))
_BEGINNING = (
    select(func.min(_alive.c.position)).where(*_IN_SESSION, _alive.c.turn_id == bindparam("before"))
).scalar_subquery()
_ASKED_AT = (
    select(func.max(_alive.c.position)).where(
        *_IN_SESSION, _alive.c.role == "user", _alive.c.position <= _BEGINNING
    )
).scalar_subquery()
_HISTORY_WITHOUT = _HISTORY.where(messages.c.turn_id.not_in(bindparam("without", expanding=True)))
_HISTORY_BEFORE = _HISTORY_WITHOUT.where(messages.c.position < func.coalesce(_ASKED_AT, sys.maxsize))
_MESSAGES = (
    select(*MESSAGE_COLUMNS, *ROW_COLUMNS)
    .where(*_LAST)
    .order_by(messages.c.position.desc())
    .limit(bindparam("limit"))
)
# a name that an earlier version kept as it was typed, and that another has now, goes by that spelling first
_USER = (
    select(users.c.id)
    .where(or_(users.c.username == bindparam("typed"), users.c.username == bindparam("name")))
    .order_by(users.c.username != bindparam("typed"))
    .limit(1)
)

# the row's lock is held until the commit: positions are given to one turn at a time
_COUNT_TURN = (
    update(sessions)
    .where(*_OWNED, ~exists().where(users.c.id == bindparam("user"), users.c.erased_at >= bindparam("said")))
    .values(
        message_count=sessions.c.message_count + bindparam("count"),
        total_tokens=sessions.c.total_tokens + bindparam("spent"),
        next_position=sessions.c.next_position + bindparam("count"),
        last_message_at=bindparam("now"),
        updated_at=bindparam("now"),
    )
    .returning(sessions.c.next_position)
)
_RETRACT = (
    update(messages)
    .where(
        messages.c.session_id == bindparam("session"),
        messages.c.turn_id == bindparam("turn"),
        messages.c.deleted_at.is_(None),
    )
    .values(deleted_at=bindparam("now"))
    .returning(messages.c.position)
)
_UNCOUNT = (
    update(sessions)
    .where(sessions.c.id == bindparam("session"))
    .values(message_count=sessions.c.message_count - bindparam("count"))
)
_INSERT_MESSAGES = {
    name: dialect.insert(messages).on_conflict_do_nothing(index_elements=["id"]).returning(messages.c.id)
    for name, dialect in _DIALECTS.items()
}
_INSERT_JOBS = {
    name: dialect.insert(outbox).on_conflict_do_nothing(index_elements=["id"])
    for name, dialect in _DIALECTS.items()
}
_INSERT_USER = {
    name: dialect.insert(users).on_conflict_do_nothing(index_elements=["username"])
    for name, dialect in _DIALECTS.items()
}


class _SavedBeforeError(Exception):
    """This turn is on disk already."""


@dataclass(frozen=True, slots=True)
class SqlStore:
    """Fills the Store port."""

    database: Database
    pruning: Pruning = field(default_factory=Pruning, kw_only=True)

    async def user(self, username: str) -> UserId:
        name = account_rules.canonical(username.strip())
        known_as = {"typed": username, "name": name}

        def find(connection: Connection) -> UUID | None:
            return connection.execute(_USER, known_as).scalar()

        def make(connection: Connection) -> UUID:
            now = utc_now()
            row = {
                "id": uuid4(),
                "username": name,
                "role": "user",
                "status": "active",
                "created_at": now,
                "updated_at": now,
            }
            connection.execute(_INSERT_USER[self.database.dialect], row)
            return connection.execute(_USER, known_as).scalar_one()

        return UserId(await self.database.read(find) or await self.database.write(make))

    async def create_session(
        self, user_id: UserId, personality_id: str, *, title: str | None = None
    ) -> Session:
        session = Session(
            id=SessionId(uuid4()),
            user_id=user_id,
            personality_id=personality_id,
            title=title,
            message_count=0,
            total_tokens=0,
            last_message_at=None,
            created_at=(now := utc_now()),
            updated_at=now,
        )

        def work(connection: Connection) -> None:
            row = asdict(session) | {"next_position": 0}
            try:
                connection.execute(insert(sessions), row)
            except IntegrityError as error:
                raise NotFound("user", user_id) from error

        await self.database.write(work)
        return session

    async def session(self, user_id: UserId, session_id: SessionId) -> Session:
        return await self.database.read(lambda connection: _session(connection, user_id, session_id))

    async def sessions(self, user_id: UserId, *, limit: int = 20, offset: int = 0) -> Sequence[Session]:
        values = {"user": user_id, "limit": max(limit, 0), "offset": max(offset, 0)}
        rows = await self.database.read(lambda connection: connection.execute(_SESSIONS, values).all())
        return [Session(*row) for row in rows]

    async def rename_session(self, user_id: UserId, session_id: SessionId, title: str) -> None:
        await self._change(user_id, session_id, {"title": title})

    async def delete_session(self, user_id: UserId, session_id: SessionId) -> None:
        await self._change(user_id, session_id, {"deleted_at": utc_now(), "metadata": {}})

    async def _change(self, user_id: UserId, session_id: SessionId, values: Mapping[str, Any]) -> None:
        change = update(sessions).where(*_OWNED).values(updated_at=utc_now(), **values)

        def work(connection: Connection) -> None:
            if not connection.execute(change, {"session": session_id, "user": user_id}).rowcount:
                raise NotFound("session", session_id)

        await self.database.write(work)

    async def history(
        self,
        user_id: UserId,
        session_id: SessionId,
        *,
        limit: int,
        without: TurnId | None = None,
        before: TurnId | None = None,
    ) -> Sequence[Message]:
        def work(connection: Connection) -> Sequence[Sequence[Any]]:
            values: dict[str, Any] = {"session": session_id, "user": user_id, "limit": max(limit, 0)}
            if without is None and before is None:
                return _last(connection, _HISTORY, values)
            values["without"] = attempts(connection, user_id, without)
            values["before"] = before
            return _last(connection, _HISTORY_BEFORE if before else _HISTORY_WITHOUT, values)

        last = [message_of(*row) for row in await self.database.read(work)]
        start = 0
        while start < len(last) and last[start].role == "tool":  # its call was cut off
            start += 1
        return last[start:]

    async def messages(
        self, user_id: UserId, session_id: SessionId, *, limit: int | None = None
    ) -> Sequence[StoredMessage]:
        count = sys.maxsize if limit is None else max(limit, 0)
        values = {"session": session_id, "user": user_id, "limit": count}
        rows = await self.database.read(lambda connection: _last(connection, _MESSAGES, values))
        return [stored_message(row) for row in rows]

    async def summary(self, user_id: UserId, session_id: SessionId) -> str:
        session = await self.session(user_id, session_id)
        return str(session.metadata.get(TEXT, ""))

    async def save_turn(self, record: TurnRecord) -> None:
        now = utc_now()
        rows = message_rows(record, now)
        jobs = [job_row(job, now) for job in record.jobs]
        is_marked = record.request is not None or bool(record.pending)
        is_time_to_prune = is_marked and self.pruning.is_due()

        def work(connection: Connection) -> None:
            if record.session_id is not None:  # not found where its user was erased meanwhile
                self._save_messages(connection, record, rows, now)
            elif is_erased(connection, record.user_id, record.said_at or now):
                return
            if jobs:
                connection.execute(_INSERT_JOBS[self.database.dialect], jobs)
            if is_time_to_prune:
                prune(connection, now)
            if is_marked:
                save_request(connection, self.database.dialect, record, now)

        try:
            await self.database.write(work)
        except _SavedBeforeError:
            return

    def _save_messages(
        self, connection: Connection, record: TurnRecord, rows: Sequence[dict[str, Any]], now: datetime
    ) -> None:
        values = {
            "session": record.session_id,
            "user": record.user_id,
            "count": len(rows),
            "spent": record.tokens,
            "said": record.said_at or now,
            "now": now,
        }
        end = connection.execute(_COUNT_TURN, values).scalar()
        if end is None:
            raise NotFound("session", record.session_id)
        if not rows:
            return
        if record.retry_of is not None:
            # those before it, too, where they came to nothing
            gone: list[int] = []
            for turn in attempts(connection, record.user_id, record.retry_of):
                replaced = {"session": record.session_id, "turn": turn, "now": now}
                gone += connection.execute(_RETRACT, replaced).scalars()
            connection.execute(_UNCOUNT, {"session": record.session_id, "count": len(gone)})
            if record.session_id is not None:
                forget_from(connection, record.session_id, gone)
        placed = [row | {"position": end - len(rows) + place} for place, row in enumerate(rows)]
        if len(connection.execute(_INSERT_MESSAGES[self.database.dialect], placed).all()) < len(rows):
            raise _SavedBeforeError  # takes the counters back too


def _session(connection: Connection, user_id: UserId, session_id: SessionId) -> Session:
    row = connection.execute(_SESSION, {"session": session_id, "user": user_id}).first()
    if row is None:
        raise NotFound("session", session_id)
    return Session(*row)


def _last(
    connection: Connection, statement: Executable, values: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    """What `statement` gives newest first, oldest first; no rows may mean that there is no session."""
    rows = connection.execute(statement, values).all()
    if not rows:
        _session(connection, values["user"], values["session"])
    return rows[::-1]
