"""The tokens of logins: issued in pairs, renewed, and told whom they stand for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import get_args
from uuid import UUID, uuid4

from sqlalchemy import Connection

from cozy.adapters.jwt_tokens import LEEWAY, Claims, Kind, claims_of, key_id_of, signed
from cozy.adapters.signing_keys import SigningKey, SigningKeys
from cozy.adapters.sql_logins import Standing, clean, keep_refresh, revoke_login, standing_of, use_refresh
from cozy.adapters.sql_users import Account
from cozy.errors import AccountDisabled, InvalidToken
from cozy.ports.identity import Caller, Scope, Tokens, User
from cozy.settings import AuthSettings
from cozy.storage.database import Database
from cozy.turn import UserId

CLEAN_S = 600.0
"""Rows of tokens that have ended are deleted at most so often, beside somebody's login."""


def lifetime_s(settings: AuthSettings) -> float:
    """The longest that any token may be taken."""
    return max(settings.access_ttl_s, settings.refresh_ttl_s) + LEEWAY.total_seconds()


def scopes_of(user: User) -> frozenset[Scope]:
    """What the user may do at all."""
    return frozenset(scope for scope in get_args(Scope) if scope != "admin" or user.role == "admin")


class LoginTokens:
    """Access and refresh tokens, signed with `keys`, on record in `database`.

    A token is good for as long as the settings say now, and never longer than they said when it was issued:
    a shorter time is in force at once.
    """

    def __init__(
        self, database: Database, keys: SigningKeys, settings: AuthSettings, now: Callable[[], datetime]
    ) -> None:
        self.keys = keys
        self._database = database
        self._now = now
        self._ttl: dict[Kind, timedelta] = {
            "access": timedelta(seconds=settings.access_ttl_s),
            "refresh": timedelta(seconds=settings.refresh_ttl_s),
        }
        self._lifetime = timedelta(seconds=lifetime_s(settings))
        self._cleaned_at = float("-inf")

    async def begin(self, work: Callable[[Connection], Account]) -> Tokens:
        """Tokens of a new login, for the account that `work` gives; what it does is committed with them."""
        key, now, family = await self.keys.current(), self._now(), uuid4()
        cleans = monotonic() - self._cleaned_at > CLEAN_S

        def commit(connection: Connection) -> tuple[Account, Claims]:
            if cleans:
                clean(connection, now - LEEWAY)
            account = work(connection)
            refresh = self._claims("refresh", account, family, now)
            keep_refresh(connection, refresh)
            return account, refresh

        account, refresh = await self._database.write(commit)
        if cleans:
            self._cleaned_at = monotonic()
        return self._pair(account, refresh, key, now)

    async def renew(self, token: str) -> tuple[Standing, Tokens | None]:
        """New tokens for a refresh token, or what is wrong with it. Raises InvalidToken for no such token."""
        key, now = await self.keys.current(), self._now()
        claims = await self._read(token, "refresh", now)

        def commit(connection: Connection) -> tuple[Standing, Claims | None]:
            standing = use_refresh(connection, claims, now, now + self._lifetime)
            if standing.problem or standing.account is None:
                return standing, None
            refresh = self._claims("refresh", standing.account, claims.family, now)
            keep_refresh(connection, refresh)
            return standing, refresh

        standing, refresh = await self._database.write(commit)
        if standing.account is None or refresh is None:
            return standing, None
        return standing, self._pair(standing.account, refresh, key, now)

    async def caller(self, token: str) -> tuple[Caller, float]:
        """Whom an access token stands for, and for how many seconds more.

        Raises InvalidToken, AccountDisabled.
        """
        now = self._now()
        claims = await self._read(token, "access", now)
        standing = await self._database.read(lambda connection: standing_of(connection, claims))
        user = good(standing).user
        caller = Caller(user.id, user.username, user.role, scopes_of(user), family=claims.family)
        return caller, (claims.expires_at + LEEWAY - now).total_seconds()

    async def revoke(self, user_id: UserId, family: UUID) -> None:
        """Every token of a login."""
        now = self._now()
        await self._database.write(
            lambda connection: revoke_login(connection, user_id, family, now, now + self._lifetime)
        )

    async def _read(self, token: str, kind: Kind, now: datetime) -> Claims:
        key = await self.keys.named(key_id_of(token))
        if key is None:
            raise InvalidToken("unknown key")
        claims = claims_of(token, key, kind, now)
        if claims.issued_at + self._ttl[kind] + LEEWAY <= now:
            raise InvalidToken("expired")
        return claims

    def _claims(self, kind: Kind, account: Account, family: UUID, now: datetime) -> Claims:
        return Claims(kind, account.user.id, uuid4(), family, account.generation, now, now + self._ttl[kind])

    def _pair(self, account: Account, refresh: Claims, key: SigningKey, now: datetime) -> Tokens:
        access = self._claims("access", account, refresh.family, now)
        return Tokens(
            access=signed(access, key),
            refresh=signed(refresh, key),
            expires_in_s=int(self._ttl["access"].total_seconds()),
            user=account.user,
        )


def good(standing: Standing) -> Account:
    """Its account. Raises InvalidToken, AccountDisabled."""
    if standing.problem == "disabled":
        raise AccountDisabled
    if standing.problem or standing.account is None:
        raise InvalidToken(standing.problem or "unknown")
    return standing.account
