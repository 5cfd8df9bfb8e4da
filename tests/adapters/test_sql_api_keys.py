from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from cozy.adapters.sql_api_keys import TOUCH, is_key
from cozy.errors import Forbidden, InvalidRequest, InvalidToken, NotFound
from cozy.ports.identity import ApiKey, IdentityAdmin, User
from cozy.storage.database import Database
from cozy.storage.schema import metadata, utc_now
from cozy.storage.tables import api_keys
from tests.adapters.people import Clock, people


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def identity(database: Database, clock: Clock) -> AsyncIterator[IdentityAdmin]:
    async with people(database, clock=clock) as identity:
        yield identity


@pytest.fixture
async def ann(identity: IdentityAdmin) -> User:
    return await identity.create_user("ann")


async def reason(identity: IdentityAdmin, key: str) -> str:
    with pytest.raises(InvalidToken) as raised:
        await identity.authenticate(key)
    return raised.value.reason


async def test_a_key_stands_for_its_user(identity: IdentityAdmin, ann: User) -> None:
    key, words = await identity.create_key(ann.id, " laptop ")
    assert re.fullmatch(r"cozy_[A-Za-z0-9_-]{43}", words)
    assert (key.name, key.scopes, key.revoked_at, key.expires_at) == (
        "laptop",
        ("chat", "account"),
        None,
        None,
    )
    assert words.startswith(key.prefix)
    assert len(key.prefix) == 12
    caller = await identity.authenticate(words)
    assert (caller.user_id, caller.username, caller.role) == (ann.id, "ann", "user")
    assert (caller.scopes, caller.key_id, caller.family) == ({"chat", "account"}, key.id, None)


async def test_the_words_of_a_key_are_nowhere(identity: IdentityAdmin, ann: User, database: Database) -> None:
    key, words = await identity.create_key(ann.id, "laptop")
    secret = words.removeprefix(key.prefix)
    for table in metadata.sorted_tables:
        rows = await database.read(lambda c, t=table: c.execute(select(t)).all())
        assert secret not in repr([tuple(row) for row in rows]), table.name
    assert secret not in repr(await identity.keys(ann.id))


async def test_keys_are_listed_newest_first_and_only_ones_own(identity: IdentityAdmin, ann: User) -> None:
    bob = await identity.create_user("bob")
    made = [(await identity.create_key(ann.id, f"key {n}"))[0] for n in range(3)]
    other, _ = await identity.create_key(bob.id, "bob's")
    await identity.revoke_key(ann.id, made[1].id)
    listed = await identity.keys(ann.id)
    assert [key.name for key in listed] == ["key 2", "key 1", "key 0"]
    assert [key.revoked_at is not None for key in listed] == [False, True, False]
    assert await identity.keys(bob.id) == [other]


async def test_a_revoked_key_is_refused_at_once_and_others_are_not(
    identity: IdentityAdmin, ann: User
) -> None:
    bob = await identity.create_user("bob")
    key, words = await identity.create_key(ann.id, "laptop")
    _, other = await identity.create_key(ann.id, "phone")
    await identity.authenticate(words)
    for user_id, key_id in ((bob.id, key.id), (ann.id, uuid4())):
        with pytest.raises(NotFound):
            await identity.revoke_key(user_id, key_id)
    await identity.authenticate(words)
    await identity.revoke_key(ann.id, key.id)
    assert await reason(identity, words) == "revoked"
    await identity.authenticate(other)
    revoked_at = (await identity.keys(ann.id))[1].revoked_at
    await identity.revoke_key(ann.id, key.id)
    assert (await identity.keys(ann.id))[1].revoked_at == revoked_at is not None


async def test_a_key_ends_when_it_was_said_to(identity: IdentityAdmin, ann: User, clock: Clock) -> None:
    until = utc_now() + timedelta(seconds=30)
    key, words = await identity.create_key(ann.id, "short", expires_at=until)
    assert key.expires_at == until
    clock.pass_by(seconds=29)
    await identity.authenticate(words)
    clock.pass_by(seconds=1)
    await anyio.sleep(1)  # what is kept of it ends with it
    assert await reason(identity, words) == "expired"
    for wrong in (utc_now(), until.replace(tzinfo=None), "tomorrow", 5):
        with pytest.raises(InvalidRequest) as raised:
            await identity.create_key(ann.id, "short", expires_at=wrong)  # type: ignore[arg-type]
        assert raised.value.param == "expires_at"


async def test_a_key_may_do_what_it_was_made_for_and_no_more_than_its_user(
    identity: IdentityAdmin, ann: User
) -> None:
    await identity.create_user("root", role="admin")
    _, chat = await identity.create_key(ann.id, "chat only", scopes=["chat"])
    assert (await identity.authenticate(chat)).scopes == {"chat"}
    with pytest.raises(Forbidden, match="`admin`"):
        await identity.create_key(ann.id, "more", scopes=["chat", "admin"])
    await identity.set_role(ann.id, "admin")
    _, admin = await identity.create_key(ann.id, "more", scopes=["chat", "admin"])
    assert (await identity.authenticate(admin)).scopes == {"chat", "admin"}
    assert (await identity.authenticate(chat)).scopes == {"chat"}
    await identity.set_role(ann.id, "user")
    assert (await identity.authenticate(admin)).scopes == {"chat"}


@pytest.mark.parametrize(
    ("name", "scopes", "param"),
    [
        ("", ["chat"], "name"),
        ("a\nb", ["chat"], "name"),
        (None, ["chat"], "name"),
        ("x" * 10_000_000, ["chat"], "name"),
        ("ok", [], "scopes"),
        ("ok", ["root"], "scopes"),
        ("ok", "chat", "scopes"),
        ("ok", None, "scopes"),
    ],
    ids=lambda value: repr(value)[:16],
)
async def test_a_key_that_cannot_be_is_refused(
    identity: IdentityAdmin, ann: User, name: Any, scopes: Any, param: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await identity.create_key(ann.id, name, scopes=scopes)
    assert raised.value.param == param
    assert await identity.keys(ann.id) == []


@pytest.mark.parametrize(
    "change",
    [str.upper, str.lower, lambda k: k[:-1], lambda k: k + "A", lambda k: k + "\n", lambda k: k[:-1] + "é"],
    ids=range(6),
)
async def test_a_key_that_is_not_exactly_so_is_unknown(
    identity: IdentityAdmin, ann: User, change: Any
) -> None:
    _, words = await identity.create_key(ann.id, "laptop")
    assert await reason(identity, change(words)) in ("unknown", "malformed")
    assert await reason(identity, "cozy_" + "A" * 43) == "unknown"
    assert await reason(identity, "cozy_") == "unknown"
    assert await reason(identity, "cozy_' OR 1=1 --") == "unknown"
    await identity.authenticate(words)


async def test_the_last_use_is_noted_now_and_then_and_never_waited_for(
    database: Database, clock: Clock
) -> None:
    async with people(database, clock=clock) as identity:
        user = await identity.create_user("ann")
        key, words = await identity.create_key(user.id, "laptop")
        assert key.last_used_at is None
        await identity.authenticate(words)
    first = await used_at(database, key)
    assert first is not None
    for seconds, is_noted in ((TOUCH.total_seconds() / 2, False), (TOUCH.total_seconds(), True)):
        clock.pass_by(seconds=seconds)
        async with people(database, clock=clock) as identity:
            await identity.authenticate(words)
        assert (await used_at(database, key) != first) is is_noted


async def used_at(database: Database, key: ApiKey) -> Any:
    statement = select(api_keys.c.last_used_at).where(api_keys.c.id == key.id)
    return await database.read(lambda c: c.execute(statement).scalar_one())


@given(st.text())
def test_only_what_begins_as_a_key_is_taken_for_one(text: str) -> None:
    assert is_key("cozy_" + text)
    assert is_key(text) is text.startswith("cozy_")
