from __future__ import annotations

from uuid import UUID

import anyio
import pytest

from cozy.adapters import caller_cache as module
from cozy.adapters.caller_cache import CallerCache
from cozy.errors import InvalidToken
from cozy.ports.identity import Caller
from cozy.turn import UserId

HOUR_S = 3600.0


def caller(number: int = 1) -> Caller:
    return Caller(UserId(UUID(int=number)), f"user{number}", "user", frozenset({"chat"}))


class Reader:
    """Looks credentials up, and counts how often."""

    def __init__(self, good_s: float = HOUR_S) -> None:
        self.good_s = good_s
        self.reads: list[str] = []
        self.gate = anyio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, credential: str) -> tuple[Caller, float]:
        self.reads.append(credential)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return caller(int(credential)), self.good_s


async def test_a_credential_is_read_once_while_it_is_fresh() -> None:
    cache, read = CallerCache(), Reader()
    for _ in range(5):
        assert await cache.find("1", read) == caller(1)
        assert await cache.find("2", read) == caller(2)
    assert read.reads == ["1", "2"]


@pytest.mark.parametrize(("fresh_s", "good_s"), [(0.0, HOUR_S), (HOUR_S, 0.0), (HOUR_S, -5.0)])
async def test_nothing_is_kept_beyond_its_time(fresh_s: float, good_s: float) -> None:
    cache, read = CallerCache(fresh_s=fresh_s), Reader(good_s)
    await cache.find("1", read)
    await cache.find("1", read)
    assert read.reads == ["1", "1"]


async def test_many_at_once_share_one_reading() -> None:
    cache, read = CallerCache(), Reader()
    read.gate = anyio.Event()
    found: list[Caller] = []

    async def find() -> None:
        found.append(await cache.find("1", read))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(find)
        await anyio.wait_all_tasks_blocked()
        read.gate.set()
    assert found == [caller()] * 50
    assert read.reads == ["1"]


async def test_many_at_once_share_one_refusal_which_is_not_kept() -> None:
    cache, read = CallerCache(), Reader()
    read.gate, read.error = anyio.Event(), InvalidToken("revoked")
    refused = 0

    async def find() -> None:
        nonlocal refused
        with pytest.raises(InvalidToken):
            await cache.find("1", read)
        refused += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(find)
        await anyio.wait_all_tasks_blocked()
        read.gate.set()
    assert (refused, read.reads) == (50, ["1"])
    read.error = None
    assert await cache.find("1", read) == caller()


async def test_one_who_leaves_while_reading_takes_nobody_along() -> None:
    cache, read = CallerCache(), Reader()
    read.gate = anyio.Event()
    found: list[Caller] = []

    async def find() -> None:
        found.append(await cache.find("1", read))

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as leaving:
            async with anyio.create_task_group() as first:
                first.start_soon(find)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(find)
                await anyio.wait_all_tasks_blocked()
                leaving.cancel()
        read.gate.set()
    assert found == [caller()]
    assert read.reads == ["1", "1"]


async def test_what_is_dropped_is_read_again_and_nothing_else() -> None:
    cache, read = CallerCache(), Reader()
    for credential in ("1", "2"):
        await cache.find(credential, read)
    cache.drop(UserId(UUID(int=1)))
    for credential in ("1", "2"):
        await cache.find(credential, read)
    assert read.reads == ["1", "2", "1"]
    cache.drop()
    await cache.find("2", read)
    assert read.reads == ["1", "2", "1", "2"]


async def test_what_was_being_read_when_it_was_dropped_is_not_kept() -> None:
    cache, read = CallerCache(), Reader()
    read.gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cache.find, "1", read)
        await anyio.wait_all_tasks_blocked()
        cache.drop(UserId(UUID(int=1)))
        read.gate.set()
    await cache.find("1", read)
    assert read.reads == ["1", "1"]


async def test_no_more_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    cache, read = CallerCache(), Reader()
    for number in range(1, 100):
        await cache.find(str(number), read)
        assert len(cache._known) <= 10


async def test_no_credential_is_kept_as_it_is() -> None:
    cache, read = CallerCache(), Reader()
    await cache.find("123456789", read)
    assert "123456789" not in repr(vars(cache)).replace("user123456789", "")
