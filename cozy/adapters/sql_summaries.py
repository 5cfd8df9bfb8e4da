"""Rolling summaries, kept with their sessions in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select, update

from cozy.adapters.summarizing import summarized
from cozy.ports.llm import LLM
from cozy.storage.database import Database
from cozy.storage.tables import messages, sessions
from cozy.turn import Message, SessionId, UserId

LEAST = 6
"""Messages that must have fallen out of the history before a summary is made anew."""
MOST = 60
"""Messages that are taken in at once; those behind them come with the next job."""
TEXT, UNTIL = "summary", "summary_until"
"""Keys of a session's metadata: the summary, and the position of the first message that is not in it."""

_SESSION = select(sessions.c.metadata).where(
    sessions.c.id == bindparam("session"),
    sessions.c.user_id == bindparam("user"),
    sessions.c.deleted_at.is_(None),
)
_WRITE = update(sessions).where(sessions.c.id == bindparam("session"))
_ALIVE = (messages.c.session_id == bindparam("session"), messages.c.deleted_at.is_(None))
_LAST = select(messages.c.position, messages.c.role).where(*_ALIVE).order_by(messages.c.position.desc())
_FALLEN = (
    select(messages.c.id, messages.c.position, messages.c.role, messages.c.content)
    .where(*_ALIVE, messages.c.position >= bindparam("begin"), messages.c.position < bindparam("end"))
    # of a turn that called many tools only the words: else it would be all that is ever taken in
    .where(messages.c.role != "tool", messages.c.content != "")
    .order_by(messages.c.position)
)
_STILL_THERE = select(func.count()).where(
    messages.c.id.in_(bindparam("ids", expanding=True)), messages.c.deleted_at.is_(None)
)


@dataclass(frozen=True, slots=True)
class _Fallen:
    """What the history no longer shows and the summary does not hold yet."""

    summary: str
    until: int
    ids: Sequence[UUID]
    said: Sequence[Message]
    end: int
    """The position behind the last of them."""


@dataclass(frozen=True, slots=True)
class SqlSummaries:
    """Fills Summaries."""

    database: Database
    llm: LLM

    async def update(self, user_id: UserId, session_id: SessionId, *, keep: int, model: str) -> bool:
        whose = {"session": session_id, "user": user_id}
        fallen = await self.database.read(lambda connection: _fallen(connection, whose, keep))
        if fallen is None:
            return False
        text = await summarized(self.llm, model, fallen.summary, fallen.said)
        if not text:
            return False
        return await self.database.write(lambda connection: _store(connection, whose, fallen, text))


def _fallen(connection: Connection, whose: Mapping[str, Any], keep: int) -> _Fallen | None:
    metadata = connection.execute(_SESSION, whose).scalar_one_or_none()
    if metadata is None:
        return None
    last = connection.execute(_LAST.limit(keep), whose).all()
    if len(last) < keep:
        return None
    # what the history shows begins with words of the user
    shown = [position for position, role in last if role == "user"] or [position for position, _ in last]
    summary, until = _summary_of(metadata)
    places = {**whose, "begin": until, "end": min(shown)}
    rows = connection.execute(_FALLEN.limit(MOST), places).all()
    said = [Message(role, content) for _, _, role, content in rows if content.strip()]
    if len(rows) < LEAST or not said:
        return None
    return _Fallen(summary, until, [row[0] for row in rows], said, rows[-1][1] + 1)


def _store(connection: Connection, whose: Mapping[str, Any], fallen: _Fallen, text: str) -> bool:
    """Keep the summary, unless the session, its summary or a message of it has gone meanwhile."""
    metadata = connection.execute(_SESSION.with_for_update(), whose).scalar_one_or_none()
    if metadata is None or _summary_of(metadata) != (fallen.summary, fallen.until):
        return False
    if connection.execute(_STILL_THERE, {"ids": fallen.ids}).scalar_one() < len(fallen.ids):
        return False
    kept = {**metadata, TEXT: text, UNTIL: fallen.end}
    connection.execute(_WRITE.values(metadata=kept), {"session": whose["session"]})
    return True


def forget_from(connection: Connection, session_id: SessionId, positions: Sequence[int]) -> None:
    """Drop a session's summary that holds a message at one of these positions: it is made anew without it.

    The session's row must be locked by this transaction.
    """
    own = select(sessions.c.metadata).where(sessions.c.id == bindparam("session"))
    metadata = connection.execute(own, {"session": session_id}).scalar_one()
    if positions and min(positions) < _summary_of(metadata)[1]:
        kept = {key: value for key, value in metadata.items() if key not in (TEXT, UNTIL)}
        connection.execute(_WRITE.values(metadata=kept), {"session": session_id})


def _summary_of(metadata: Mapping[str, Any]) -> tuple[str, int]:
    """A session's summary, and the position of the first message that is not in it."""
    return str(metadata.get(TEXT, "")), int(metadata.get(UNTIL, 0))
