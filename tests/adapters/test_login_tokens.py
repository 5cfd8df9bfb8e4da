"""Tokens of logins: how long they are good, how they are renewed, how they end."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import jwt
import pytest
from sqlalchemy import func, insert, select

from cozy.adapters.jwt_tokens import LEEWAY
from cozy.adapters.login_tokens import CLEAN_S
from cozy.adapters.sql_logins import GRACE
from cozy.errors import InvalidToken
from cozy.ports.identity import IdentityAdmin, Tokens, User
from cozy.settings import AuthSettings
from cozy.storage.database import Database, open_database
from cozy.storage.schema import utc_now
from cozy.storage.tables import audit_events, refresh_tokens, revoked_tokens, signing_keys
from tests.adapters.people import PASSWORD, Clock, people

SHORT = AuthSettings(access_ttl_s=60, refresh_ttl_s=600)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def identity(database: Database, clock: Clock) -> AsyncIterator[IdentityAdmin]:
    async with people(database, SHORT, clock=clock) as identity:
        yield identity


@pytest.fixture
async def ann(identity: IdentityAdmin) -> User:
    return await identity.register("ann", None, PASSWORD)


@pytest.fixture
async def tokens(identity: IdentityAdmin, ann: User) -> Tokens:
    return await identity.login("ann", PASSWORD)


async def reason(identity: IdentityAdmin, token: Any, *, refresh: bool = False) -> str:
    """Why a token is refused."""
    with pytest.raises(InvalidToken) as raised:
        await (identity.refresh(token) if refresh else identity.authenticate(token))
    assert str(raised.value).startswith("the key or token is not valid")
    return raised.value.reason


async def count(database: Database, table: Any) -> int:
    return await database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())


async def test_an_access_token_ends_by_itself(identity: IdentityAdmin, tokens: Tokens, clock: Clock) -> None:
    await identity.authenticate(tokens.access)
    clock.pass_by(seconds=59)
    await identity.authenticate(tokens.access)
    clock.pass_by(seconds=15)
    async with people_later(identity, clock) as later:
        assert await reason(later, tokens.access) == "expired"


def people_later(identity: Any, clock: Clock) -> Any:
    """The same database after what was kept for a moment is no longer fresh."""
    return people(identity._database, identity._settings, clock=clock)


async def test_what_is_kept_of_a_token_does_not_outlive_it(database: Database, clock: Clock) -> None:
    async with people(database, SHORT, clock=clock) as identity:
        await identity.register("ann", None, PASSWORD)
        tokens = await identity.login("ann", PASSWORD)
        values = jwt.decode(tokens.access, options={"verify_signature": False})
        clock.pass_by(seconds=values["exp"] + LEEWAY.total_seconds() - clock().timestamp() - 1)
        await identity.authenticate(tokens.access)
        clock.pass_by(seconds=1)
        await anyio.sleep(1)  # one second was left, where two are the rule
        assert await reason(identity, tokens.access) == "expired"


async def test_a_shorter_time_is_in_force_at_once_and_a_longer_one_is_not(
    database: Database, clock: Clock
) -> None:
    long = AuthSettings(access_ttl_s=3600, refresh_ttl_s=3600)
    async with people(database, long, clock=clock) as before:
        await before.register("ann", None, PASSWORD)
        tokens = await before.login("ann", PASSWORD)
    clock.pass_by(seconds=1800)
    async with people(database, SHORT, clock=clock) as after:
        assert await reason(after, tokens.access) == "expired"
        assert await reason(after, tokens.refresh, refresh=True) == "expired"
    async with people(database, clock=clock) as longest:
        await longest.authenticate(tokens.access)
        clock.pass_by(seconds=1811)
    async with people(database, clock=clock) as longest:
        assert await reason(longest, tokens.access) == "expired"


async def test_each_kind_is_good_for_its_own_purpose(identity: IdentityAdmin, tokens: Tokens) -> None:
    assert await reason(identity, tokens.refresh) == "wrong kind"
    assert await reason(identity, tokens.access, refresh=True) == "wrong kind"
    await identity.authenticate(tokens.access)
    await identity.refresh(tokens.refresh)


async def test_tokens_are_renewed_and_the_old_access_token_stays_good(
    identity: IdentityAdmin, tokens: Tokens, clock: Clock
) -> None:
    seen = {tokens.refresh}
    current = tokens
    for _ in range(3):
        clock.pass_by(seconds=30)
        await identity.authenticate(current.access)
        current = await identity.refresh(current.refresh)
        assert current.refresh not in seen
        seen.add(current.refresh)
        assert current.user.username == "ann"
        await identity.authenticate(current.access)


async def test_a_double_click_is_refused_and_costs_nothing(
    identity: IdentityAdmin, tokens: Tokens, database: Database
) -> None:
    found: list[object] = []

    async def refresh() -> None:
        try:
            found.append(await identity.refresh(tokens.refresh))
        except InvalidToken as error:
            found.append(error.reason)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(refresh)
    (renewed,) = [outcome for outcome in found if isinstance(outcome, Tokens)]
    assert [outcome for outcome in found if outcome != renewed] == ["used"] * 4
    await identity.authenticate(renewed.access)
    await identity.refresh(renewed.refresh)
    assert await count(database, audit_events) == 0


async def test_a_token_that_comes_again_later_ends_its_login_and_no_other(
    identity: IdentityAdmin, tokens: Tokens, clock: Clock, database: Database, ann: User
) -> None:
    other = await identity.login("ann", PASSWORD)
    renewed = await identity.refresh(tokens.refresh)
    await identity.authenticate(renewed.access)
    clock.pass_by(seconds=GRACE.total_seconds() + 1)
    assert await reason(identity, tokens.refresh, refresh=True) == "reused"
    for token in (tokens.access, renewed.access):
        assert await reason(identity, token) == "revoked"
    for token in (tokens.refresh, renewed.refresh):
        assert await reason(identity, token, refresh=True) == "revoked"
    await identity.authenticate(other.access)
    await identity.refresh(other.refresh)
    row = await database.read(
        lambda c: c.execute(select(audit_events.c.event_type, audit_events.c.user_id)).one()
    )
    assert tuple(row) == ("auth.refresh_reused", ann.id)


async def test_a_logout_ends_every_token_of_that_login_and_no_other(
    identity: IdentityAdmin, tokens: Tokens, ann: User
) -> None:
    other = await identity.login("ann", PASSWORD)
    _, key = await identity.create_key(ann.id, "laptop")
    renewed = await identity.refresh(tokens.refresh)
    caller = await identity.authenticate(renewed.access)
    for _ in range(2):
        await identity.logout(caller)
    for token in (tokens.access, renewed.access):
        assert await reason(identity, token) == "revoked"
    assert await reason(identity, renewed.refresh, refresh=True) == "revoked"
    await identity.authenticate(other.access)
    await identity.logout(await identity.authenticate(key))
    await identity.authenticate(key)
    await identity.authenticate(other.access)


async def test_another_installations_tokens_are_not_taken(
    identity: IdentityAdmin, tokens: Tokens, clock: Clock, ann: User, tmp_path: Any, sqlite_template: Any
) -> None:
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'other.db')}"
    async with open_database(url) as elsewhere, people(elsewhere, SHORT, clock=clock) as other:
        await other.register("ann", None, PASSWORD)
        await other.login("ann", PASSWORD)
        assert await reason(other, tokens.access) == "unknown key"
    # where both were given the same key, users are still each installation's own
    shared = {"COZY_JWT_KEYS": "k=" + "s" * 32}
    async with people(identity._database, SHORT, environ=shared) as here:  # type: ignore[attr-defined]
        here_tokens = await here.login("ann", PASSWORD)
        async with open_database(url) as elsewhere, people(elsewhere, SHORT, environ=shared) as other:
            assert await reason(other, here_tokens.access) == "unknown"
            assert await reason(other, here_tokens.refresh, refresh=True) == "unknown"


async def test_a_rotated_key_logs_nobody_out(
    identity: IdentityAdmin, tokens: Tokens, clock: Clock, database: Database
) -> None:
    new_id = await identity.rotate_signing_key()
    await identity.authenticate(tokens.access)
    renewed = await identity.refresh(tokens.refresh)
    assert jwt.get_unverified_header(renewed.access)["kid"] == new_id
    assert jwt.get_unverified_header(tokens.access)["kid"] != new_id
    async with people(database, SHORT, clock=clock) as other:
        await other.authenticate(tokens.access)
        await other.authenticate(renewed.access)
    assert await count(database, signing_keys) == 2


async def test_a_token_of_a_user_who_was_never_there_is_refused(
    identity: IdentityAdmin, tokens: Tokens, database: Database
) -> None:
    key = await database.read(lambda c: c.execute(select(signing_keys.c.kid, signing_keys.c.secret)).one())
    values = jwt.decode(tokens.access, options={"verify_signature": False})
    forged = jwt.encode(values | {"sub": str(uuid4())}, key.secret, headers={"kid": key.kid})
    assert await reason(identity, forged) == "unknown"
    never = jwt.encode(values | {"typ": "refresh"}, key.secret, headers={"kid": key.kid})
    assert await reason(identity, never, refresh=True) == "unknown"


@pytest.mark.parametrize(
    "credential",
    [
        "",
        " ",
        "x",
        "null",
        "undefined",
        "a.b.c",
        "x" * 10_000_000,
        "\x00",
        "\ud800",
        None,
        5,
        b"x",
        ["x"],
        {},
    ],
    ids=lambda value: repr(value)[:16],
)
async def test_what_is_no_credential_is_refused(identity: IdentityAdmin, credential: Any) -> None:
    assert await reason(identity, credential) == "malformed"
    assert await reason(identity, credential, refresh=True) == "malformed"


async def test_tokens_that_have_ended_are_forgotten_beside_a_login(
    identity: IdentityAdmin, tokens: Tokens, clock: Clock, database: Database
) -> None:
    await identity.logout(await identity.authenticate(tokens.access))
    assert (await count(database, refresh_tokens), await count(database, revoked_tokens)) == (1, 1)
    clock.pass_by(seconds=700)
    identity._tokens._cleaned_at -= CLEAN_S  # type: ignore[attr-defined]
    await identity.login("ann", PASSWORD)
    assert (await count(database, refresh_tokens), await count(database, revoked_tokens)) == (1, 0)


async def test_a_single_access_token_can_be_revoked_by_its_id(
    identity: IdentityAdmin, tokens: Tokens, database: Database, ann: User
) -> None:
    values = jwt.decode(tokens.access, options={"verify_signature": False})
    now = utc_now()
    row = {
        "jti": UUID(values["jti"]),
        "user_id": ann.id,
        "revoked_at": now,
        "expires_at": now + timedelta(days=1),
    }
    await database.write(lambda c: c.execute(insert(revoked_tokens), row))
    assert await reason(identity, tokens.access) == "revoked"
    await identity.refresh(tokens.refresh)
