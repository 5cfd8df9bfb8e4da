"""API keys: 256 random bits each, kept as their hash."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from cozy.adapters.sql_users import COLUMNS, Account, account
from cozy.errors import NotFound
from cozy.ports.identity import KEY_PREFIX, ApiKey, Scope
from cozy.storage.schema import utc_now
from cozy.storage.tables import api_keys, users
from cozy.turn import UserId

SHOWN = len(KEY_PREFIX) + 7
"""Characters that are kept as they are, for a person to tell keys apart."""
TOUCH = timedelta(minutes=1)
"""How exactly it is known when a key was last used."""

_SHAPE = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{43}")
_COLUMNS = (
    api_keys.c.id,
    api_keys.c.user_id,
    api_keys.c.name,
    api_keys.c.prefix,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.last_used_at,
    api_keys.c.revoked_at,
)
_BY_HASH = (
    select(*_COLUMNS, *COLUMNS)
    .join(users, users.c.id == api_keys.c.user_id)
    .where(api_keys.c.hash == bindparam("hash"))
)
_OF_USER = (
    select(*_COLUMNS)
    .where(api_keys.c.user_id == bindparam("user"))
    .order_by(api_keys.c.created_at.desc(), api_keys.c.id)
)
_REVOKE = (
    update(api_keys)
    .where(
        api_keys.c.id == bindparam("key"),
        api_keys.c.user_id == bindparam("user"),
        api_keys.c.revoked_at.is_(None),
    )
    .values(revoked_at=bindparam("now"))
)
_OWNED = select(api_keys.c.id).where(
    api_keys.c.id == bindparam("key"), api_keys.c.user_id == bindparam("user")
)
_TOUCH = (
    update(api_keys)
    .where(
        api_keys.c.id == bindparam("key"),
        or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < bindparam("before")),
    )
    .values(last_used_at=bindparam("now"))
)


def is_key(credential: str) -> bool:
    """Whether it looks like one; anything else is taken for a token."""
    return credential.startswith(KEY_PREFIX)


def found_key(connection: Connection, words: str) -> tuple[ApiKey, Account] | None:
    """The key of these words, with its user, whatever their state."""
    if not _SHAPE.fullmatch(words):
        return None
    row = connection.execute(_BY_HASH, {"hash": _hash(words)}).first()
    return None if row is None else (_key(row), account(row[len(_COLUMNS) :]))


def add_key(
    connection: Connection,
    user_id: UserId,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """The key, and its words, which nobody can find out afterwards."""
    words = KEY_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=uuid4(),
        user_id=user_id,
        name=name,
        prefix=words[:SHOWN],
        scopes=tuple(scopes),
        created_at=utc_now(),
        expires_at=expires_at,
        last_used_at=None,
        revoked_at=None,
    )
    row = {
        "id": key.id,
        "user_id": user_id,
        "name": name,
        "prefix": key.prefix,
        "hash": _hash(words),
        "scopes": list(scopes),
        "created_at": key.created_at,
        "expires_at": expires_at,
    }
    connection.execute(insert(api_keys).values(row))
    return key, words


def keys_of(connection: Connection, user_id: UserId) -> Sequence[ApiKey]:
    return [_key(row) for row in connection.execute(_OF_USER, {"user": user_id}).all()]


def revoke_key(connection: Connection, user_id: UserId, key_id: UUID) -> None:
    """Raises NotFound; revoking again changes nothing."""
    owned = {"key": key_id, "user": user_id}
    if connection.execute(_OWNED, owned).first() is None:
        raise NotFound("key", key_id)
    connection.execute(_REVOKE, {**owned, "now": utc_now()})


def touch_key(connection: Connection, key_id: UUID, now: datetime) -> None:
    """Note that it is being used, unless that was noted a moment ago."""
    connection.execute(_TOUCH, {"key": key_id, "now": now, "before": now - TOUCH})


def _hash(words: str) -> str:
    return sha256(words.encode()).hexdigest()


def _key(row: Sequence[Any]) -> ApiKey:
    id_, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at = row[:9]
    return ApiKey(id_, user_id, name, prefix, tuple(scopes), created_at, expires_at, last_used_at, revoked_at)
