"""Users: found, made, changed, listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, func, null, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cozy.adapters.account_rules import label, merged
from cozy.adapters.sql_locks import alone
from cozy.errors import Conflict, NotFound
from cozy.ports.identity import User, UserChange, UserRole
from cozy.storage.schema import utc_now
from cozy.storage.tables import users
from cozy.turn import UserId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSERT = {"sqlite": sqlite.insert(users), "postgresql": postgresql.insert(users)}

WHOLE = (
    users.c.id,
    users.c.username,
    users.c.email,
    users.c.role,
    users.c.status,
    users.c.display_name,
    users.c.profile,
    users.c.preferences,
    users.c.totp_since,
    users.c.created_at,
    users.c.last_login_at,
    users.c.password_hash,
    users.c.totp_secret,
    users.c.totp_step,
    users.c.tokens_since,
)
COLUMNS = tuple(
    null().label(column.name) if column in (users.c.profile, users.c.preferences) else column
    for column in WHOLE
)
"""Without what users say of themselves: a picture may be among it, and who asks is read for each request."""
BY_ID = select(*COLUMNS).where(users.c.id == bindparam("user"))
_WHOLE_BY_ID = select(*WHOLE).where(users.c.id == bindparam("user"))
_NAMED = select(*COLUMNS).where(
    or_(
        users.c.username == bindparam("typed"),
        users.c.username == bindparam("name"),
        users.c.email == bindparam("name"),
    )
)
_PAGE = select(*COLUMNS).order_by(users.c.username).limit(bindparam("limit")).offset(bindparam("offset"))
_TAKEN = select(users.c.username, users.c.email).where(
    or_(users.c.username == bindparam("name"), users.c.email == bindparam("address"))
)
_COUNT = select(func.count()).select_from(users)
_OTHER_ADMINS = select(users.c.id).where(
    users.c.role == "admin", users.c.status == "active", users.c.id != bindparam("user")
)
_NOBODY = UUID(int=0)
FIRST_ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Account:
    """A user, with what is nobody's business but the door's."""

    user: User
    password_hash: str | None = field(repr=False)
    totp_secret: str | None = field(repr=False)
    """Wanted at logins where `user.has_second_factor`; before that it is an offer."""
    totp_step: int | None
    tokens_since: datetime | None

    @property
    def generation(self) -> int:
        """Of its tokens. No clock is asked whether one is older than another: it is of this one, or not."""
        since = self.tokens_since
        return 0 if since is None else (since - _EPOCH) // timedelta(microseconds=1)


def account(row: Sequence[Any]) -> Account:
    """From a row of COLUMNS, or of WHOLE."""
    id_, username, email, role, status, display_name, profile, preferences, totp_since, created, seen = row[
        :11
    ]
    user = User(
        id=UserId(id_),
        username=username,
        email=email,
        role=role,
        is_active=status == "active",
        display_name=display_name,
        profile=profile or {},
        preferences=preferences or {},
        has_second_factor=totp_since is not None,
        created_at=created,
        last_login_at=seen,
    )
    return Account(user, *row[11:15])


def account_of(
    connection: Connection, user_id: UserId, *, lock: bool = False, whole: bool = False
) -> Account:
    """Raises NotFound. With `lock` nobody else changes it before the transaction ends; with `whole` it has
    what the user says of themselves, which is empty without."""
    statement = _WHOLE_BY_ID if whole else BY_ID
    row = connection.execute(statement.with_for_update() if lock else statement, {"user": user_id}).first()
    if row is None:
        raise NotFound("user", user_id)
    return account(row)


def account_named(connection: Connection, typed: str, name: str) -> Account | None:
    """By user name or e-mail; `name` is the canonical spelling of `typed`.

    A name of an earlier version that is kept as it was typed goes first.
    """
    found = [account(row) for row in connection.execute(_NAMED, {"typed": typed, "name": name}).all()]
    ranked = sorted(found, key=lambda a: (a.user.username != typed, a.user.username != name))
    return ranked[0] if ranked else None


def page_of_users(connection: Connection, limit: int, offset: int) -> Sequence[User]:
    """Without what they say of themselves."""
    rows = connection.execute(_PAGE, {"limit": max(limit, 0), "offset": max(offset, 0)}).all()
    return [account(row).user for row in rows]


def count_of_users(connection: Connection) -> int:
    return connection.execute(_COUNT).scalar_one()


def refuse_taken(connection: Connection, username: str, email: str | None) -> None:
    """Raises Conflict that names the parameter."""
    for name, _ in connection.execute(_TAKEN, {"name": username, "address": email}).all():
        if name == username:
            raise Conflict(f"the user name `{username}` is taken", param="username")
        raise Conflict("the e-mail address is taken", param="email")


def add_user(
    connection: Connection,
    username: str,
    *,
    email: str | None = None,
    password_hash: str | None = None,
    role: UserRole = "user",
) -> User:
    """Raises Conflict that names the parameter, whoever else registers at this moment."""
    now = utc_now()
    row = {
        "id": uuid4(),
        "username": username,
        "email": email,
        "password_hash": password_hash,
        "role": role,
        "status": "active",
        "created_at": now,
        "updated_at": now,
    }
    insert = _INSERT[connection.dialect.name].values(row).on_conflict_do_nothing().returning(*WHOLE)
    made = connection.execute(insert).first()
    if made is None:
        refuse_taken(connection, username, email)
        raise Conflict("somebody else has registered at this moment", hint="try again")
    return account(made).user


def add_first_admin(connection: Connection) -> User | None:
    """An admin for an installation without one that is active; None where there is one."""
    alone(connection, "admins")
    if connection.execute(_OTHER_ADMINS, {"user": _NOBODY}).first() is not None:
        return None
    taken = select(users.c.username).where(users.c.username.startswith(FIRST_ADMIN, autoescape=True))
    names = set(connection.execute(taken).scalars())
    free = next(name for name in _admin_names(len(names) + 1) if name not in names)
    return add_user(connection, free, role="admin")


def _admin_names(count: int) -> Sequence[str]:
    return [FIRST_ADMIN, *(f"{FIRST_ADMIN}{number}" for number in range(2, count + 1))]


def set_values(connection: Connection, user_id: UserId, values: Mapping[str, Any]) -> None:
    """Raises NotFound."""
    change = update(users).where(users.c.id == user_id).values(updated_at=utc_now(), **values)
    if not connection.execute(change).rowcount:
        raise NotFound("user", user_id)


def change_user(connection: Connection, user_id: UserId, change: UserChange) -> User:
    """Raises NotFound, InvalidRequest."""
    before = account_of(connection, user_id, lock=True, whole=True).user
    values: dict[str, Any] = {}
    if change.display_name is not None:
        values["display_name"] = label(change.display_name, "display_name") if change.display_name else None
    if change.profile:
        values["profile"] = merged(before.profile, change.profile, "profile")
    if change.preferences:
        values["preferences"] = merged(before.preferences, change.preferences, "preferences")
    set_values(connection, user_id, values)
    return account_of(connection, user_id, whole=True).user


def end_tokens(connection: Connection, user_id: UserId, values: Mapping[str, Any]) -> None:
    """Change a user such that no token issued before is good any more. Raises NotFound."""
    before = account_of(connection, user_id, lock=True).tokens_since
    now = utc_now()
    # never the same twice, whatever the clock does: it names the generation
    since = now if before is None else max(now, before + timedelta(microseconds=1))
    set_values(connection, user_id, {"tokens_since": since, **values})


def set_role(connection: Connection, user_id: UserId, role: UserRole) -> None:
    """Raises NotFound, and Conflict for the last active admin."""
    if role != "admin":
        _refuse_last_admin(connection, user_id)
    set_values(connection, user_id, {"role": role})


def set_active(connection: Connection, user_id: UserId, active: bool) -> None:
    """Raises NotFound, and Conflict for the last active admin."""
    if active:
        set_values(connection, user_id, {"status": "active"})
    else:
        _refuse_last_admin(connection, user_id)
        end_tokens(connection, user_id, {"status": "disabled"})


def _refuse_last_admin(connection: Connection, user_id: UserId) -> None:
    alone(connection, "admins")
    user = account_of(connection, user_id).user
    is_one = user.role == "admin" and user.is_active
    if is_one and connection.execute(_OTHER_ADMINS, {"user": user_id}).first() is None:
        raise Conflict("this is the last active admin", hint="make another user an admin first")


def use_step(connection: Connection, user_id: UserId, step: int, values: Mapping[str, Any]) -> bool:
    """Take a one-time code of this time step; False where it, or a later one, was taken already."""
    change = (
        update(users)
        .where(users.c.id == user_id, or_(users.c.totp_step.is_(None), users.c.totp_step < step))
        .values(totp_step=step, updated_at=utc_now(), **values)
    )
    return bool(connection.execute(change).rowcount)
