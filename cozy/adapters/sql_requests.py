"""Requests that may come again, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from cozy.adapters.message_rows import message_of
from cozy.adapters.request_rows import KEPT, REPEATED_WITHIN, Pruning, prune
from cozy.ports.requests import KnownRequest
from cozy.ports.store import TurnStatus
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import pending_calls, turn_requests
from cozy.turn import Message, RequestMark, TurnId, UserId

_DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}

_COLUMNS = (
    turn_requests.c.turn_id,
    turn_requests.c.session_id,
    turn_requests.c.body_hash,
    turn_requests.c.state,
    turn_requests.c.reply,
    turn_requests.c.leased_until,
)
_OF_KEY = (turn_requests.c.user_id == bindparam("user"), turn_requests.c.key == bindparam("key"))
# whoever looks at it may take it over, so that nobody else looks meanwhile
_CLAIMED = select(*_COLUMNS).where(*_OF_KEY, text("claimed")).with_for_update()
_FOUND = (
    select(*_COLUMNS)
    .where(
        *_OF_KEY,
        turn_requests.c.body_hash == bindparam("body"),
        turn_requests.c.created_at >= bindparam("since"),
    )
    .order_by(turn_requests.c.created_at.desc())
    .limit(1)
)
_CLAIM = {
    name: dialect.insert(turn_requests)
    .on_conflict_do_nothing(index_elements=["user_id", "key"], index_where=text("claimed"))
    .returning(turn_requests.c.turn_id)
    for name, dialect in _DIALECTS.items()
}
_LET_GO = (
    update(turn_requests)
    .where(turn_requests.c.turn_id == bindparam("turn"))
    .values(claimed=False, state=bindparam("ended"), leased_until=None)
)
_RUNNING = (
    turn_requests.c.turn_id == bindparam("turn"),
    turn_requests.c.user_id == bindparam("user"),
    turn_requests.c.state == "running",
)
_SETTLE = (
    update(turn_requests)
    .where(*_RUNNING)
    .values(state=bindparam("ended"), reply=bindparam("told"), leased_until=None)
)
_RENEW = update(turn_requests).where(*_RUNNING).values(leased_until=bindparam("until"))
_PENDING = (
    select(pending_calls.c.messages)
    .where(
        pending_calls.c.user_id == bindparam("user"),
        pending_calls.c.call_id.in_(bindparam("calls", expanding=True)),
        pending_calls.c.created_at >= bindparam("since"),
    )
    .order_by(pending_calls.c.created_at.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class SqlRequests:
    """Fills the Requests port."""

    database: Database
    pruning: Pruning = field(default_factory=Pruning)

    async def claim(
        self, user_id: UserId, mark: RequestMark, turn_id: TurnId, *, lease_s: float
    ) -> KnownRequest | None:
        now, is_time_to_prune = utc_now(), self.pruning.is_due()
        row = {
            "turn_id": turn_id,
            "user_id": user_id,
            "key": mark.key,
            "claimed": True,
            "body_hash": mark.body_hash,
            "state": "running",
            "leased_until": now + timedelta(seconds=lease_s),
            "created_at": now,
        }

        def work(connection: Connection) -> KnownRequest | None:
            if is_time_to_prune:
                prune(connection, now)
            begin = _CLAIM[self.database.dialect]
            while not connection.execute(begin, row).all():
                claimed = connection.execute(_CLAIMED, {"user": user_id, "key": mark.key}).first()
                if claimed is None:
                    continue  # it was let go or pruned in this moment
                known = _known(claimed)
                if known.turn_id == turn_id:
                    return None  # the work runs a second time
                if not _may_be_taken_over(known, mark, now):
                    return known
                ended = "interrupted" if known.state == "running" else known.state
                connection.execute(_LET_GO, {"turn": known.turn_id, "ended": ended})
                connection.execute(begin, row)
                return replace(known, state=ended, leased_until=None)
            return None

        return await self.database.write(work)

    async def renew(self, user_id: UserId, turn_id: TurnId, *, lease_s: float) -> None:
        values = {"turn": turn_id, "user": user_id, "until": utc_now() + timedelta(seconds=lease_s)}
        await self.database.write(lambda connection: connection.execute(_RENEW, values))

    async def find(self, user_id: UserId, mark: RequestMark) -> KnownRequest | None:
        values = {
            "user": user_id,
            "key": mark.key,
            "body": mark.body_hash,
            "since": utc_now() - REPEATED_WITHIN,
        }
        row = await self.database.read(lambda connection: connection.execute(_FOUND, values).first())
        return None if row is None else _known(row)

    async def settle(
        self, user_id: UserId, turn_id: TurnId, state: TurnStatus, reply: Mapping[str, Any] | None
    ) -> None:
        told = None if reply is None else dict(reply)
        values = {"turn": turn_id, "user": user_id, "ended": state, "told": told}
        await self.database.write(lambda connection: connection.execute(_SETTLE, values))

    async def pending(self, user_id: UserId, call_ids: Sequence[str]) -> Sequence[Message]:
        values = {"user": user_id, "calls": list(call_ids), "since": utc_now() - KEPT}
        found = await self.database.read(lambda connection: connection.execute(_PENDING, values).scalar())
        return [message_of(**message) for message in found or ()]


def _may_be_taken_over(known: KnownRequest, mark: RequestMark, now: datetime) -> bool:
    if known.body_hash != mark.body_hash or known.state == "complete":
        return False
    return known.state != "running" or known.leased_until is None or known.leased_until <= now


def _known(row: Sequence[Any]) -> KnownRequest:
    turn_id, session_id, body_hash, state, reply, leased_until = row
    return KnownRequest(turn_id, session_id, body_hash, state, reply, leased_until)
