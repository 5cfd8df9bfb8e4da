"""Several processes of one installation, with Redis and without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic, thread_time
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis

from cozy.adapters.caller_cache import FRESH_S
from cozy.errors import AuthError, ConfigError, InvalidToken, NotFound, StorageError
from cozy.ports.identity import IdentityAdmin
from cozy.settings import RedisSettings
from cozy.storage.database import Database, open_database
from tests.adapters.people import PASSWORD, people
from tests.redis_server import own_redis

BOUND_S = 20.0


@pytest.fixture
def redis(redis_url: str, redis_prefix: str) -> RedisSettings:
    return RedisSettings(url=redis_url, prefix=redis_prefix)


async def until_refused(identity: IdentityAdmin, credential: str) -> None:
    """Wait until a process that knows a credential refuses it."""
    with anyio.fail_after(BOUND_S):
        while True:
            try:
                await identity.authenticate(credential)
            except AuthError:
                return
            await anyio.sleep(0.02)


async def heard(redis: RedisSettings, listeners: int) -> None:
    """Wait until so many processes listen."""
    client = Redis.from_url(redis.url)
    channel = f"{redis.prefix}:identity"
    with anyio.fail_after(BOUND_S):
        while dict(await client.pubsub_numsub(channel)).get(channel.encode(), 0) < listeners:
            await anyio.sleep(0.02)
    await client.aclose()


async def credential_for(identity: IdentityAdmin, change: str) -> tuple[str, Callable[[], Awaitable[object]]]:
    """A credential, and what ends it."""
    user = await identity.create_user("ann", password=PASSWORD)
    await identity.create_user("root", role="admin")
    key, words = await identity.create_key(user.id, "laptop")
    if change == "key":
        return words, lambda: identity.revoke_key(user.id, key.id)
    tokens = await identity.login("ann", PASSWORD)
    caller = await identity.authenticate(tokens.access)
    ends: dict[str, Callable[[], Awaitable[object]]] = {
        "logout": lambda: identity.logout(caller),
        "closed": lambda: identity.set_active(user.id, False),
        "password": lambda: identity.set_password(user.id, "another one"),
    }
    return tokens.access, ends[change]


@pytest.mark.parametrize("change", ["logout", "closed", "password", "key"])
async def test_what_one_process_revokes_the_others_refuse_soon(database: Database, change: str) -> None:
    async with people(database) as here, people(database) as there:
        assert there._callers._fresh_s == FRESH_S == 2  # type: ignore[attr-defined]
        there._callers._fresh_s = 0.2  # type: ignore[attr-defined]
        credential, end = await credential_for(here, change)
        await there.authenticate(credential)
        await end()
        with pytest.raises(AuthError):
            await here.authenticate(credential)
        await until_refused(there, credential)


@pytest.mark.parametrize("change", ["logout", "closed", "password", "key"])
async def test_with_redis_they_refuse_it_at_once(
    database: Database, redis: RedisSettings, change: str
) -> None:
    async with people(database, redis=redis) as here, people(database, redis=redis) as there:
        await heard(redis, 2)
        there._callers._fresh_s = 3600  # type: ignore[attr-defined]
        credential, end = await credential_for(here, change)
        await there.authenticate(credential)
        await end()
        await until_refused(there, credential)


async def test_what_is_revoked_by_one_who_leaves_at_once_is_told_too(
    sqlite_url: str, redis: RedisSettings
) -> None:
    async with open_database(sqlite_url) as database, people(database, redis=redis) as there:
        await heard(redis, 1)
        there._callers._fresh_s = 3600  # type: ignore[attr-defined]
        async with people(database) as here:
            credential, _ = await credential_for(here, "key")
        caller = await there.authenticate(credential)
        assert caller.key_id is not None
        async with people(database, redis=redis) as command_line:
            await command_line.revoke_key(caller.user_id, caller.key_id)
        await until_refused(there, credential)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://nowhere.invalid:6379/0"])
async def test_where_redis_is_away_nothing_is_broken_or_slow(sqlite_url: str, url: str) -> None:
    async with open_database(sqlite_url) as database, people(database, redis=RedisSettings(url=url)) as here:
        credential, end = await credential_for(here, "logout")
        began = monotonic()
        await end()
        assert monotonic() - began < 5
        with pytest.raises(AuthError):
            await here.authenticate(credential)


async def test_messages_of_others_on_the_channel_do_no_harm(sqlite_url: str, redis: RedisSettings) -> None:
    async with open_database(sqlite_url) as database, people(database, redis=redis) as identity:
        await heard(redis, 1)
        user = await identity.create_user("ann")
        _, words = await identity.create_key(user.id, "laptop")
        client = Redis.from_url(redis.url)
        for message in (b"", b"x" * 100_000, b"\xff\xfe", b"not-an-id", uuid4().hex.encode()):
            await client.publish(f"{redis.prefix}:identity", message)
        await client.aclose()
        await identity.authenticate(words)


async def test_a_listener_that_was_cut_off_comes_back_and_looks_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    with own_redis(tmp_path) as server:
        redis = RedisSettings(url=server.url)
        async with open_database(sqlite_url) as database, people(database, redis=redis) as identity:
            await heard(redis, 1)
            cache = identity._callers  # type: ignore[attr-defined]
            for _ in range(2):
                drops = cache._drops
                server.stop()
                server.start()
                await heard(redis, 1)
                with anyio.fail_after(BOUND_S):
                    while cache._drops == drops:
                        await anyio.sleep(0.02)


async def test_an_address_that_is_none_stops_the_start(sqlite_url: str) -> None:
    async with open_database(sqlite_url) as database:
        with pytest.raises(ConfigError, match=r"redis\.url"):
            async with people(database, redis=RedisSettings(url="redis://h:port/0")):
                pass


async def test_the_blocks_own_error_comes_out_as_it_is(sqlite_url: str, redis: RedisSettings) -> None:
    async with open_database(sqlite_url) as database:
        with pytest.raises(NotFound):
            async with people(database, redis=redis) as identity:
                await identity.find_user("nobody")


@pytest.mark.parametrize("kind", ["token", "key"])
async def test_one_who_was_seen_a_moment_ago_costs_no_read(sqlite_url: str, kind: str) -> None:
    async with open_database(sqlite_url) as database, people(database) as identity:
        token, _ = await credential_for(identity, "key" if kind == "key" else "logout")
        await identity.authenticate(token)
        identity._callers._fresh_s = 3600  # type: ignore[attr-defined]
        identity._callers.drop()  # type: ignore[attr-defined]
        first = await identity.authenticate(token)
        identity._read_caller = None  # type: ignore[attr-defined]
        rounds = 2000
        began = thread_time()  # whoever else is at work has no part in it
        for _ in range(rounds):
            assert await identity.authenticate(token) is first
        assert (thread_time() - began) / rounds < 500e-6


async def test_where_the_database_is_away_it_says_so(sqlite_url: str) -> None:
    async with open_database(sqlite_url) as database:
        pass
    async with people(database) as identity:
        for call in (
            lambda: identity.authenticate("cozy_" + "A" * 43),
            lambda: identity.login("ann", PASSWORD),
            lambda: identity.register("ann", None, PASSWORD),
            identity.users,
            identity.rotate_signing_key,
        ):
            with pytest.raises(StorageError):
                await call()
        with pytest.raises(InvalidToken):
            await identity.authenticate("x")
