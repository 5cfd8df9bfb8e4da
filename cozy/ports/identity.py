"""Who asks: users, their passwords and second factors, tokens and API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from cozy.turn import UserId

UserRole = Literal["user", "admin"]
Scope = Literal["chat", "account", "admin"]
"""What a key may be used for: `chat` for completions, models, audio and tools; `account` for what its user
has stored, sessions included; `admin` for an admin's routes. A token of a login has all that its user may."""

KEY_PREFIX = "cozy_"
"""What every API key begins with."""


@dataclass(frozen=True, slots=True)
class User:
    id: UserId
    username: str
    email: str | None
    role: UserRole
    is_active: bool
    display_name: str | None
    profile: Mapping[str, Any]
    """What the user says of themselves; Cozy reads none of it."""
    preferences: Mapping[str, Any]
    """How a front end is to look and behave; Cozy reads none of it."""
    has_second_factor: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a token or a key stands for."""

    user_id: UserId
    username: str
    role: UserRole
    scopes: frozenset[Scope]
    key_id: UUID | None = None
    """The API key; None: a token of a login."""
    family: UUID | None = None
    """The login that the token came from."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_in_s: int
    """Of the access token."""
    user: User


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is listed; the key itself is told once, when it is made."""

    id: UUID
    user_id: UserId
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewSecondFactor:
    """What an authenticator is set up with."""

    secret: str = field(repr=False)
    """Base32."""
    uri: str = field(repr=False)
    """`otpauth://…`, for a QR code."""


@dataclass(frozen=True, slots=True)
class UserChange:
    """What is to be changed of a user; None leaves it. Mappings are merged key by key."""

    display_name: str | None = None
    profile: Mapping[str, Any] = field(default_factory=dict[str, Any])
    preferences: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Identity(Protocol):
    """Raises AuthError, InvalidRequest, Conflict, RateLimited, NotFound, StorageError."""

    async def authenticate(self, credential: str) -> Caller:
        """Whom a bearer token or an API key stands for. Raises InvalidToken, AccountDisabled."""
        ...

    async def register(self, username: str, email: str | None, password: str, *, address: str = "") -> User:
        """A new user; of one network address only so many an hour.

        Raises RegistrationClosed, RateLimited, Conflict, InvalidRequest with the field in `param`.
        """
        ...

    async def login(self, name: str, password: str, *, code: str | None = None, address: str = "") -> Tokens:
        """By user name or e-mail. Repeated failures slow down, by name and by network address.

        Raises WrongPassword, SecondFactorNeeded, AccountDisabled, RateLimited.
        """
        ...

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens for a refresh token, which is used up by it; used twice, its login is revoked."""
        ...

    async def logout(self, caller: Caller) -> None:
        """Revoke every token of the login that `caller` came from."""
        ...

    async def user(self, user_id: UserId) -> User: ...

    async def change_user(self, user_id: UserId, change: UserChange) -> User: ...

    async def change_password(self, user_id: UserId, old: str, new: str) -> None:
        """Tokens that were issued before are revoked. Raises WrongPassword."""
        ...

    async def offer_second_factor(self, user_id: UserId) -> NewSecondFactor:
        """A secret that is wanted at logins once it was confirmed. Raises Conflict where there is one."""
        ...

    async def confirm_second_factor(self, user_id: UserId, code: str) -> None: ...

    async def drop_second_factor(self, user_id: UserId, password: str) -> None: ...

    async def create_key(
        self,
        user_id: UserId,
        name: str,
        *,
        scopes: Sequence[Scope] = ("chat", "account"),
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A key, and the words of it, which are told this once. Raises Forbidden for scopes beyond the
        user's role."""
        ...

    async def keys(self, user_id: UserId) -> Sequence[ApiKey]:
        """Newest first, revoked ones included."""
        ...

    async def revoke_key(self, user_id: UserId, key_id: UUID) -> None:
        """Raises NotFound for another user's key too."""
        ...


class IdentityAdmin(Identity, Protocol):
    """What admins may do beside; on the command line, whoever may read the database."""

    async def create_user(
        self, username: str, *, email: str | None = None, password: str | None = None, role: UserRole = "user"
    ) -> User:
        """Also where registration is closed; without a password nobody can log in, but keys work."""
        ...

    async def find_user(self, name: str) -> User:
        """By id, user name or e-mail. Raises NotFound."""
        ...

    async def users(self, *, limit: int = 50, offset: int = 0) -> Sequence[User]:
        """In the order of their names; without what they say of themselves, which may be long."""
        ...

    async def count_users(self) -> int: ...

    async def set_role(self, user_id: UserId, role: UserRole) -> None:
        """Raises Conflict where it would leave no active admin."""
        ...

    async def set_active(self, user_id: UserId, active: bool) -> None:
        """Closing an account revokes its tokens; its keys are refused while it is closed. Raises Conflict
        where it would leave no active admin."""
        ...

    async def set_password(self, user_id: UserId, password: str) -> None: ...

    async def reset_second_factor(self, user_id: UserId) -> None: ...

    async def rotate_signing_key(self) -> str:
        """Sign with a new key from now on; tokens of the old ones stay good until they end. Gives its id."""
        ...

    async def first_admin(self) -> tuple[User, str] | None:
        """An admin and a key for an installation that has none; None where there is an admin already."""
        ...
