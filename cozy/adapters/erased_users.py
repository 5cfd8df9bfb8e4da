"""What a turn may still leave behind when its user was erased while it ran."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from cozy.storage.tables import users
from cozy.turn import UserId

# waits for an erasure under way, and then sees what it did
_ERASED_AT = (
    select(users.c.erased_at)
    .where(users.c.id == bindparam("user"))
    .with_for_update(read=True, key_share=True)
)


def is_erased(connection: Connection, user_id: UserId, said_at: datetime) -> bool:
    """Whether what the user said at this moment is to be kept no more."""
    erased_at = connection.execute(_ERASED_AT, {"user": user_id}).scalar()
    return erased_at is not None and said_at <= erased_at
