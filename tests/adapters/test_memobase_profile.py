"""What is Memobase's own: errors under HTTP 200, users that have to be made, writes that are done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid5

import anyio
import pytest

from cozy.adapters.memobase_profile import NAMESPACE, MemobaseProfiles
from cozy.adapters.sql_store import SqlStore
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
)
from cozy.ports.memory import Exchange
from cozy.storage.database import Database, open_database
from cozy.turn import Message, TurnId, UserId
from tests.adapters.teaching import exchange
from tests.engines import opened
from tests.engines.fake_memobase import FakeMemobase, fake_memobase
from tests.engines.server import Reply


@pytest.fixture
async def memobase() -> AsyncIterator[FakeMemobase]:
    async with fake_memobase() as fake:
        yield fake


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        yield database


@pytest.fixture
async def ada(database: Database) -> UserId:
    return await SqlStore(database).user("ada")


@pytest.fixture
async def profiles(memobase: FakeMemobase, database: Database) -> AsyncIterator[MemobaseProfiles]:
    async with opened.memobase(memobase, database) as profiles:
        yield profiles


async def known(profiles: MemobaseProfiles, user_id: UserId) -> list[str]:
    return [fact.content for fact in await profiles.facts(user_id)]


def uid(user_id: UserId) -> str:
    return str(uuid5(NAMESPACE, str(user_id)))


def blobs_sent(memobase: FakeMemobase) -> int:
    return memobase.asked["POST /api/v1/blobs/insert/{id}"]


async def test_the_server_is_up(memobase: FakeMemobase, profiles: MemobaseProfiles) -> None:
    await profiles.check()
    assert "authorization" not in memobase.requests[0].headers
    await memobase.be("500")
    with pytest.raises(EngineUnavailable, match="Database not available"):
        await profiles.check()


@pytest.mark.parametrize(
    ("errno", "errmsg", "kind"),
    [
        (401, "Unauthorized access", EngineAuthError),
        (403, "Forbidden", EngineAuthError),
        (404, "User not found", EngineInvalidRequest),
        (400, "Invalid role", EngineInvalidRequest),
        (503, "LLM error", EngineUnavailable),
        (503, "Your project reaches Memobase token limit, Left: -2", EngineAuthError),
        (520, "cannot be parsed", EngineUnavailable),
        (500, "Sorry, we have encountered an unknown error", EngineUnavailable),
        (7, "", EngineUnavailable),
        (302, "", EngineUnavailable),
    ],
)
async def test_an_error_under_http_200_is_told_by_its_code(
    memobase: FakeMemobase,
    profiles: MemobaseProfiles,
    ada: UserId,
    errno: int,
    errmsg: str,
    kind: type[EngineError],
) -> None:
    memobase.errno = (errno, errmsg)
    with pytest.raises(EngineError) as caught:
        await profiles.facts(ada)
    assert type(caught.value) is kind


async def test_a_user_whom_somebody_else_has_just_made_is_taught_all_the_same(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = memobase._create
    monkeypatch.setattr(memobase, "_create", lambda key: [create(key), create(key)][1])
    assert await profiles.learn(exchange(ada, "I like tea")) == 1
    assert await known(profiles, ada) == ["I like tea"]


async def test_new_and_changed_facts_are_counted(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    batch = '{"event_id":"e","add_profiles":["a"],"update_profiles":["b","c"],"delete_profiles":["d"]}'
    flushed = f'{{"data":[{batch},{batch}],"errno":0,"errmsg":""}}'
    memobase.says[f"POST /api/v1/users/buffer/{uid(ada)}/chat"] = Reply(flushed.encode())
    assert await profiles.learn(exchange(ada, "I like tea")) == 6


async def test_a_user_is_made_when_there_is_something_to_tell(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    assert await known(profiles, ada) == []
    assert memobase.users == {}
    await profiles.learn(exchange(ada, "I like tea"))
    await profiles.learn(exchange(ada, "I like rain"))
    assert memobase.asked["POST /api/v1/users"] == 1
    (uid,) = memobase.users
    assert UUID(uid).version == 5
    assert await known(profiles, ada) == ["I like rain", "I like tea"]


async def test_only_what_user_and_assistant_said_is_sent(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    messages = (
        Message("system", "be nice"),
        Message("user", "我喜欢喝茶"),
        Message("tool", "42", tool_call_id="1"),
        Message("assistant", ""),
        Message("assistant", "好的"),
    )
    told = exchange(ada)
    await profiles.learn(
        Exchange(told.turn_id, ada, None, "default", "demo/demo", messages),
    )
    sent = [request for request in memobase.requests if "/insert/" in request.path][-1]
    assert [m["content"] for m in sent.json["blob_data"]["messages"]] == ["我喜欢喝茶", "好的"]
    assert "我喜欢喝茶".encode() in sent.body


@pytest.mark.parametrize("lost", ["/blobs/insert/", "/users/buffer/", "/api/v1/users"])
@pytest.mark.parametrize("overflows", [False, True], ids=["buffered", "processed at once"])
async def test_an_answer_that_is_lost_does_not_teach_twice(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId, lost: str, overflows: bool
) -> None:
    memobase.overflows = overflows
    if lost != "/api/v1/users":
        await profiles.learn(exchange(ada, "I like rain"))
    told = exchange(ada, "I like tea")
    memobase.loses_answers_to.add(lost)
    if not (overflows and lost == "/users/buffer/"):
        with pytest.raises(EngineTimeout):
            await profiles.learn(told)
    memobase.loses_answers_to.clear()
    await profiles.learn(told)
    assert await profiles.learn(told) == 0
    assert (await known(profiles, ada)).count("I like tea") == 1


async def test_a_turn_that_was_cut_off_before_it_was_sent_is_sent(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    await memobase.be("refused")
    with pytest.raises(EngineUnavailable):
        await profiles.learn(told)
    await memobase.be("hanging", only="/blobs/insert/")
    with anyio.move_on_after(0.1):
        await profiles.learn(told)
    await memobase.be("well")
    assert await profiles.learn(told) == 1
    assert await known(profiles, ada) == ["I like tea"]


async def test_a_batch_that_failed_there_is_sent_anew(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    memobase.model_is_down = True
    for _ in range(2):
        with pytest.raises(EngineUnavailable) as caught:
            await profiles.learn(told)
        assert "failed (503): LLM error: Error code: 401" in caught.value.message
        for word in ("sk-proj", "tea"):
            assert word not in str(caught.value)
    memobase.model_is_down = False
    assert await profiles.learn(told) == 1
    assert await known(profiles, ada) == ["I like tea"]


async def test_what_still_waits_behind_an_error_is_not_sent_again(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    flush = f"POST /api/v1/users/buffer/{uid(ada)}/chat"
    memobase.says[flush] = Reply(b'{"data":null,"errno":503,"errmsg":"busy"}')
    with pytest.raises(EngineUnavailable):
        await profiles.learn(told)
    del memobase.says[flush]
    sent = blobs_sent(memobase)
    assert await profiles.learn(told) == 1
    assert blobs_sent(memobase) == sent


async def test_a_batch_that_failed_behind_a_lost_answer_is_sent_anew(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    memobase.model_is_down = True
    memobase.loses_answers_to.add("/users/buffer/")
    with pytest.raises(EngineTimeout):
        await profiles.learn(told)
    memobase.model_is_down = False
    assert await profiles.learn(told) == 1
    assert await known(profiles, ada) == ["I like tea"]


async def test_what_is_being_processed_is_waited_for(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    await profiles.learn(exchange(ada, "I like rain"))
    told = exchange(ada, "I like tea")
    memobase.loses_answers_to.add("/blobs/insert/")
    with pytest.raises(EngineTimeout):
        await profiles.learn(told)
    (user,) = memobase.users.values()
    *_, entry = user.buffer
    sent = blobs_sent(memobase)
    user.buffer[entry] = (user.buffer[entry][0], "processing")
    before = len(memobase.requests)

    async def end() -> None:
        while len(memobase.requests) < before + 8:  # it has looked twice
            await anyio.sleep(0.01)
        user.buffer[entry] = (user.buffer[entry][0], "done")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        assert await profiles.learn(told) == 0
    assert blobs_sent(memobase) == sent


async def test_what_only_waits_in_the_buffer_need_not_wait_for_what_is_processed(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    await profiles.learn(exchange(ada, "I like rain"))
    (user,) = memobase.users.values()
    (rain,) = user.buffer
    user.buffer[rain] = (user.buffer[rain][0], "idle")
    told = exchange(ada, "I like tea")
    memobase.loses_answers_to.add("/blobs/insert/")
    with pytest.raises(EngineTimeout):
        await profiles.learn(told)
    user.buffer[rain] = (user.buffer[rain][0], "processing")
    sent = blobs_sent(memobase)
    with anyio.fail_after(5):
        assert await profiles.learn(told) == 1
    assert blobs_sent(memobase) == sent


async def test_how_long_to_wait_is_read_where_the_error_has_an_envelope(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    said = b'{"data":null,"errno":429,"errmsg":"Too many requests"}'
    memobase.says[f"/users/profile/{uid(ada)}"] = Reply(said, 429, {"retry-after": "7"})
    with pytest.raises(EngineRateLimited) as caught:
        await profiles.facts(ada)
    assert caught.value.retry_after_s == 7


async def test_what_is_processed_for_ever_is_given_up_in_time(
    memobase: FakeMemobase, profiles: MemobaseProfiles, database: Database, ada: UserId
) -> None:
    await profiles.learn(exchange(ada, "I like rain"))
    told = exchange(ada, "I like tea")
    memobase.loses_answers_to.add("/blobs/insert/")
    with pytest.raises(EngineTimeout):
        await profiles.learn(told)
    (user,) = memobase.users.values()
    user.buffer = {key: (blob, "processing") for key, (blob, _) in user.buffer.items()}
    async with opened.memobase(memobase, database, learn_timeout_s=0.3) as hasty:
        with pytest.raises(EngineTimeout, match=r"within 0\.3 s"):
            await hasty.learn(told)


async def test_forgetting_takes_the_user_away_and_telling_again_makes_one(
    memobase: FakeMemobase, profiles: MemobaseProfiles, ada: UserId
) -> None:
    await profiles.learn(exchange(ada, "I like tea"))
    assert await profiles.forget(ada) == 1
    assert memobase.users == {}
    assert await profiles.forget(ada) == 0
    await profiles.learn(exchange(ada, "I like rain", turn_id=TurnId(UUID(int=7))))
    assert await known(profiles, ada) == ["I like rain"]
