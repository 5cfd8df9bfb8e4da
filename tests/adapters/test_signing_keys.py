from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import anyio
import pytest
from sqlalchemy import select

from cozy.adapters.signing_keys import (
    PATIENCE_S,
    RELOAD_S,
    EnvironmentKeys,
    SqlSigningKeys,
    signing_keys_from,
)
from cozy.errors import ConfigError, Conflict
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import signing_keys
from tests.adapters.people import Clock

OLD, NEW = "o" * 32, "n=/+" * 8
LIFETIME_S = 3600.0


def sql_keys(database: Database, clock: Clock | None = None) -> SqlSigningKeys:
    return SqlSigningKeys(database, lifetime_s=LIFETIME_S, now=clock or Clock())


async def kept(database: Database) -> set[str]:
    return set(await database.read(lambda c: c.execute(select(signing_keys.c.kid)).scalars().all()))


async def test_the_first_of_the_environments_keys_signs_and_all_are_known(database: Database) -> None:
    keys = signing_keys_from({"COZY_JWT_KEYS": f"new={NEW}, old={OLD}"}, database, lifetime_s=LIFETIME_S)
    assert isinstance(keys, EnvironmentKeys)
    current = await keys.current()
    assert (current.id, current.secret) == ("new", NEW.encode())
    old = await keys.named("old")
    assert old is not None
    assert old.secret == OLD.encode()
    assert await keys.named("other") is None
    assert await kept(database) == set(), "the database has none then"
    with pytest.raises(Conflict, match="COZY_JWT_KEYS"):
        await keys.rotate()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (f"={OLD}", "entry 1 does not begin with an id"),
        (OLD, "entry 1 does not begin with an id"),
        (f"a={OLD},", "entry 2 does not begin with an id"),
        (f"../../x={OLD}", "entry 1 does not begin with an id"),
        (f"a b={OLD}", "entry 1 does not begin with an id"),
        (f"{'k' * 65}={OLD}", "entry 1 does not begin with an id"),
        (f"a={OLD},b=short-secret", "the secret of entry 2 has fewer than 32 bytes"),
        (f"a={OLD},a={NEW}", "the id of entry 2 is there twice"),
    ],
)
async def test_keys_that_cannot_be_are_refused_without_being_told(
    database: Database, written: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        signing_keys_from({"COZY_JWT_KEYS": written}, database, lifetime_s=LIFETIME_S)
    for secret in (OLD, NEW, "short-secret"):
        assert secret not in str(raised.value)


@pytest.mark.parametrize("environ", [{}, {"COZY_JWT_KEYS": ""}, {"COZY_JWT_KEYS": " "}])
async def test_without_any_the_database_has_one_made_at_first_use(
    database: Database, environ: dict[str, str]
) -> None:
    keys = signing_keys_from(environ, database, lifetime_s=LIFETIME_S)
    assert await kept(database) == set()
    current = await keys.current()
    assert await kept(database) == {current.id}
    assert len(current.secret) >= 32
    assert repr(current) == f"SigningKey(id='{current.id}')"
    assert await keys.current() == current


async def test_processes_that_start_at_once_share_the_first_key(database: Database) -> None:
    found: list[str] = []

    async def start() -> None:
        found.append((await sql_keys(database).current()).id)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(start)
    assert len(set(found)) == 1
    assert await kept(database) == set(found)


async def test_a_new_key_signs_and_the_old_one_is_known_on(database: Database) -> None:
    here, there = sql_keys(database), sql_keys(database)
    old = await here.current()
    assert await there.current() == old
    new_id = await here.rotate()
    assert (await here.current()).id == new_id != old.id
    assert await here.named(old.id) == old
    assert (await there.current()) == old, "it has not looked yet"
    new = await there.named(new_id)
    assert new == await here.current()
    assert (await there.current()) == new, "it has seen the new one by now"
    assert await there.named(old.id) == old


async def test_a_key_made_elsewhere_signs_here_after_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = sql_keys(database), sql_keys(database)
    await there.current()
    new_id = await here.rotate()
    there._loaded_at -= RELOAD_S + 1
    assert (await there.current()).id == new_id


async def test_the_newest_signs_whatever_the_clocks_say(database: Database) -> None:
    slow = Clock()
    slow.pass_by(minutes=-5)
    await sql_keys(database).current()
    new_id = await sql_keys(database, slow).rotate()
    assert (await sql_keys(database).current()).id == new_id


async def test_an_old_key_goes_when_its_last_token_must_have_ended(database: Database) -> None:
    clock = Clock()
    keys = sql_keys(database, clock)
    first = (await keys.current()).id
    clock.pass_by(days=300)
    second = await keys.rotate()
    assert await kept(database) == {first, second}, "it has signed until now"
    clock.pass_by(seconds=LIFETIME_S)
    third = await keys.rotate()
    assert await kept(database) == {first, second, third}, "another process may have signed for a minute more"
    clock.pass_by(seconds=RELOAD_S + 1)
    fourth = await keys.rotate()
    assert await kept(database) == {second, third, fourth}
    assert await keys.named(first) is None


async def test_unknown_ids_cost_one_read_a_second_however_many_come(database: Database) -> None:
    reads = 0

    class Counting:
        dialect = database.dialect
        write = database.write

        async def read(self, work: Callable[..., Any]) -> Any:
            nonlocal reads
            reads += 1
            return await database.read(work)

    keys = SqlSigningKeys(Counting(), lifetime_s=LIFETIME_S, now=utc_now)
    await keys.current()
    new_id = await sql_keys(database).rotate()
    reads = 0
    began = monotonic()
    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(keys.named, f"k{number}")
        # one that is there is found among them, not refused
        assert await keys.named(new_id) is not None
    assert reads <= 2
    assert monotonic() - began < 10 * PATIENCE_S


@pytest.mark.parametrize("key_id", ["", "../../etc/passwd", "k" * 10_000, "' OR 1=1 --", "\x00", "小明"])
async def test_what_cannot_be_an_id_is_not_looked_for(database: Database, key_id: str) -> None:
    keys = sql_keys(database)
    await keys.current()
    loaded = keys._loaded_at
    assert await keys.named(key_id) is None
    assert keys._loaded_at == loaded


async def test_rotations_at_once_are_each_kept(database: Database) -> None:
    made: list[str] = []

    async def rotate() -> None:
        made.append(await sql_keys(database).rotate())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(rotate)
    assert await kept(database) == set(made)
    moments = await database.read(lambda c: c.execute(select(signing_keys.c.created_at)).scalars().all())
    assert len(set(moments)) == 5
    assert all(moment - utc_now() < timedelta(seconds=1) for moment in moments)
