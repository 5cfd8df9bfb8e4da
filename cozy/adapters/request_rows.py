"""What is written of a request with its turn, and how long it is kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy import Connection, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite

from cozy.adapters.message_rows import message_json
from cozy.ports.store import TurnRecord
from cozy.storage.tables import pending_calls, tool_effects, turn_requests

KEPT = timedelta(days=1)
"""How long a request and a call that waits are known."""
REPEATED_WITHIN = timedelta(minutes=15)
"""How long after a request without a key the same one may be its repetition: an SDK waits for ten minutes at
most before it tries again."""
PRUNED_EVERY_S = 60.0

_DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}


def _save_request(name: str) -> Any:
    statement = _DIALECTS[name].insert(turn_requests)
    told = ("session_id", "state", "reply", "leased_until")
    return statement.on_conflict_do_update(
        index_elements=["turn_id"], set_={column: statement.excluded[column] for column in told}
    )


def _save_pending(name: str) -> Any:
    statement = _DIALECTS[name].insert(pending_calls)
    told = ("messages", "created_at")
    return statement.on_conflict_do_update(
        index_elements=["user_id", "call_id"], set_={column: statement.excluded[column] for column in told}
    )


_SAVE_REQUEST = {name: _save_request(name) for name in _DIALECTS}
_SAVE_PENDING = {name: _save_pending(name) for name in _DIALECTS}
_PRUNE = [
    delete(turn_requests).where(turn_requests.c.created_at < bindparam("old")),
    delete(pending_calls).where(pending_calls.c.created_at < bindparam("old")),
    # a session's turn may be said again at any time
    delete(tool_effects).where(
        tool_effects.c.created_at < bindparam("old"), tool_effects.c.session_id.is_(None)
    ),
]


class Pruning:
    """Tells, about once a minute, that it is time to remove what is too old to be asked for."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self) -> bool:
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + PRUNED_EVERY_S
        return True


def prune(connection: Connection, now: datetime) -> None:
    """Remove what is too old to be asked for."""
    for statement in _PRUNE:
        connection.execute(statement, {"old": now - KEPT})


def save_request(connection: Connection, dialect: str, record: TurnRecord, now: datetime) -> None:
    """Write the request of a turn and the calls that wait, in the transaction of its messages."""
    if record.request is not None:
        row = {
            "turn_id": record.turn_id,
            "user_id": record.user_id,
            "session_id": record.session_id,
            "key": record.request.key,
            # a key that was claimed has its row; one that was not may be another's
            "claimed": False,
            "body_hash": record.request.body_hash,
            "state": record.status,
            "reply": dict(record.reply or {}),
            "leased_until": None,
            "created_at": now,
        }
        connection.execute(_SAVE_REQUEST[dialect], row)
    if record.pending:
        waiting = [message_json(message) for message in record.pending]
        answered = {message.tool_call_id for message in record.pending}
        rows = {
            call.id: {
                "user_id": record.user_id,
                "call_id": call.id,
                "messages": waiting,
                "created_at": now,
            }
            for message in record.pending
            for call in message.tool_calls
            if call.id not in answered
        }
        connection.execute(_SAVE_PENDING[dialect], list(rows.values()))
