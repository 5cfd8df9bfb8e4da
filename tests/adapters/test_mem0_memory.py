"""What is Mem0's own: two wires, a queue on the hosted one, and nobody else's memories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from cozy.adapters.mem0_memory import TURN, Mem0Memories, Mem0PlatformMemories
from cozy.adapters.sql_store import SqlStore
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
    NotFound,
)
from cozy.storage.database import Database, open_database
from cozy.turn import UserId
from tests.adapters.teaching import exchange
from tests.engines import opened
from tests.engines.fake_mem0 import (
    STRANGERS_SECRET,
    FakeMem0,
    FakeMem0Platform,
    fake_mem0,
    fake_mem0_platform,
)
from tests.engines.server import Reply

Adapter = Mem0Memories | Mem0PlatformMemories


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        yield database


@pytest.fixture
async def ada(database: Database) -> UserId:
    return await SqlStore(database).user("ada")


@pytest.fixture
async def mem0() -> AsyncIterator[FakeMem0]:
    async with fake_mem0() as fake:
        yield fake


@pytest.fixture
async def platform() -> AsyncIterator[FakeMem0Platform]:
    async with fake_mem0_platform() as fake:
        yield fake


@pytest.fixture
async def memories(mem0: FakeMem0, database: Database) -> AsyncIterator[Adapter]:
    async with opened.mem0(mem0, database) as memories:
        yield memories


@pytest.fixture
async def hosted(platform: FakeMem0Platform, database: Database) -> AsyncIterator[Adapter]:
    async with opened.mem0(platform, database, "mem0_platform") as memories:
        yield memories


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("provider_auth_failed", EngineUnavailable),
        ("provider_rate_limited", EngineRateLimited),
        ("provider_timeout", EngineTimeout),
        ("provider_unavailable", EngineUnavailable),
        ("provider_bad_request", EngineInvalidRequest),
        ("datastore_unavailable", EngineUnavailable),
        ("vector_store_unavailable", EngineUnavailable),
        ("unknown", EngineUnavailable),
    ],
)
async def test_what_failed_behind_the_server_has_a_class(
    mem0: FakeMem0, memories: Adapter, ada: UserId, code: str, kind: type[EngineError]
) -> None:
    mem0.behind = code
    with pytest.raises(EngineError) as caught:
        await memories.search("tea", user_id=ada, top_k=3)
    assert type(caught.value) is kind
    assert "behind it" in caught.value.message
    assert "10.1.2.3" not in str(caught.value)


async def test_the_servers_are_up(
    mem0: FakeMem0, platform: FakeMem0Platform, memories: Adapter, hosted: Adapter
) -> None:
    await memories.check()
    await hosted.check()
    for fake, adapter in ((mem0, memories), (platform, hosted)):
        await fake.be("500")
        with pytest.raises(EngineUnavailable):
            await adapter.check()


async def test_ids_are_where_each_wire_looks_for_them(
    mem0: FakeMem0, platform: FakeMem0Platform, memories: Adapter, hosted: Adapter, ada: UserId
) -> None:
    await memories.search("tea", user_id=ada, top_k=3)
    await hosted.search("tea", user_id=ada, top_k=3)
    own, theirs = mem0.requests[-1], platform.requests[-1]
    assert own.json["filters"] == theirs.json["filters"] == {"user_id": str(ada)}
    assert own.json["user_id"] == str(ada)
    assert "user_id" not in theirs.json
    assert (own.path, theirs.path) == ("/search", "/v3/memories/search/")


async def test_nothing_of_somebody_else_is_given_or_touched(
    mem0: FakeMem0, platform: FakeMem0Platform, memories: Adapter, hosted: Adapter, ada: UserId
) -> None:
    for fake, adapter in ((mem0, memories), (platform, hosted)):
        item = await adapter.add(ada, "The user likes tea")
        await fake.be("another_user")
        for call in (adapter.search("tea", user_id=ada, top_k=3), adapter.items(ada), adapter.forget(ada)):
            with pytest.raises(EngineUnavailable, match="not this user's") as caught:
                await call
            assert STRANGERS_SECRET not in str(caught.value)
        for change in (adapter.edit(ada, item.id, "x y"), adapter.forget(ada, item.id)):
            with pytest.raises(NotFound):
                await change
        assert [memory.text for memory in fake.memories.values()] == ["The user likes tea"]


async def test_what_was_sent_and_not_answered_is_not_sent_again(
    mem0: FakeMem0, memories: Adapter, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    await mem0.be("cut", only="/memories")
    with pytest.raises(EngineUnavailable):
        await memories.learn(told)
    await mem0.be("well")
    assert await memories.learn(told) == 0
    assert mem0.asked["POST /memories"] == 1
    (memory,) = mem0.memories.values()
    assert memory.metadata == {TURN: str(told.turn_id)}


async def test_what_never_came_there_is_sent_again(mem0: FakeMem0, memories: Adapter, ada: UserId) -> None:
    told = exchange(ada, "I like tea")
    await mem0.be("500")
    with pytest.raises(EngineUnavailable):
        await memories.learn(told)
    await mem0.be("well")
    assert await memories.learn(told) == 1


async def test_an_account_that_is_no_admin_forgets_one_by_one(
    mem0: FakeMem0, database: Database, ada: UserId
) -> None:
    for text in ("tea", "rain", "cats"):
        mem0.keep(str(ada), text)
    async with opened.mem0(mem0, database, **opened.ACCOUNT) as memories:
        assert await memories.forget(ada) == 3
    assert not mem0.memories


async def test_what_an_account_may_not_forget_is_told(
    mem0: FakeMem0, database: Database, ada: UserId
) -> None:
    mem0.keep(str(ada), "tea")
    await mem0.be("403", only="/memories/")
    async with opened.mem0(mem0, database, **opened.ACCOUNT) as memories:
        with pytest.raises(EngineAuthError):
            await memories.forget(ada)


async def test_what_somebody_else_forgot_meanwhile_is_not_there(
    mem0: FakeMem0, memories: Adapter, ada: UserId
) -> None:
    tea = mem0.keep(str(ada), "tea")
    mem0.says[f"DELETE /memories/{tea.id}"] = Reply(b'{"detail":"Memory not found"}', 404)
    with pytest.raises(NotFound):
        await memories.forget(ada, tea.id)


async def test_an_old_build_without_accounts_is_up_and_a_web_page_is_none(
    mem0: FakeMem0, memories: Adapter
) -> None:
    mem0.says["/auth/setup-status"] = Reply(b'{"detail":"Not Found"}', 404)
    await memories.check()
    mem0.says["/auth/setup-status"] = Reply(b"<html>not here</html>", 404)
    with pytest.raises(EngineInvalidRequest):
        await memories.check()


async def test_learning_ends_when_it_can_be_found(
    platform: FakeMem0Platform, hosted: Adapter, ada: UserId
) -> None:
    platform.looks = 3
    assert await hosted.learn(exchange(ada, "I like tea")) == 1
    assert platform.asked["GET /v1/event/{id}/"] == 4
    (found,) = await hosted.search("tea", user_id=ada, top_k=3)
    assert found.text == "I like tea"


@pytest.mark.parametrize("told", ['{"status":"SUCCEEDED","results":null}', '{"status":"SUCCEEDED"}'])
async def test_what_is_done_and_has_brought_nothing_is_done(
    platform: FakeMem0Platform, hosted: Adapter, ada: UserId, told: str
) -> None:
    event = "00000000-0000-4000-8000-00000000e7e7"
    platform.says["/add/"] = Reply(f'{{"event_id":"{event}","status":"PENDING"}}'.encode())
    platform.says[f"/event/{event}/"] = Reply(told.encode())
    assert await hosted.learn(exchange(ada, "I like tea")) == 0


async def test_what_waits_too_long_is_asked_for_again_and_not_sent_again(
    platform: FakeMem0Platform, hosted: Adapter, database: Database, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    platform.looks = 1000
    async with opened.mem0(platform, database, "mem0_platform", learn_timeout_s=1.5) as hasty:
        with pytest.raises(EngineTimeout, match=r"within 1\.5 s"):
            await hasty.learn(told)
    (left, _, _) = next(iter(platform._events.values()))
    left[0] = 0
    await hosted.learn(told)
    assert platform.asked["POST /v3/memories/add/"] == 1
    assert len(platform.memories) == 1


async def test_what_failed_in_the_queue_is_sent_anew(
    platform: FakeMem0Platform, hosted: Adapter, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    platform.fails = True
    with pytest.raises(EngineUnavailable, match="FAILED"):
        await hosted.learn(told)
    platform.fails = False
    assert await hosted.learn(told) == 1
    assert platform.asked["POST /v3/memories/add/"] == 2


async def test_a_ticket_that_is_no_longer_known_is_looked_for_among_the_memories(
    platform: FakeMem0Platform, hosted: Adapter, database: Database, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    platform.looks = 1000
    async with opened.mem0(platform, database, "mem0_platform", learn_timeout_s=1.5) as hasty:
        with pytest.raises(EngineTimeout):
            await hasty.learn(told)
    platform.keep(str(ada), "The user likes tea", {TURN: str(told.turn_id)})
    platform._events.clear()
    with pytest.raises(EngineUnavailable, match="forgotten"):
        await hosted.learn(told)
    assert await hosted.learn(told) == 0
    assert platform.asked["POST /v3/memories/add/"] == 1


async def test_a_quota_that_is_used_up_is_no_fault_of_what_was_sent(
    platform: FakeMem0Platform, hosted: Adapter, ada: UserId
) -> None:
    platform.says["/add/"] = Reply(b'{"detail":"Memory quota exceeded"}', 413)
    with pytest.raises(EngineAuthError, match="quota"):
        await hosted.learn(exchange(ada, "I like tea"))


async def test_what_is_added_or_forgotten_in_the_queue_is_waited_for(
    platform: FakeMem0Platform, hosted: Adapter, ada: UserId
) -> None:
    platform.looks = 2
    for count, work in ((3, hosted.add(ada, "The user likes tea")), (6, hosted.forget(ada))):
        await work
        assert platform.asked["GET /v1/event/{id}/"] == count
    platform.fails = True
    for work in (hosted.add(ada, "The user likes rain"), hosted.forget(ada)):
        with pytest.raises(EngineUnavailable, match="FAILED"):
            await work


async def test_pages_are_read_to_the_last(platform: FakeMem0Platform, hosted: Adapter, ada: UserId) -> None:
    for place in range(250):
        platform.keep(str(ada), f"thing {place}")
        platform.keep(str(uuid4()), f"another's {place}")
    items = await hosted.items(ada)
    assert [item.text for item in items[:2]] == ["thing 249", "thing 248"]
    assert len(items) == 250
    assert platform.asked["POST /v3/memories/"] == 3


async def test_bare_lists_are_read_too(platform: FakeMem0Platform, hosted: Adapter, ada: UserId) -> None:
    platform.arrays = True
    platform.keep(str(ada), "I like tea")
    assert len(await hosted.items(ada)) == len(await hosted.search("tea", user_id=ada, top_k=3)) == 1
