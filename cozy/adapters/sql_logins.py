"""Logins: the refresh tokens that came from each, and those that were revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cozy.adapters.jwt_tokens import Claims
from cozy.adapters.sql_users import BY_ID, Account, account, account_of
from cozy.storage.tables import refresh_tokens, revoked_tokens
from cozy.turn import UserId

GRACE = timedelta(seconds=10)
"""A refresh token that comes again so soon was sent twice (two tabs, a double click), not stolen. It is
refused all the same: two lines of tokens from one would keep a thief's alive unnoticed."""

_REVOKED = select(
    exists().where(or_(revoked_tokens.c.jti == bindparam("family"), revoked_tokens.c.jti == bindparam("jti")))
)
_USE = (
    update(refresh_tokens)
    .where(refresh_tokens.c.jti == bindparam("token"), refresh_tokens.c.used_at.is_(None))
    .values(used_at=bindparam("now"))
)
_USED_AT = select(refresh_tokens.c.used_at).where(refresh_tokens.c.jti == bindparam("token"))
_INSERT = insert(refresh_tokens)
_REVOKE = {
    name: dialect.insert(revoked_tokens).on_conflict_do_nothing(index_elements=["jti"])
    for name, dialect in {"sqlite": sqlite, "postgresql": postgresql}.items()
}
_MARK = (
    update(refresh_tokens)
    .where(refresh_tokens.c.family == bindparam("login"), refresh_tokens.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
_CLEAN = tuple(
    delete(table).where(table.c.expires_at < bindparam("now")) for table in (refresh_tokens, revoked_tokens)
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a token is good, as far as the database knows."""

    account: Account | None = None
    problem: str = ""
    """As InvalidToken's `reason`; `disabled` where the account is closed."""


def standing_of(connection: Connection, claims: Claims) -> Standing:
    """Of an access or a refresh token whose signature and time are good."""
    row = connection.execute(BY_ID, {"user": claims.user_id}).first()
    if row is None:
        return Standing(problem="unknown")
    owner = account(row)
    if not owner.user.is_active:
        return Standing(owner, "disabled")
    if owner.generation != claims.generation:
        return Standing(owner, "revoked")
    revoked = connection.execute(_REVOKED, {"family": claims.family, "jti": claims.id}).scalar_one()
    return Standing(owner, "revoked" if revoked else "")


def keep_refresh(connection: Connection, claims: Claims) -> None:
    """So that it can be used, once."""
    row = {
        "jti": claims.id,
        "family": claims.family,
        "user_id": claims.user_id,
        "created_at": claims.issued_at,
        "expires_at": claims.expires_at,
    }
    connection.execute(_INSERT, row)


def use_refresh(connection: Connection, claims: Claims, now: datetime, until: datetime) -> Standing:
    """Use a refresh token up.

    Of two at the same moment one is given its account, the other a problem: `used`. A later one is told
    `reused`, and its login is revoked: one of the two who have the token has stolen it.
    """
    standing = standing_of(connection, claims)
    if standing.problem:
        return standing
    if connection.execute(_USE, {"token": claims.id, "now": now}).rowcount:
        return Standing(account_of(connection, claims.user_id, whole=True))
    row = connection.execute(_USED_AT, {"token": claims.id}).first()
    if row is None:
        return Standing(standing.account, "unknown")
    if now - row[0] <= GRACE:
        return Standing(standing.account, "used")
    revoke_login(connection, claims.user_id, claims.family, now, until)
    return Standing(standing.account, "reused")


def revoke_login(
    connection: Connection, user_id: UserId, family: UUID, now: datetime, until: datetime
) -> None:
    """Refuse every token of a login; `until` is when the last of them must have ended."""
    row = {"jti": family, "user_id": user_id, "revoked_at": now, "expires_at": until}
    connection.execute(_REVOKE[connection.dialect.name].values(row))
    connection.execute(_MARK, {"login": family, "now": now})


def clean(connection: Connection, now: datetime) -> None:
    """Forget tokens that have ended."""
    for statement in _CLEAN:
        connection.execute(statement, {"now": now})
