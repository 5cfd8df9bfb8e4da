"""Who asks: users, tokens and keys, kept in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from anyio.abc import TaskGroup
from sqlalchemy import Connection

from cozy.adapters import account_rules as rules
from cozy.adapters import sql_api_keys as api_keys
from cozy.adapters import sql_users as users
from cozy.adapters.argon2_passwords import Argon2Passwords
from cozy.adapters.caller_cache import CallerCache
from cozy.adapters.login_limits import Bucket, LoginLimits
from cozy.adapters.login_tokens import LoginTokens, good, scopes_of
from cozy.adapters.pyotp_second_factor import new_second_factor, step_of
from cozy.adapters.redis_notices import RedisNotices
from cozy.adapters.sql_users import Account
from cozy.errors import (
    AccountDisabled,
    Conflict,
    Forbidden,
    InvalidRequest,
    InvalidToken,
    NotFound,
    RegistrationClosed,
    SecondFactorNeeded,
    StorageError,
    WrongPassword,
)
from cozy.ports.identity import (
    ApiKey,
    Caller,
    NewSecondFactor,
    Scope,
    Tokens,
    User,
    UserChange,
    UserRole,
)
from cozy.ports.operations import Audit, AuditEvent
from cozy.settings import AuthSettings
from cozy.storage.database import Database
from cozy.turn import UserId


class SqlIdentity:
    """Fills IdentityAdmin.

    What a request is told of its caller (role, closed accounts, revocations, keys) is at most `FRESH_S` old,
    two seconds; in the process that made the change it is told at once, and with Redis in all of them.
    """

    def __init__(
        self,
        database: Database,
        settings: AuthSettings,
        limits: LoginLimits,
        passwords: Argon2Passwords,
        tokens: LoginTokens,
        callers: CallerCache,
        audit: Audit,
        tasks: TaskGroup,
        notices: RedisNotices | None,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._settings = settings
        self._limits = limits
        self._passwords = passwords
        self._tokens = tokens
        self._callers = callers
        self._audit = audit
        self._tasks = tasks
        self._notices = notices
        self._now = now

    # who asks

    async def authenticate(self, credential: str) -> Caller:
        return await self._callers.find(rules.credential(credential), self._read_caller)

    async def _read_caller(self, words: str) -> tuple[Caller, float]:
        if not api_keys.is_key(words):
            return await self._tokens.caller(words)
        found = await self._database.read(lambda connection: api_keys.found_key(connection, words))
        if found is None:
            raise InvalidToken("unknown")
        key, account = found
        user, now = account.user, self._now()
        if key.revoked_at is not None:
            raise InvalidToken("revoked")
        if key.expires_at is not None and key.expires_at <= now:
            raise InvalidToken("expired")
        if not user.is_active:
            raise AccountDisabled
        if key.last_used_at is None or now - key.last_used_at >= api_keys.TOUCH:
            self._tasks.start_soon(self._touch, key.id, now)
        # an admin's key stays, and loses what its user may no longer do
        scopes = frozenset(key.scopes) & scopes_of(user)
        good_s = float("inf") if key.expires_at is None else (key.expires_at - now).total_seconds()
        return Caller(user.id, user.username, user.role, scopes, key_id=key.id), good_s

    async def _touch(self, key_id: UUID, now: datetime) -> None:
        try:
            await self._database.write(lambda connection: api_keys.touch_key(connection, key_id, now))
        except StorageError:
            return  # it is used again in a moment

    # logins

    async def register(self, username: str, email: str | None, password: str, *, address: str = "") -> User:
        if self._settings.registration == "closed":
            raise RegistrationClosed
        buckets = self._limits.of_registration(address)
        await self._limits.take(buckets, "accounts made from this address")
        try:
            return await self._add(username, email, rules.new_password(password), "user")
        except InvalidRequest:  # but not where the name is taken: somebody may be finding out who is here
            await self._limits.give_back(buckets)
            raise

    async def login(self, name: str, password: str, *, code: str | None = None, address: str = "") -> Tokens:
        known_as, given = rules.entered_name(name), rules.entered_password(password)
        buckets = self._limits.of_login(known_as, address)
        await self._limits.take(buckets)
        account = await self._named(name)
        kept = account.password_hash if account else None
        if not await self._passwords.verify(kept, given) or account is None or given is None:
            await self._note_failure("auth.login_failed", account, address)
            raise WrongPassword
        if not account.user.is_active:
            raise AccountDisabled
        step = None
        if account.user.has_second_factor:
            if not code:
                await self._limits.give_back(buckets)
                raise SecondFactorNeeded
            step = self._step(account, code)
            if step is None:
                await self._note_failure("auth.code_failed", account, address)
                raise SecondFactorNeeded(wrong=True)
        stale = kept is not None and self._passwords.is_stale(kept)
        rehashed = await self._passwords.hash(given) if stale else None
        now = self._now()

        def work(connection: Connection) -> Account:
            return _logged_in(connection, account, step, rehashed, now)

        tokens = await self._tokens.begin(work)
        await self._limits.give_back(buckets)
        return tokens

    async def refresh(self, refresh_token: str) -> Tokens:
        standing, tokens = await self._tokens.renew(rules.credential(refresh_token))
        if standing.problem == "reused" and standing.account is not None:
            user_id = standing.account.user.id
            self._changed(user_id)
            await self._audit.record(AuditEvent("auth.refresh_reused", user_id, level="warning"))
        good(standing)
        if tokens is None:
            raise InvalidToken
        return tokens

    async def logout(self, caller: Caller) -> None:
        if caller.family is not None:
            await self._tokens.revoke(caller.user_id, caller.family)
            self._changed(caller.user_id)

    # one's own account

    async def user(self, user_id: UserId) -> User:
        return await self._database.read(
            lambda connection: users.account_of(connection, user_id, whole=True).user
        )

    async def change_user(self, user_id: UserId, change: UserChange) -> User:
        return await self._database.write(lambda connection: users.change_user(connection, user_id, change))

    async def change_password(self, user_id: UserId, old: str, new: str) -> None:
        password = rules.new_password(new)
        await self._prove(await self._account(user_id), old)
        await self._set_password(user_id, password)

    async def offer_second_factor(self, user_id: UserId) -> NewSecondFactor:
        offer = new_second_factor((await self._account(user_id)).user.username)

        def work(connection: Connection) -> None:
            if users.account_of(connection, user_id, lock=True).user.has_second_factor:
                raise Conflict("there is a second factor already", hint="drop it first")
            users.set_values(connection, user_id, {"totp_secret": offer.secret, "totp_step": None})

        await self._database.write(work)
        return offer

    async def confirm_second_factor(self, user_id: UserId, code: str) -> None:
        buckets = self._limits.of_user(user_id)
        await self._limits.take(buckets)
        now = self._now()

        def work(connection: Connection) -> None:
            account = users.account_of(connection, user_id, lock=True)
            if account.user.has_second_factor or account.totp_secret is None:
                raise Conflict("no second factor waits to be confirmed", hint="ask for one first")
            step = step_of(account.totp_secret, code, now, after=account.totp_step)
            if step is None:
                raise SecondFactorNeeded(wrong=True)
            users.use_step(connection, user_id, step, {"totp_since": now})

        await self._database.write(work)
        await self._limits.give_back(buckets)

    async def drop_second_factor(self, user_id: UserId, password: str) -> None:
        await self._prove(await self._account(user_id), password)
        await self.reset_second_factor(user_id)

    # keys

    async def create_key(
        self,
        user_id: UserId,
        name: str,
        *,
        scopes: Sequence[Scope] = ("chat", "account"),
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        shown, wanted = rules.label(name, "name"), rules.scopes(scopes)
        until = rules.later(expires_at, self._now(), "expires_at")

        def work(connection: Connection) -> tuple[ApiKey, str]:
            user = users.account_of(connection, user_id).user
            if beyond := [scope for scope in wanted if scope not in scopes_of(user)]:
                raise Forbidden(f"the scope `{beyond[0]}`")
            return api_keys.add_key(connection, user_id, shown, wanted, until)

        return await self._database.write(work)

    async def keys(self, user_id: UserId) -> Sequence[ApiKey]:
        return await self._database.read(lambda connection: api_keys.keys_of(connection, user_id))

    async def revoke_key(self, user_id: UserId, key_id: UUID) -> None:
        await self._change(user_id, lambda connection: api_keys.revoke_key(connection, user_id, key_id))

    # what admins may do

    async def create_user(
        self, username: str, *, email: str | None = None, password: str | None = None, role: UserRole = "user"
    ) -> User:
        checked = None if password is None else rules.new_password(password)
        return await self._add(username, email, checked, rules.role(role))

    async def find_user(self, name: str) -> User:
        account = await self._named(name)
        user_id = account.user.id if account else rules.id_in(name)
        if user_id is None:
            raise NotFound("user", str(name)[: rules.LONGEST_EMAIL])
        return await self.user(UserId(user_id))

    async def users(self, *, limit: int = 50, offset: int = 0) -> Sequence[User]:
        return await self._database.read(lambda connection: users.page_of_users(connection, limit, offset))

    async def count_users(self) -> int:
        return await self._database.read(users.count_of_users)

    async def set_role(self, user_id: UserId, role: UserRole) -> None:
        checked = rules.role(role)
        await self._change(user_id, lambda connection: users.set_role(connection, user_id, checked))

    async def set_active(self, user_id: UserId, active: bool) -> None:
        await self._change(user_id, lambda connection: users.set_active(connection, user_id, active))

    async def set_password(self, user_id: UserId, password: str) -> None:
        await self._set_password(user_id, rules.new_password(password))

    async def reset_second_factor(self, user_id: UserId) -> None:
        nothing: dict[str, Any] = {"totp_secret": None, "totp_since": None, "totp_step": None}
        await self._database.write(lambda connection: users.set_values(connection, user_id, nothing))

    async def rotate_signing_key(self) -> str:
        return await self._tokens.keys.rotate()

    async def first_admin(self) -> tuple[User, str] | None:
        def work(connection: Connection) -> tuple[User, str] | None:
            user = users.add_first_admin(connection)
            if user is None:
                return None
            _, words = api_keys.add_key(connection, user.id, "first key", rules.scopes(scopes_of(user)))
            return user, words

        return await self._database.write(work)

    # steps that several of these take

    async def _account(self, user_id: UserId) -> Account:
        return await self._database.read(lambda connection: users.account_of(connection, user_id))

    async def _named(self, typed: str) -> Account | None:
        name = rules.entered_name(typed)
        if not name:
            return None
        return await self._database.read(
            lambda connection: users.account_named(connection, typed.strip(), name)
        )

    async def _add(self, username: str, email: str | None, password: str | None, role: UserRole) -> User:
        name, address = rules.user_name(username), rules.email_address(email)
        # before the slow part; whoever registers meanwhile is found when the row is written
        await self._database.read(lambda connection: users.refuse_taken(connection, name, address))
        kept = None if password is None else await self._passwords.hash(password)
        return await self._database.write(
            lambda connection: users.add_user(connection, name, email=address, password_hash=kept, role=role)
        )

    async def _change(self, user_id: UserId, work: Callable[[Connection], None]) -> None:
        """Write what changes whom a credential stands for."""
        await self._database.write(work)
        self._changed(user_id)

    def _changed(self, user_id: UserId) -> None:
        self._callers.drop(user_id)
        if self._notices is not None:
            self._notices.tell(user_id)

    async def _set_password(self, user_id: UserId, password: str) -> None:
        values = {"password_hash": await self._passwords.hash(password)}
        await self._change(user_id, lambda connection: users.end_tokens(connection, user_id, values))

    async def _prove(self, account: Account, password: object) -> None:
        """That whoever is logged in knows the password too."""
        buckets: Sequence[Bucket] = self._limits.of_user(account.user.id)
        await self._limits.take(buckets)
        if not await self._passwords.verify(account.password_hash, rules.entered_password(password)):
            await self._note_failure("auth.password_failed", account, "")
            raise WrongPassword
        await self._limits.give_back(buckets)

    def _step(self, account: Account, code: object) -> int | None:
        if account.totp_secret is None:
            return None
        return step_of(account.totp_secret, code, self._now(), after=account.totp_step)

    async def _note_failure(self, what: str, account: Account | None, address: str) -> None:
        # of unknown names too, so that nobody can tell by the time which are known; but without the name:
        # people type their password there
        user_id = account.user.id if account else None
        await self._audit.record(
            AuditEvent(what, user_id, level="warning", payload={"address": address[:64]} if address else {})
        )


def _logged_in(
    connection: Connection, seen: Account, step: int | None, rehashed: str | None, now: datetime
) -> Account:
    """The account as it is at the login, which found it as `seen` a moment before."""
    user_id = seen.user.id
    account = users.account_of(connection, user_id, lock=True)
    if account.generation != seen.generation:
        raise WrongPassword  # it was changed while we compared
    if not account.user.is_active:
        raise AccountDisabled
    if account.user.has_second_factor and (step is None or not users.use_step(connection, user_id, step, {})):
        raise SecondFactorNeeded(wrong=step is not None)
    values: dict[str, Any] = {"last_login_at": now}
    if rehashed is not None and account.password_hash == seen.password_hash:
        values["password_hash"] = rehashed
    users.set_values(connection, user_id, values)
    return users.account_of(connection, user_id, whole=True)
