from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from uuid import UUID, uuid4, uuid5

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update

from cozy.adapters import sql_store as module
from cozy.adapters.sql_requests import SqlRequests
from cozy.adapters.sql_store import SqlStore
from cozy.errors import NotFound, StorageError
from cozy.ports.store import Job, Session, StoredMessage, TurnRecord, TurnStatus
from cozy.storage.database import Database, open_database
from cozy.storage.outbox import SqlOutbox
from cozy.storage.schema import storable, utc_now
from cozy.storage.tables import messages, sessions, turn_requests, users
from cozy.turn import Message, RequestMark, SessionId, ToolCall, TurnId, UserId
from tests.databases import plan_of

CALL = ToolCall("call_1", "current_time", '{"timezone": "Asia/Shanghai"}')


@pytest.fixture
async def store(database: Database) -> SqlStore:
    return SqlStore(database)


@pytest.fixture
async def ada(store: SqlStore) -> UserId:
    return await store.user("ada")


@pytest.fixture
async def session(store: SqlStore, ada: UserId) -> Session:
    return await store.create_session(ada, "default")


def turn(
    session: Session,
    *said: Message | str,
    turn_id: TurnId | None = None,
    status: TurnStatus = "complete",
    tokens: int = 10,
    metadata: dict[str, object] | None = None,
    jobs: tuple[Job, ...] = (),
    retry_of: TurnId | None = None,
) -> TurnRecord:
    """What a turn leaves in `session`; a plain string is the user's, the next the assistant's."""
    roles = ("user", "assistant")
    spoken = [m if isinstance(m, Message) else Message(roles[n % 2], m) for n, m in enumerate(said)]
    return TurnRecord(
        turn_id or TurnId(uuid4()),
        session.user_id,
        session.id,
        session.personality_id,
        tuple(spoken),
        status,
        tokens,
        metadata or {},
        jobs,
        retry_of,
    )


async def texts(
    store: SqlStore, session: Session, limit: int = 20, without: TurnId | None = None
) -> list[str]:
    history = await store.history(session.user_id, session.id, limit=limit, without=without)
    return [message.content for message in history]


async def rows(store: SqlStore, session: Session) -> list[StoredMessage]:
    return list(await store.messages(session.user_id, session.id))


# users and sessions


async def test_a_user_is_made_on_first_sight_and_found_after(store: SqlStore) -> None:
    first = await store.user("小明")
    assert await store.user("小明") == first
    assert await store.user("小红") != first


@pytest.mark.parametrize(
    ("said", "again"),
    [
        pytest.param("ada", "Ada", id="case"),
        pytest.param("Ａｄａ", "ada", id="full width"),
        pytest.param("straße", "STRASSE", id="case that changes length"),
        pytest.param("José", "Jose\u0301", id="composed and not"),
        pytest.param("小明", " 小明\u3000", id="spaces around"),
        pytest.param("ﾀﾅｶ", "タナカ", id="half width"),
    ],
)
async def test_names_that_read_alike_are_one_user(store: SqlStore, said: str, again: str) -> None:
    first = await store.user(said)
    assert await store.user(again) == first
    assert await store.user(said) == first


async def test_a_name_kept_as_it_was_typed_is_found_by_that_spelling(
    store: SqlStore, database: Database, ada: UserId
) -> None:
    old, now = uuid4(), utc_now()
    row = {"username": "Ada", "role": "user", "status": "active", "created_at": now, "updated_at": now}
    await database.write(lambda c: c.execute(insert(users), {"id": old, **row}))
    assert await store.user("Ada") == old
    assert await store.user("ada") == await store.user("ADA") == ada


async def test_a_user_seen_first_by_many_at_once_is_one_user(store: SqlStore) -> None:
    found: set[UUID] = set()

    async def see() -> None:
        found.add(await store.user("ada"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(see)
    assert len(found) == 1


async def test_a_new_session_is_found_as_it_was_made(store: SqlStore, ada: UserId) -> None:
    made = await store.create_session(ada, "health_assistant", title="睡眠 😴")
    assert await store.session(ada, made.id) == made
    assert (made.message_count, made.total_tokens, made.last_message_at) == (0, 0, None)
    assert made.metadata == {}


async def test_a_session_for_a_user_who_does_not_exist_is_refused(store: SqlStore) -> None:
    with pytest.raises(NotFound, match="no user"):
        await store.create_session(UserId(uuid4()), "default")


async def test_sessions_are_listed_by_when_they_were_last_spoken_in(store: SqlStore, ada: UserId) -> None:
    first, second, third = [await store.create_session(ada, "default", title=t) for t in ("a", "b", "c")]
    await store.create_session(await store.user("ming"), "default", title="another user's")
    await store.save_turn(turn(first, "hi", "hello"))
    await store.delete_session(ada, third.id)
    assert [s.title for s in await store.sessions(ada)] == ["a", "b"]
    assert [s.title for s in await store.sessions(ada, limit=1)] == ["a"]
    assert [s.title for s in await store.sessions(ada, limit=1, offset=1)] == ["b"]
    assert await store.sessions(ada, limit=-1) == []
    assert [s.title for s in await store.sessions(ada, offset=-1)] == ["a", "b"]
    assert second.id in {s.id for s in await store.sessions(ada)}


async def test_an_archived_session_is_not_listed_and_goes_on(
    store: SqlStore, ada: UserId, session: Session
) -> None:
    archive = update(sessions).values(archived_at=utc_now())
    await store.database.write(lambda connection: connection.execute(archive))
    assert await store.sessions(ada) == []
    found = await store.session(ada, session.id)
    assert found.archived_at is not None
    assert found.updated_at == session.updated_at
    await store.save_turn(turn(session, "hi", "hello"))
    assert await texts(store, session) == ["hi", "hello"]


async def test_a_session_is_renamed(store: SqlStore, ada: UserId, session: Session) -> None:
    await store.rename_session(ada, session.id, "午饭")
    assert (await store.session(ada, session.id)).title == "午饭"


async def test_a_deleted_session_is_gone_but_its_rows_stay(
    store: SqlStore, ada: UserId, session: Session
) -> None:
    await store.save_turn(turn(session, "hi", "hello"))
    await store.delete_session(ada, session.id)
    for call in _calls(store, ada, session.id):
        with pytest.raises(NotFound):
            await call()
    kept = await store.database.read(lambda c: c.execute(select(func.count()).select_from(messages)).scalar())
    assert kept == 2


async def test_another_user_s_session_is_as_one_that_does_not_exist(
    store: SqlStore, session: Session
) -> None:
    await store.save_turn(turn(session, "mine", "yours"))
    stranger = await store.user("stranger")
    told = []
    for call in _calls(store, stranger, session.id):
        with pytest.raises(NotFound) as failure:
            await call()
        told.append(str(failure.value))
    assert told == [f"no session `{session.id}`"] * len(told)
    assert await texts(store, session) == ["mine", "yours"]
    assert (await store.session(session.user_id, session.id)).title is None


def _calls(store: SqlStore, user: UserId, session_id: SessionId) -> list[Callable[[], object]]:
    """Everything that can be asked of a session."""
    record = TurnRecord(
        TurnId(uuid4()), user, session_id, "default", (Message("user", "hi"),), "complete", 1, {}
    )
    return [
        lambda: store.session(user, session_id),
        lambda: store.rename_session(user, session_id, "stolen"),
        lambda: store.delete_session(user, session_id),
        lambda: store.history(user, session_id, limit=5),
        lambda: store.messages(user, session_id),
        lambda: store.summary(user, session_id),
        lambda: store.save_turn(record),
    ]


# what is said


async def test_a_message_comes_back_as_it_was_said(store: SqlStore, session: Session) -> None:
    said = (
        Message("system", "你是小研。"),
        Message(
            "user",
            "现在几点了？🕰️",
            name="小明",
            parts=({"type": "image_url", "image_url": {"url": "https://x/猫.png"}},),
        ),
        Message(
            "assistant",
            "",
            tool_calls=(CALL, ToolCall("call_2", "计算器", "not json {")),
            reasoning="想一想…",
        ),
        Message("tool", '{"time": "12:00"}', tool_call_id="call_1"),
        Message("tool", "", tool_call_id="call_2"),
        Message("assistant", "十二点。\n\n\t👩‍👩‍👧‍👦 \\u0041 'quoted' \"double\"", tokens=7),
    )
    await store.save_turn(turn(session, *said))
    assert tuple(await store.history(session.user_id, session.id, limit=10)) == said
    assert tuple(row.message for row in await rows(store, session)) == said


async def test_a_turn_s_metadata_is_on_its_last_message(store: SqlStore, session: Session) -> None:
    metadata = {"model": "demo", "usage": {"total": 3}, "degraded": ["知识库"], "cost": 0.25, "none": None}
    record = turn(session, "hi", "hello", metadata=metadata)
    await store.save_turn(record)
    first, last = await rows(store, session)
    assert (first.metadata, last.metadata) == ({}, metadata)
    assert (first.turn_id, first.session_id, first.position, last.position) == (
        record.turn_id,
        session.id,
        0,
        1,
    )
    assert first.created_at.tzinfo is not None


async def test_a_session_counts_its_messages_and_tokens(store: SqlStore, session: Session) -> None:
    await store.save_turn(turn(session, "a", "b", tokens=30))
    await store.save_turn(turn(session, "c", tokens=12, status="failed"))
    after = await store.session(session.user_id, session.id)
    assert (after.message_count, after.total_tokens) == (3, 42)
    assert after.last_message_at is not None
    assert after.last_message_at >= session.created_at


async def test_what_no_database_keeps_is_replaced(store: SqlStore, session: Session) -> None:
    odd = "a\x00b \ud83d c"
    await store.save_turn(turn(session, odd, "ok", metadata={odd: [odd, "\\u0000"]}))
    mended = "a\ufffdb \ufffd c"
    assert await texts(store, session) == [mended, "ok"]
    assert (await rows(store, session))[1].metadata == {mended: [mended, "\\u0000"]}


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(text="\ud83c\udf89 split surrogates", value={"\x00": "\udfff"})
@given(
    text=st.text(st.characters(exclude_categories=())),
    value=st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.text(), st.lists)),
)
async def test_any_text_is_kept_as_what_can_be_kept_of_it(
    store: SqlStore, session: Session, text: str, value: dict[str, object]
) -> None:
    record = turn(session, text, metadata={"value": value})
    await store.save_turn(record)
    (row,) = [row for row in await rows(store, session) if row.turn_id == record.turn_id]
    assert row.message.content == storable(text)
    assert json.dumps(row.metadata["value"], sort_keys=True) == json.dumps(_kept(value), sort_keys=True)


def _kept(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): _kept(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_kept(item) for item in value]
    return value


# the history


async def test_the_history_is_the_last_messages_oldest_first(store: SqlStore, session: Session) -> None:
    for number in range(5):
        await store.save_turn(turn(session, f"q{number}", f"a{number}"))
    assert await texts(store, session, 4) == ["q3", "a3", "q4", "a4"]
    assert await texts(store, session, 3) == ["a3", "q4", "a4"]
    assert await texts(store, session, 100) == [f"{who}{n}" for n in range(5) for who in "qa"]
    assert await texts(store, session, 0) == []
    last = await store.messages(session.user_id, session.id, limit=3)
    assert [row.message.content for row in last] == ["a3", "q4", "a4"]


async def test_a_new_session_has_an_empty_history(store: SqlStore, session: Session) -> None:
    assert await texts(store, session) == []
    assert await rows(store, session) == []


@pytest.mark.parametrize("limit", range(7))
async def test_the_history_never_starts_between_a_call_and_its_result(
    store: SqlStore, session: Session, limit: int
) -> None:
    await store.save_turn(
        turn(
            session,
            Message("user", "time and luck?"),
            Message("assistant", "calls", tool_calls=(CALL, ToolCall("call_2", "random_choice", "{}"))),
            Message("tool", "result 1", tool_call_id="call_1"),
            Message("tool", "result 2", tool_call_id="call_2"),
            Message("assistant", "answer"),
        )
    )
    whole = ["time and luck?", "calls", "result 1", "result 2", "answer"]
    expected = {0: [], 1: whole[4:], 2: whole[4:], 3: whole[4:], 4: whole[1:]}.get(limit, whole)
    assert await texts(store, session, limit) == expected


async def test_failed_and_interrupted_turns_are_in_the_history(store: SqlStore, session: Session) -> None:
    await store.save_turn(turn(session, "one", "half an ans", status="interrupted"))
    await store.save_turn(turn(session, "two", status="failed"))
    assert await texts(store, session) == ["one", "half an ans", "two"]


async def test_the_turn_that_is_being_said_again_is_left_out(store: SqlStore, session: Session) -> None:
    failed = turn(session, "again", status="failed")
    await store.save_turn(turn(session, "q", "a"))
    await store.save_turn(failed)
    assert await texts(store, session, without=failed.turn_id) == ["q", "a"]
    assert await texts(store, session, 1, without=failed.turn_id) == ["a"]
    only = await store.create_session(session.user_id, "default")
    first = turn(only, "first", status="failed")
    await store.save_turn(first)
    assert await texts(store, only, without=first.turn_id) == []


async def test_what_a_resumed_turn_belongs_to_is_left_out_however_often_it_was_resumed(
    store: SqlStore, session: Session
) -> None:
    first = turn(session, Message("user", "q"), Message("assistant", "one", tool_calls=(CALL,)))
    second = turn(session, Message("tool", "result", tool_call_id="call_1"), Message("assistant", "two"))
    failed = turn(session, Message("tool", "again", tool_call_id="call_1"), status="failed")
    await store.save_turn(turn(session, "before", "that"))
    for record in (first, second, failed):
        await store.save_turn(record)

    async def before(turn_id: TurnId, **facts: Any) -> list[str]:
        found = await store.history(session.user_id, session.id, limit=2, before=turn_id, **facts)
        return [message.content for message in found]

    for resumed in (first, second, failed):
        assert await before(resumed.turn_id) == ["before", "that"]
    assert await before(second.turn_id, without=failed.turn_id) == ["before", "that"]
    assert await before(TurnId(uuid4()), without=failed.turn_id) == ["two"], "one that nobody knows"


async def test_the_history_goes_by_the_partial_index_and_does_not_sort(
    store: SqlStore, session: Session
) -> None:
    values = {
        "session": session.id,
        "user": session.user_id,
        "without": [TurnId(uuid4()), TurnId(uuid4())],
        "before": TurnId(uuid4()),
        "limit": 20,
    }
    for statement in (module._HISTORY, module._HISTORY_WITHOUT, module._HISTORY_BEFORE, module._MESSAGES):
        plan = await store.database.write(lambda c, statement=statement: plan_of(c, statement, values))
        assert "ix_messages_alive" in plan
        assert "B-TREE" not in plan
        assert "Sort" not in plan


async def test_a_summary_is_what_the_session_keeps(store: SqlStore, session: Session) -> None:
    assert await store.summary(session.user_id, session.id) == ""
    kept = update(sessions).where(sessions.c.id == session.id).values(metadata={"summary": "他叫小明"})
    await store.database.write(lambda c: c.execute(kept))
    assert await store.summary(session.user_id, session.id) == "他叫小明"


# saving


async def test_the_same_turn_twice_is_one_turn(store: SqlStore, session: Session) -> None:
    turn_id = TurnId(uuid4())
    job = Job(uuid5(turn_id, "memory"), "memory", session.user_id, {"user": "hi"})
    for answer in ("first", "second"):
        await store.save_turn(turn(session, "hi", answer, turn_id=turn_id, jobs=(job,)))
    assert await texts(store, session) == ["hi", "first"]
    after = await store.session(session.user_id, session.id)
    assert (after.message_count, after.total_tokens) == (2, 10)
    assert await SqlOutbox(store.database).depth() == 1


async def test_the_same_turn_twice_is_one_request(store: SqlStore, session: Session) -> None:
    mark = RequestMark("key", "body")
    record = replace(turn(session, "hi", "hello"), request=mark, reply={"text": "hello"})
    for record_ in (record, record, replace(record, session_id=None), replace(record, session_id=None)):
        await store.save_turn(record_)
    count = select(func.count()).select_from(turn_requests)
    assert await store.database.read(lambda connection: connection.execute(count).scalar()) == 1


async def test_a_request_is_kept_with_its_turn_or_not_at_all(store: SqlStore, session: Session) -> None:
    mark = RequestMark("key", "body")
    record = replace(turn(session, "hi", "hello"), request=mark, status=cast("TurnStatus", "half"))
    with pytest.raises(StorageError):
        await store.save_turn(record)
    assert await SqlRequests(store.database).find(session.user_id, mark) is None
    assert await rows(store, session) == []


async def test_the_same_turn_many_times_at_once_is_one_turn(store: SqlStore, session: Session) -> None:
    record = turn(session, "hi", "hello")
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(store.save_turn, record)
        tasks.start_soon(store.save_turn, turn(session, "other", "turn"))
    history = await texts(store, session)
    assert sorted(history) == ["hello", "hi", "other", "turn"]
    assert (await store.session(session.user_id, session.id)).message_count == 4


async def test_a_turn_said_again_replaces_the_one_before(store: SqlStore, session: Session) -> None:
    failed = turn(session, "question", status="failed", tokens=5)
    await store.save_turn(turn(session, "q", "a", tokens=10))
    await store.save_turn(failed)
    again = turn(session, "question", "answer", retry_of=failed.turn_id, tokens=20)
    await store.save_turn(again)
    await store.save_turn(again)
    assert await texts(store, session) == ["q", "a", "question", "answer"]
    positions = [row.position for row in await rows(store, session)]
    assert positions == sorted(positions)
    after = await store.session(session.user_id, session.id)
    assert (after.message_count, after.total_tokens) == (4, 35)


async def test_a_turn_said_again_replaces_attempts_that_came_to_nothing_too(
    store: SqlStore, session: Session
) -> None:
    first = turn(session, "q", "half", status="failed")
    nothing = turn(session, "q", status="failed", metadata={"retry_of": str(first.turn_id)})
    await store.save_turn(turn(session, "before", "that"))
    for record in (first, nothing):
        await store.save_turn(record)
    assert await texts(store, session, without=nothing.turn_id) == ["before", "that"]
    last = {"retry_of": str(nothing.turn_id)}
    await store.save_turn(turn(session, "q", "whole", metadata=last, retry_of=nothing.turn_id))
    assert await texts(store, session) == ["before", "that", "q", "whole"]
    assert (await store.session(session.user_id, session.id)).message_count == 4


async def test_only_the_session_s_own_turns_can_be_replaced(store: SqlStore, session: Session) -> None:
    other = await store.create_session(await store.user("other"), "default")
    theirs = turn(other, "theirs", "kept")
    await store.save_turn(theirs)
    await store.save_turn(turn(session, "mine", "new", retry_of=theirs.turn_id))
    assert await texts(store, other) == ["theirs", "kept"]
    assert (await store.session(session.user_id, session.id)).message_count == 2


async def test_without_a_session_only_the_jobs_are_kept(store: SqlStore, ada: UserId) -> None:
    job = Job(uuid4(), "memory", ada, {"user": "记住我"})
    record = TurnRecord(
        TurnId(uuid4()), ada, None, "default", (Message("user", "记住我"),), "complete", 3, {}, (job,)
    )
    await store.save_turn(record)
    (leased,) = await SqlOutbox(store.database).claim(limit=5, lease_s=60)
    assert leased.job == job
    kept = await store.database.read(lambda c: c.execute(select(func.count()).select_from(messages)).scalar())
    assert kept == 0


async def test_a_turn_whose_jobs_fail_leaves_no_message(store: SqlStore, session: Session) -> None:
    nobody = UserId(uuid4())
    with pytest.raises(StorageError):
        await store.save_turn(turn(session, "hi", "hello", jobs=(Job(uuid4(), "memory", nobody, {}),)))
    assert await texts(store, session) == []
    assert (await store.session(session.user_id, session.id)).message_count == 0


async def test_fifty_turns_at_once_are_stored_whole_and_do_not_interleave(
    store: SqlStore, ada: UserId
) -> None:
    shared = [await store.create_session(ada, "default") for _ in range(3)]

    def record(number: int) -> TurnRecord:
        session = shared[number % 3]
        return turn(
            session,
            Message("user", f"{number} 问"),
            Message("assistant", f"{number} 想", tool_calls=(CALL,)),
            Message("tool", f"{number} 查", tool_call_id=CALL.id),
            Message("assistant", f"{number} 答"),
            jobs=tuple(Job(uuid4(), target, ada, {}) for target in ("memory", "profile")),
        )

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(store.save_turn, record(number))
            tasks.start_soon(texts, store, shared[number % 3])
    for place, session in enumerate(shared):
        stored = await rows(store, session)
        assert [row.position for row in stored] == list(range(len(stored)))
        numbers = [row.message.content.split()[0] for row in stored]
        kinds = "".join(row.message.content.split()[1] for row in stored)
        assert kinds == "问想查答" * (len(stored) // 4)
        assert all(len(set(numbers[at : at + 4])) == 1 for at in range(0, len(numbers), 4))
        assert {int(number) % 3 for number in numbers} == {place}
        assert (await store.session(ada, session.id)).message_count == len(stored)
    assert await SqlOutbox(store.database).depth() == 100


KILLED = """
import sys
from uuid import UUID, uuid4, uuid5

import anyio

from cozy.adapters.sql_store import SqlStore
from cozy.ports.store import Job, TurnRecord
from cozy.storage.database import open_database
from cozy.turn import Message, TurnId

url, user, session = sys.argv[1], UUID(sys.argv[2]), UUID(sys.argv[3])

async def main():
    async with open_database(url) as database:
        store = SqlStore(database)

        async def talk():
            while True:
                id = TurnId(uuid4())
                said = (Message("user", "问" * 500), Message("assistant", "答" * 500))
                job = Job(uuid5(id, "memory"), "memory", user, {})
                await store.save_turn(TurnRecord(id, user, session, "p", said, "complete", 1, {}, (job,)))
                print(id, flush=True)

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(talk)

anyio.run(main)
"""


async def test_a_kill_leaves_no_half_turn_and_loses_none_that_was_told(
    store: SqlStore, session: Session, database_url: str
) -> None:
    command = [sys.executable, "-c", KILLED, database_url, str(session.user_id), str(session.id)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(40)]
    os.kill(process.pid, signal.SIGKILL)
    told += [line.strip() for line in process.stdout.read().splitlines() if len(line) == 36]
    process.stdout.close()
    assert process.wait(10) == -signal.SIGKILL
    assert all(told)

    async with open_database(database_url) as database:
        after = SqlStore(database)
        stored = await rows(after, session)
        pairs = [stored[at : at + 2] for at in range(0, len(stored), 2)]
        for question, answer in pairs:
            assert question.turn_id == answer.turn_id
            assert (question.message.role, answer.message.role) == ("user", "assistant")
        assert {str(question.turn_id) for question, _ in pairs} >= set(told)
        counted = (await after.session(session.user_id, session.id)).message_count
        assert counted == len(stored)
        assert await SqlOutbox(database).depth() == len(pairs)


async def test_a_user_s_role_and_status_are_of_the_known_ones(store: SqlStore, ada: UserId) -> None:
    for values in ({"role": "emperor"}, {"status": "asleep"}):
        with pytest.raises(StorageError):
            await store.database.write(
                lambda c, values=values: c.execute(update(users).where(users.c.id == ada).values(**values))
            )
