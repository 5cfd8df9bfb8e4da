"""Conversations as their owners see them, in SQLite or PostgreSQL: lists, titles, archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from cozy.adapters.sql_store import SESSION_COLUMNS
from cozy.errors import NotFound
from cozy.ports.sessions import SessionFilter, SessionPage, UserStats, Words
from cozy.ports.store import Session
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import messages, sessions
from cozy.turn import SessionId, UserId

_MINE = (sessions.c.user_id == bindparam("user"), sessions.c.deleted_at.is_(None))
_OWNED = (*_MINE, sessions.c.id == bindparam("session"))
_ORDERS: Mapping[str, ColumnElement[Any]] = {
    "last_message_at": func.coalesce(sessions.c.last_message_at, sessions.c.created_at),
    "created_at": sessions.c.created_at,
    "title": func.lower(func.coalesce(sessions.c.title, "")),
}
_ALL_OPEN = SessionFilter()
_SESSION = select(*SESSION_COLUMNS).where(*_OWNED)
# its summary goes at once: what it says is nobody's any more
_DELETE = (
    update(sessions)
    .where(*_OWNED)
    .values(deleted_at=bindparam("now"), updated_at=bindparam("now"), metadata={})
)
# the row's lock is held until the commit: positions are given to one writer at a time
_COUNT = (
    update(sessions)
    .where(*_OWNED)
    .values(
        message_count=sessions.c.message_count + bindparam("count"),
        next_position=sessions.c.next_position + bindparam("count"),
        last_message_at=bindparam("now"),
        updated_at=bindparam("now"),
    )
    .returning(sessions.c.next_position)
)
_ALIVE = sessions.c.deleted_at.is_(None)
_STATS = select(
    func.count().filter(_ALIVE),
    func.coalesce(func.sum(sessions.c.message_count).filter(_ALIVE), 0),
    func.coalesce(func.sum(sessions.c.total_tokens), 0),
).where(sessions.c.user_id == bindparam("user"))


@dataclass(frozen=True, slots=True)
class SqlSessions:
    """Fills the Sessions port."""

    database: Database

    async def create(
        self, user_id: UserId, personality_id: str, *, title: str | None = None, first: Sequence[Words] = ()
    ) -> Session:
        now = utc_now()
        session_id = SessionId(uuid4())
        row: dict[str, Any] = {
            "id": session_id,
            "user_id": user_id,
            "personality_id": personality_id,
            "title": title,
            "message_count": len(first),
            "total_tokens": 0,
            "next_position": len(first),
            "last_message_at": now if first else None,
            "metadata": {},
            "created_at": now,
            "updated_at": now,
        }
        said = _rows(user_id, session_id, first, now)

        def work(connection: Connection) -> Session:
            try:
                connection.execute(insert(sessions), row)
            except IntegrityError as error:
                raise NotFound("user", user_id) from error
            if said:
                connection.execute(insert(messages), said)
            return _session(connection, user_id, session_id)

        return await self.database.write(work)

    async def page(
        self, user_id: UserId, which: SessionFilter = _ALL_OPEN, *, limit: int = 20, offset: int = 0
    ) -> SessionPage:
        wanted = [*_MINE]
        if which.personality_id is not None:
            wanted.append(sessions.c.personality_id == which.personality_id)
        if which.archived is not None:
            archived = sessions.c.archived_at
            wanted.append(archived.is_not(None) if which.archived else archived.is_(None))
        by, tie = _ORDERS[which.sort], sessions.c.id
        order = (by.desc(), tie) if which.order == "desc" else (by.asc(), tie)
        found = (
            select(*SESSION_COLUMNS)
            .where(*wanted)
            .order_by(*order)
            .limit(max(limit, 0))
            .offset(max(offset, 0))
        )
        count = select(func.count()).select_from(sessions).where(*wanted)
        user = {"user": user_id}

        def work(connection: Connection) -> SessionPage:
            rows = connection.execute(found, user).all()
            return SessionPage([Session(*row) for row in rows], connection.execute(count, user).scalar_one())

        return await self.database.read(work)

    async def change(
        self,
        user_id: UserId,
        session_id: SessionId,
        *,
        title: str | None = None,
        archived: bool | None = None,
        only_if_title: Sequence[str | None] = (),
    ) -> Session:
        now = utc_now()
        values: dict[str, Any] = {}
        if title is not None:
            values["title"] = title
        if archived is not None:
            # archived twice, it stays where it was in the archive
            values["archived_at"] = (
                func.coalesce(sessions.c.archived_at, literal(now, sessions.c.archived_at.type))
                if archived
                else None
            )
        mine = {"user": user_id, "session": session_id}
        statement = update(sessions).where(*_OWNED)
        if only_if_title:  # decided by the row itself, whoever renames it at this moment
            statement = statement.where(_is_one_of(only_if_title))

        def work(connection: Connection) -> Session:
            if values:
                connection.execute(statement.values(updated_at=now, **values), mine)
            return _session(connection, user_id, session_id)

        return await self.database.write(work)

    async def delete(self, user_id: UserId, session_id: SessionId) -> None:
        values = {"user": user_id, "session": session_id, "now": utc_now()}

        def work(connection: Connection) -> None:
            if not connection.execute(_DELETE, values).rowcount:
                raise NotFound("session", session_id)

        await self.database.write(work)

    async def append(self, user_id: UserId, session_id: SessionId, words: Sequence[Words]) -> int:
        now = utc_now()
        rows = _rows(user_id, session_id, words, now)
        values = {"user": user_id, "session": session_id, "now": now, "count": len(rows)}

        def work(connection: Connection) -> None:
            if not rows:
                _session(connection, user_id, session_id)
                return
            end = connection.execute(_COUNT, values).scalar()
            if end is None:
                raise NotFound("session", session_id)
            begin = end - len(rows)
            connection.execute(
                insert(messages), [row | {"position": begin + row["position"]} for row in rows]
            )

        await self.database.write(work)
        return len(rows)

    async def stats(self, user_id: UserId) -> UserStats:
        row = await self.database.read(lambda c: c.execute(_STATS, {"user": user_id}).one())
        return UserStats(*(int(number) for number in row))


def _session(connection: Connection, user_id: UserId, session_id: SessionId) -> Session:
    row = connection.execute(_SESSION, {"user": user_id, "session": session_id}).first()
    if row is None:
        raise NotFound("session", session_id)
    return Session(*row)


def _is_one_of(titles: Sequence[str | None]) -> ColumnElement[bool]:
    named = [title for title in titles if title is not None]
    fits = sessions.c.title.in_(named)
    return fits | sessions.c.title.is_(None) if None in titles else fits


def _rows(
    user_id: UserId, session_id: SessionId, words: Sequence[Words], now: datetime
) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid4(),
            "session_id": session_id,
            "user_id": user_id,
            "turn_id": uuid4(),
            "position": place,
            "role": said.role,
            "status": "complete",
            "content": said.content,
            "metadata": dict(said.metadata),
            "created_at": said.created_at or now,
        }
        for place, said in enumerate(words)
    ]
