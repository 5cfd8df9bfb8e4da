"""Which turns a turn says again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from cozy.storage.tables import messages
from cozy.turn import TurnId, UserId

_FACTS = (
    select(messages.c.metadata)
    .where(messages.c.turn_id == bindparam("turn"), messages.c.user_id == bindparam("user"))
    .order_by(messages.c.position.desc())
    .limit(1)
)


def attempts(connection: Connection, user_id: UserId, turn_id: TurnId | None) -> list[TurnId]:
    """A turn, the one that it said again, and so on to the first; of messages that were replaced too."""
    found: list[TurnId] = []
    turn = turn_id
    while turn is not None and turn not in found:
        found.append(turn)
        facts: Mapping[str, Any] | None = connection.execute(_FACTS, {"turn": turn, "user": user_id}).scalar()
        again = (facts or {}).get("retry_of")
        turn = TurnId(UUID(again)) if again else None
    return found
