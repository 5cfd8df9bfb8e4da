"""Accounts: made, logged in to, changed. Tokens and keys have files of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest
from pyotp import TOTP
from sqlalchemy import select

from cozy.adapters.memory_limits import MemoryLimits
from cozy.adapters.redis_client import open_redis
from cozy.adapters.redis_limits import RedisLimits
from cozy.adapters.sql_api_keys import found_key
from cozy.adapters.sql_store import SqlStore
from cozy.adapters.sql_users import account_of
from cozy.errors import (
    AccountDisabled,
    Conflict,
    CozyError,
    InvalidRequest,
    InvalidToken,
    NotFound,
    RateLimited,
    RegistrationClosed,
    SecondFactorNeeded,
    WrongPassword,
)
from cozy.ports.identity import IdentityAdmin, User, UserChange
from cozy.settings import AuthSettings
from cozy.storage.database import Database
from cozy.storage.tables import audit_events, users
from cozy.turn import UserId
from tests.adapters.people import PASSWORD, Clock, cheap_passwords, people
from tests.redis_server import PatientRedis

ADDRESS = "203.0.113.7"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def identity(database: Database, clock: Clock) -> AsyncIterator[IdentityAdmin]:
    async with people(database, clock=clock) as identity:
        yield identity


@pytest.fixture
async def ann(identity: IdentityAdmin) -> User:
    return await identity.register("ann", "ann@example.com", PASSWORD)


async def audited(database: Database) -> list[tuple[str, Any, Any]]:
    columns = (audit_events.c.event_type, audit_events.c.user_id, audit_events.c.payload)
    statement = select(*columns).order_by(audit_events.c.created_at)
    return [tuple(row) for row in await database.read(lambda c: c.execute(statement).all())]


async def outcomes(*calls: Callable[[], Awaitable[object]]) -> list[object]:
    """What each of them gives or raises, all at once."""
    found: list[object] = []

    async def call(one: Callable[[], Awaitable[object]]) -> None:
        try:
            found.append(await one())
        except CozyError as error:
            found.append(error)

    async with anyio.create_task_group() as tasks:
        for one in calls:
            tasks.start_soon(call, one)
    return found


# registering


async def test_a_user_registers_logs_in_and_is_known(identity: IdentityAdmin) -> None:
    user = await identity.register("Ann", " Ann@Example.com", PASSWORD)
    assert (user.username, user.email, user.role, user.is_active) == ("ann", "ann@example.com", "user", True)
    assert (user.profile, user.preferences, user.has_second_factor, user.last_login_at) == (
        {},
        {},
        False,
        None,
    )
    for name in ("ann", "ANN", " Ann ", "ａｎｎ", "ann@example.com", "ANN@EXAMPLE.COM"):
        tokens = await identity.login(name, PASSWORD, address=ADDRESS)
        assert tokens.user.id == user.id
        assert tokens.user.last_login_at is not None
        assert tokens.expires_in_s == AuthSettings().access_ttl_s
        assert tokens.access not in repr(tokens)
        caller = await identity.authenticate(tokens.access)
        assert (caller.user_id, caller.username, caller.role) == (user.id, "ann", "user")
        assert (caller.scopes, caller.key_id) == ({"chat", "account"}, None)
    assert (await identity.user(user.id)).username == "ann"


async def test_a_chinese_name_will_do(identity: IdentityAdmin) -> None:
    user = await identity.register("小明", None, "密码密码密码")
    assert (await identity.login("小明", "密码密码密码")).user == await identity.user(user.id)


@pytest.mark.parametrize(
    ("name", "email", "param"),
    [
        ("ann", None, "username"),
        ("ANN", "other@example.com", "username"),
        ("ａｎｎ", None, "username"),
        ("bob", "Ann@example.com", "email"),
    ],
)
async def test_what_is_taken_is_named(
    identity: IdentityAdmin, ann: User, name: str, email: str | None, param: str
) -> None:
    with pytest.raises(Conflict) as raised:
        await identity.register(name, email, PASSWORD)
    assert raised.value.param == param
    assert await identity.count_users() == 1


@pytest.mark.parametrize(
    ("name", "email", "password", "param"),
    [
        ("x", None, PASSWORD, "username"),
        (None, None, PASSWORD, "username"),
        ("bob", "nonsense", PASSWORD, "email"),
        ("bob", 5, PASSWORD, "email"),
        ("bob", None, "short", "password"),
        ("bob", None, None, "password"),
        ("bob", None, "x" * 10_000_000, "password"),
    ],
    ids=lambda value: repr(value)[:16],
)
async def test_what_cannot_be_is_refused_with_its_field(
    identity: IdentityAdmin, name: Any, email: Any, password: Any, param: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await identity.register(name, email, password)
    assert raised.value.param == param
    assert await identity.count_users() == 0


async def test_of_many_who_register_one_name_at_once_one_gets_it(database: Database) -> None:
    async with people(database) as one, people(database) as other:
        found = await outcomes(
            *[
                lambda identity=identity, name=name: identity.register(name, None, PASSWORD)
                for identity in (one, other)
                for name in ("小明明", "小明明", "小明明")
            ],
            *[lambda n=n: one.register(f"user{n}", "same@example.com", PASSWORD) for n in range(3)],
        )
        assert sum(isinstance(outcome, User) for outcome in found) == 2
        assert (
            sorted(e.param or "" for e in found if isinstance(e, Conflict))
            == ["email"] * 2 + ["username"] * 5
        )
        assert await one.count_users() == 2


async def test_one_network_makes_so_many_accounts_an_hour(database: Database) -> None:
    moment = 0.0
    limits = MemoryLimits(clock=lambda: moment)
    async with people(database, AuthSettings(registrations_per_hour=2), limits=limits) as identity:

        async def register(name: str, address: str = ADDRESS) -> object:
            return await identity.register(name, None, PASSWORD, address=address)

        await register("ann", "2001:db8::1")
        await register("bob", "2001:db8::2")
        with pytest.raises(RateLimited, match="accounts") as raised:
            await register("eve", "2001:db8::3")
        assert 0 < raised.value.retry_after_s <= 1800
        await register("eve", "2001:db8:0:1::3")
        await register("joe")
        with pytest.raises(Conflict):  # names could be tried out
            await register("joe")
        with pytest.raises(RateLimited):
            await register("joe")
        moment += 1800
        await register("tim")
        assert (await identity.create_user("zoe")).username == "zoe"


async def test_a_slip_of_the_pen_is_no_account(database: Database) -> None:
    async with people(database, AuthSettings(registrations_per_hour=1)) as identity:
        for name, password in (("a", PASSWORD), ("ann", "short"), ("a@b", PASSWORD)):
            with pytest.raises(InvalidRequest):
                await identity.register(name, None, password, address=ADDRESS)
        await identity.register("ann", None, PASSWORD, address=ADDRESS)


async def test_with_0_anybody_makes_as_many_accounts_as_they_like(database: Database) -> None:
    async with people(database, AuthSettings(registrations_per_hour=0)) as identity:
        for number in range(30):
            await identity.register(f"user{number}", None, PASSWORD, address=ADDRESS)


async def test_accounts_are_counted_over_all_processes_where_there_is_redis(
    database: Database, redis_url: str, redis_prefix: str
) -> None:
    settings, address = AuthSettings(registrations_per_hour=1), "203.0.113.8"
    async with open_redis(redis_url) as one, open_redis(redis_url) as two:
        first, second = (RedisLimits(PatientRedis(client, redis_prefix)) for client in (one, two))
        async with people(database, settings, limits=first) as identity:
            await identity.register("ann", None, PASSWORD, address=address)
        async with people(database, settings, limits=second) as identity:
            with pytest.raises(RateLimited):
                await identity.register("bob", None, PASSWORD, address=address)


async def test_where_registration_is_closed_an_admin_still_makes_users(database: Database) -> None:
    async with people(database, AuthSettings(registration="closed")) as identity:
        with pytest.raises(RegistrationClosed):
            await identity.register("ann", None, PASSWORD)
        user = await identity.create_user("ann", role="admin")
        assert user.role == "admin"
        with pytest.raises(InvalidRequest, match="`user`, `admin`"):
            await identity.create_user("bob", role="root")  # type: ignore[arg-type]


async def test_the_terminals_user_cannot_be_taken_over(identity: IdentityAdmin, database: Database) -> None:
    ada = await SqlStore(database).user("Ada")
    with pytest.raises(Conflict):
        await identity.register("Ada", None, PASSWORD)
    with pytest.raises(WrongPassword):
        await identity.login("ada", "")
    await identity.set_password(ada, PASSWORD)
    assert (await identity.login("ada", PASSWORD)).user.id == ada


async def test_whoever_has_registered_is_the_same_user_at_the_terminal(
    identity: IdentityAdmin, database: Database
) -> None:
    ada = await identity.register("Ａda", None, PASSWORD)
    store = SqlStore(database)
    assert [await store.user(name) for name in ("ada", "Ada", "ＡＤＡ")] == [ada.id] * 3
    assert await identity.count_users() == 1


# logging in


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", PASSWORD + " "),
        ("ann", "x" * 10_000_000),
        ("ann", "\ud800"),
        ("ann", None),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("a" * 10_000_000, PASSWORD),
        ("\ud800", PASSWORD),
        ("' OR '1'='1", PASSWORD),
        ("ann\x00", PASSWORD),
        (None, PASSWORD),
        (["ann"], PASSWORD),
    ],
    ids=lambda value: repr(value)[:16],
)
async def test_what_does_not_fit_is_refused_alike(
    identity: IdentityAdmin, ann: User, name: Any, password: Any
) -> None:
    with pytest.raises(WrongPassword) as raised:
        await identity.login(name, password, address=ADDRESS)
    assert str(raised.value) == "the user name or the password is wrong"


async def test_without_a_password_nobody_logs_in(identity: IdentityAdmin) -> None:
    await identity.create_user("robot")
    for given in ("", "None", PASSWORD):
        with pytest.raises(WrongPassword):
            await identity.login("robot", given)


async def test_failures_are_on_record_without_what_was_typed(
    identity: IdentityAdmin, ann: User, database: Database
) -> None:
    for name in ("ann", "my-secret-password"):
        with pytest.raises(WrongPassword):
            await identity.login(name, "my-secret-password", address=ADDRESS)
    address = {"address": ADDRESS}
    assert await audited(database) == [
        ("auth.login_failed", ann.id, address),
        ("auth.login_failed", None, address),
    ]


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_guessing_slows_down_for_known_and_unknown_names_alike(database: Database, name: str) -> None:
    moment = 0.0
    limits = MemoryLimits(clock=lambda: moment)
    settings = AuthSettings(login_attempts=3, login_refill_s=60)
    async with people(database, settings, limits=limits) as identity:
        await identity.register("ann", None, PASSWORD)
        for spelled in (name, name.upper(), f" {name} "):
            with pytest.raises(WrongPassword):
                await identity.login(spelled, "wrong")
        with pytest.raises(RateLimited) as raised:
            await identity.login(name, PASSWORD)
        assert 0 < raised.value.retry_after_s <= 60
        moment += raised.value.retry_after_s
        with pytest.raises(WrongPassword):
            await identity.login(name, "wrong")
        with pytest.raises(RateLimited):
            await identity.login(name, "wrong")
        assert (await identity.register("bob", None, PASSWORD)).username == "bob"
        await identity.login("bob", PASSWORD)


async def test_whoever_knows_the_password_may_log_in_as_often_as_they_like(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=2)) as identity:
        await identity.register("ann", None, PASSWORD)
        for _ in range(8):
            await identity.login("ann", PASSWORD, address=ADDRESS)


async def test_one_address_cannot_try_many_names(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=1)) as identity:
        for number in range(5):
            with pytest.raises(WrongPassword):
                await identity.login(f"user{number}", "wrong", address=ADDRESS)
        with pytest.raises(RateLimited):
            await identity.login("user9", "wrong", address=ADDRESS)
        with pytest.raises(WrongPassword):
            await identity.login("user9", "wrong", address="203.0.113.8")


async def test_who_guesses_elsewhere_does_not_keep_the_owner_out(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=2)) as identity:
        await identity.register("ann", None, PASSWORD)
        for outcome in (WrongPassword, WrongPassword, RateLimited, RateLimited):
            with pytest.raises(outcome):
                await identity.login("ann", "wrong", address="203.0.113.8")
        await identity.login("ann", PASSWORD, address=ADDRESS)


async def test_guessing_from_everywhere_slows_down_too(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=2)) as identity:
        for number in range(10):
            with pytest.raises(WrongPassword):
                await identity.login("ann", "wrong", address=f"203.0.113.{number}")
        with pytest.raises(RateLimited):
            await identity.login("ann", "wrong", address="203.0.113.10")


async def test_a_network_of_ipv6_is_one_address(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=1)) as identity:
        for number in range(5):
            with pytest.raises(WrongPassword):
                await identity.login(f"user{number}", "wrong", address=f"2001:db8::{number}")
        with pytest.raises(RateLimited):
            await identity.login("user9", "wrong", address="2001:db8::9")
        with pytest.raises(WrongPassword):
            await identity.login("user9", "wrong", address="2001:db8:0:1::9")


async def test_many_guesses_at_once_are_counted_each(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=3)) as identity:
        await identity.register("ann", None, PASSWORD)
        found = await outcomes(*[lambda: identity.login("ann", "wrong") for _ in range(20)])
        assert sum(isinstance(outcome, WrongPassword) for outcome in found) == 3
        assert sum(isinstance(outcome, RateLimited) for outcome in found) == 17


async def test_a_login_hashes_again_where_the_costs_have_changed(database: Database) -> None:
    async def kept() -> str:
        return await database.read(lambda c: c.execute(select(users.c.password_hash)).scalar_one())

    async with people(database) as identity:
        await identity.register("ann", None, PASSWORD)
    before = await kept()
    async with people(database, passwords=cheap_passwords(time_cost=2)) as identity:
        with pytest.raises(WrongPassword):
            await identity.login("ann", "wrong")
        assert await kept() == before
        found = await outcomes(*[lambda: identity.login("ann", PASSWORD) for _ in range(4)])
        assert not [outcome for outcome in found if isinstance(outcome, CozyError)]
        after = await kept()
        assert "t=2" in after
        await identity.login("ann", PASSWORD)
        assert await kept() == after


# one's own account


async def test_a_changed_password_ends_every_token_and_keeps_the_keys(
    identity: IdentityAdmin, ann: User
) -> None:
    tokens = [await identity.login("ann", PASSWORD) for _ in range(2)]
    _, key = await identity.create_key(ann.id, "laptop")
    for one in tokens:
        await identity.authenticate(one.access)
    with pytest.raises(WrongPassword):
        await identity.change_password(ann.id, "wrong", "another one")
    with pytest.raises(InvalidRequest) as raised:
        await identity.change_password(ann.id, PASSWORD, "short")
    assert raised.value.param == "password"
    await identity.authenticate(tokens[0].access)

    await identity.change_password(ann.id, PASSWORD, "another one")
    for one in tokens:
        with pytest.raises(InvalidToken):
            await identity.authenticate(one.access)
        with pytest.raises(InvalidToken):
            await identity.refresh(one.refresh)
    assert (await identity.authenticate(key)).user_id == ann.id
    with pytest.raises(WrongPassword):
        await identity.login("ann", PASSWORD)
    await identity.authenticate((await identity.login("ann", "another one")).access)


async def test_with_a_stolen_token_the_password_cannot_be_guessed(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=2)) as identity:
        user = await identity.register("ann", None, PASSWORD)
        for _ in range(2):
            with pytest.raises(WrongPassword):
                await identity.change_password(user.id, "wrong", "another one")
        with pytest.raises(RateLimited):
            await identity.change_password(user.id, PASSWORD, "another one")
        with pytest.raises(RateLimited):
            await identity.drop_second_factor(user.id, PASSWORD)


async def test_what_users_say_of_themselves_is_kept_key_by_key(identity: IdentityAdmin, ann: User) -> None:
    change = UserChange("安", {"city": "北京", "age": 3}, {"theme": {"dark": True}})
    changed = await identity.change_user(ann.id, change)
    assert (changed.display_name, changed.profile) == ("安", {"city": "北京", "age": 3})
    changed = await identity.change_user(ann.id, UserChange(profile={"age": 4, "x": None}))
    assert changed == await identity.user(ann.id)
    assert changed.profile == {"city": "北京", "age": 4, "x": None}
    assert changed.preferences == {"theme": {"dark": True}}
    assert changed.display_name == "安"
    tokens = await identity.login("ann", PASSWORD)
    assert tokens.user.profile == changed.profile
    assert (await identity.refresh(tokens.refresh)).user.profile == changed.profile
    assert (await identity.find_user("ann")).profile == changed.profile
    assert (await identity.change_user(ann.id, UserChange(display_name=""))).display_name is None


async def test_a_long_profile_does_not_make_requests_slow(
    identity: IdentityAdmin, ann: User, database: Database
) -> None:
    await identity.change_user(ann.id, UserChange(profile={"picture": "x" * 4_000_000}))
    _, key = await identity.create_key(ann.id, "laptop")
    (listed,) = await identity.users()
    assert (listed.id, listed.profile) == (ann.id, {})
    # what a key and a token are looked up with
    read = await database.read(lambda c: (found_key(c, key), account_of(c, ann.id)))
    assert len(repr(read)) < 5000


async def test_changes_at_once_are_all_kept(identity: IdentityAdmin, ann: User) -> None:
    await outcomes(
        *[lambda n=n: identity.change_user(ann.id, UserChange(profile={f"k{n}": n})) for n in range(10)]
    )
    assert (await identity.user(ann.id)).profile == {f"k{n}": n for n in range(10)}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (UserChange(display_name="a\nb"), "display_name"),
        (UserChange(display_name="x" * 1000), "display_name"),
        (UserChange(profile={"a": float("inf")}), "profile"),
        (UserChange(preferences={"a": "x" * 100_000}), "preferences"),
        (UserChange(preferences={"a": object()}), "preferences"),
    ],
)
async def test_a_change_that_cannot_be_kept_changes_nothing(
    identity: IdentityAdmin, ann: User, change: UserChange, param: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await identity.change_user(ann.id, change)
    assert raised.value.param == param
    assert await identity.user(ann.id) == ann


async def test_text_that_no_database_keeps_is_no_hindrance(identity: IdentityAdmin, ann: User) -> None:
    changed = await identity.change_user(ann.id, UserChange(profile={"a\x00": "b\ud800"}))
    assert changed.profile == {"a\ufffd": "b\ufffd"}


async def test_nobody_else_is_there(identity: IdentityAdmin) -> None:
    nobody = UserId(uuid4())
    for call in (
        lambda: identity.user(nobody),
        lambda: identity.change_user(nobody, UserChange(display_name="x")),
        lambda: identity.change_password(nobody, PASSWORD, PASSWORD),
        lambda: identity.set_password(nobody, PASSWORD),
        lambda: identity.offer_second_factor(nobody),
        lambda: identity.confirm_second_factor(nobody, "123456"),
        lambda: identity.drop_second_factor(nobody, PASSWORD),
        lambda: identity.reset_second_factor(nobody),
        lambda: identity.create_key(nobody, "laptop"),
        lambda: identity.revoke_key(nobody, uuid4()),
        lambda: identity.set_role(nobody, "admin"),
        lambda: identity.set_role(nobody, "user"),
        lambda: identity.set_active(nobody, False),
        lambda: identity.set_active(nobody, True),
    ):
        with pytest.raises(NotFound):
            await call()
    assert await identity.keys(nobody) == []


# the second factor


async def test_a_second_factor_is_wanted_once_it_is_confirmed(
    identity: IdentityAdmin, ann: User, clock: Clock, database: Database
) -> None:
    offer = await identity.offer_second_factor(ann.id)
    await identity.login("ann", PASSWORD)
    with pytest.raises(SecondFactorNeeded):
        await identity.confirm_second_factor(
            ann.id, "000000" if code(offer.secret, clock) != "000000" else "1"
        )
    assert not (await identity.user(ann.id)).has_second_factor
    used = code(offer.secret, clock)
    await identity.confirm_second_factor(ann.id, used)
    assert (await identity.user(ann.id)).has_second_factor

    with pytest.raises(SecondFactorNeeded, match="a one-time code is needed"):
        await identity.login("ann", PASSWORD)
    with pytest.raises(WrongPassword):
        await identity.login("ann", "wrong", code=code(offer.secret, clock))
    with pytest.raises(SecondFactorNeeded, match="wrong"):
        await identity.login("ann", PASSWORD, code=used)
    clock.pass_by(seconds=60)
    fresh = code(offer.secret, clock)
    await identity.login("ann", PASSWORD, code=fresh)
    with pytest.raises(SecondFactorNeeded, match="wrong"):
        await identity.login("ann", PASSWORD, code=fresh)
    assert ("auth.code_failed", ann.id, {}) in await audited(database)


def code(secret: str, clock: Clock) -> str:
    return TOTP(secret).at(clock())


async def test_of_two_logins_at_once_with_one_code_one_succeeds(
    identity: IdentityAdmin, ann: User, clock: Clock
) -> None:
    offer = await identity.offer_second_factor(ann.id)
    await identity.confirm_second_factor(ann.id, code(offer.secret, clock))
    clock.pass_by(seconds=60)
    now = code(offer.secret, clock)
    found = await outcomes(*[lambda: identity.login("ann", PASSWORD, code=now) for _ in range(4)])
    assert sum(isinstance(outcome, SecondFactorNeeded) for outcome in found) == 3


async def test_codes_cannot_be_guessed(database: Database) -> None:
    async with people(database, AuthSettings(login_attempts=3)) as identity:
        user = await identity.register("ann", None, PASSWORD)
        await identity.offer_second_factor(user.id)
        for _ in range(3):
            with pytest.raises(SecondFactorNeeded):
                await identity.confirm_second_factor(user.id, "x")
        with pytest.raises(RateLimited):
            await identity.confirm_second_factor(user.id, "x")


async def test_asking_for_a_code_is_no_failure(identity: IdentityAdmin, ann: User, clock: Clock) -> None:
    offer = await identity.offer_second_factor(ann.id)
    await identity.confirm_second_factor(ann.id, code(offer.secret, clock))
    for _ in range(20):
        with pytest.raises(SecondFactorNeeded):
            await identity.login("ann", PASSWORD)


async def test_a_second_factor_is_dropped_with_the_password_or_by_an_admin(
    identity: IdentityAdmin, ann: User, clock: Clock
) -> None:
    for drop in (
        lambda: identity.drop_second_factor(ann.id, PASSWORD),
        lambda: identity.reset_second_factor(ann.id),
    ):
        offer = await identity.offer_second_factor(ann.id)
        await identity.confirm_second_factor(ann.id, code(offer.secret, clock))
        with pytest.raises(Conflict):
            await identity.offer_second_factor(ann.id)
        with pytest.raises(Conflict):
            await identity.confirm_second_factor(ann.id, code(offer.secret, clock))
        with pytest.raises(WrongPassword):
            await identity.drop_second_factor(ann.id, "wrong")
        await drop()
        await identity.login("ann", PASSWORD)


async def test_what_was_not_offered_cannot_be_confirmed(identity: IdentityAdmin, ann: User) -> None:
    with pytest.raises(Conflict, match="waits to be confirmed"):
        await identity.confirm_second_factor(ann.id, "123456")


# what admins may do


async def test_users_are_found_and_listed(identity: IdentityAdmin, ann: User) -> None:
    bob = await identity.create_user("bob")
    for name in ("ann", "ANN", "ann@example.com", str(ann.id), ann.id.hex):
        assert await identity.find_user(name) == ann
    for name in ("carol", "", str(uuid4()), "x" * 10_000_000, "\ud800", "%"):
        with pytest.raises(NotFound) as raised:
            await identity.find_user(name)
        assert len(str(raised.value)) < 400
    assert await identity.users() == [ann, bob]
    assert await identity.users(limit=1, offset=1) == [bob]
    assert await identity.users(limit=-1, offset=-1) == []
    assert await identity.count_users() == 2


async def test_a_closed_account_is_closed_at_once(identity: IdentityAdmin, ann: User) -> None:
    tokens = await identity.login("ann", PASSWORD)
    _, key = await identity.create_key(ann.id, "laptop")
    for credential in (tokens.access, key):
        await identity.authenticate(credential)
    await identity.set_active(ann.id, False)
    assert not (await identity.user(ann.id)).is_active
    for credential in (tokens.access, key):
        with pytest.raises(AccountDisabled):
            await identity.authenticate(credential)
    with pytest.raises(AccountDisabled):
        await identity.refresh(tokens.refresh)
    with pytest.raises(AccountDisabled):
        await identity.login("ann", PASSWORD)
    with pytest.raises(WrongPassword):  # only whoever knows the password is told
        await identity.login("ann", "wrong")

    await identity.set_active(ann.id, True)
    with pytest.raises(InvalidToken):
        await identity.authenticate(tokens.access)
    assert (await identity.authenticate(key)).user_id == ann.id
    await identity.login("ann", PASSWORD)


async def test_a_role_is_in_force_at_once_and_is_not_read_from_the_token(
    identity: IdentityAdmin, ann: User
) -> None:
    await identity.create_user("root", role="admin")
    tokens = await identity.login("ann", PASSWORD)
    assert (await identity.authenticate(tokens.access)).role == "user"
    await identity.set_role(ann.id, "admin")
    caller = await identity.authenticate(tokens.access)
    assert (caller.role, caller.scopes) == ("admin", {"chat", "account", "admin"})
    await identity.set_role(ann.id, "user")
    caller = await identity.authenticate(tokens.access)
    assert (caller.role, caller.scopes) == ("user", {"chat", "account"})


async def test_the_last_active_admin_stays(identity: IdentityAdmin) -> None:
    first = await identity.create_user("first", role="admin")
    second = await identity.create_user("second", role="admin")
    await identity.set_active(second.id, False)
    for call in (
        lambda: identity.set_role(first.id, "user"),
        lambda: identity.set_active(first.id, False),
    ):
        with pytest.raises(Conflict, match="last active admin"):
            await call()
    await identity.set_role(first.id, "admin")
    await identity.set_role(second.id, "user")
    await identity.set_active(second.id, True)
    await identity.set_role(second.id, "admin")
    await identity.set_role(first.id, "user")


async def test_two_admins_cannot_close_each_other(database: Database) -> None:
    async with people(database) as one, people(database) as other:
        first = await one.create_user("first", role="admin")
        second = await one.create_user("second", role="admin")
        found = await outcomes(
            lambda: one.set_active(first.id, False),
            lambda: other.set_role(second.id, "user"),
            lambda: one.set_role(first.id, "user"),
            lambda: other.set_active(second.id, False),
        )
        assert any(isinstance(outcome, Conflict) for outcome in found)
        admins = [user for user in await one.users() if user.role == "admin" and user.is_active]
        assert len(admins) == 1


async def test_an_installation_without_an_admin_gets_one_once(database: Database) -> None:
    async with people(database) as one, people(database) as other:
        await one.create_user("admin")
        found = await outcomes(*[identity.first_admin for identity in (one, other, one, other)])
        (made,) = [outcome for outcome in found if isinstance(outcome, tuple)]
        user, key = made
        assert (user.username, user.role) == ("admin2", "admin")
        caller = await other.authenticate(key)
        assert (caller.user_id, caller.scopes) == (user.id, {"chat", "account", "admin"})
        with pytest.raises(WrongPassword):
            await one.login("admin2", "")
        assert await one.first_admin() is None


async def test_an_installation_whose_admin_is_closed_gets_another(
    identity: IdentityAdmin, database: Database
) -> None:
    made = await identity.first_admin()
    assert made is not None
    assert made[0].username == "admin"
    await database.write(lambda c: c.execute(users.update().values(status="disabled")))
    again = await identity.first_admin()
    assert again is not None
    assert again[0].username == "admin2"
