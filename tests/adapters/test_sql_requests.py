"""Requests that come again find the turn that they began, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import func, select, update

from cozy.adapters import request_rows
from cozy.adapters import sql_requests as module
from cozy.adapters.sql_requests import SqlRequests
from cozy.adapters.sql_store import SqlStore
from cozy.errors import StorageError
from cozy.ports.requests import KnownRequest
from cozy.ports.store import Session, TurnRecord, TurnStatus
from cozy.storage.database import Database, open_database
from cozy.storage.schema import utc_now
from cozy.storage.tables import pending_calls, turn_requests
from cozy.turn import Message, RequestMark, ToolCall, TurnId, UserId
from tests.databases import plan_of

MARK = RequestMark("key", "body", claimed=True)
LEASE_S = 60.0
REPLY = {"text": "你好", "finish_reason": "stop", "tool_calls": [], "usage": {}, "model": "m", "error": None}
CALL, THEIRS = ToolCall("c1", "clock", "{}"), ToolCall("c2", "basket", "{}")
MIXED = (
    Message("assistant", "看看", tool_calls=(CALL, THEIRS), reasoning="hm"),
    Message("tool", "12:00", tool_call_id="c1"),
)


@pytest.fixture
async def store(database: Database) -> SqlStore:
    return SqlStore(database)


@pytest.fixture
async def requests(database: Database) -> SqlRequests:
    return SqlRequests(database)


@pytest.fixture
async def ada(store: SqlStore) -> UserId:
    return await store.user("ada")


@pytest.fixture
async def session(store: SqlStore, ada: UserId) -> Session:
    return await store.create_session(ada, "default")


def new_turn() -> TurnId:
    return TurnId(uuid4())


def record(user: UserId, turn_id: TurnId, session: Session | None = None, **facts: Any) -> TurnRecord:
    said = (Message("user", "hi"), Message("assistant", "hello"))
    given = {
        "turn_id": turn_id,
        "user_id": user,
        "session_id": session.id if session else None,
        "personality_id": "default",
        "messages": said,
        "status": "complete",
        "tokens": 1,
        "metadata": {},
        "request": MARK,
        "reply": REPLY,
    }
    return TurnRecord(**given | facts)


async def rows(database: Database, table: Any = turn_requests) -> int:
    count = select(func.count()).select_from(table)
    return await database.read(lambda connection: connection.execute(count).scalar_one())


async def age(database: Database, by: timedelta, column: Any = turn_requests.c.created_at) -> None:
    """Let everything be older than it is."""
    older = update(column.table).values({column.name: utc_now() - by})
    await database.write(lambda connection: connection.execute(older))


# claims


async def test_a_new_key_is_ours_to_run(requests: SqlRequests, ada: UserId) -> None:
    assert await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S) is None


async def test_a_key_whose_turn_runs_is_told_with_that_turn(requests: SqlRequests, ada: UserId) -> None:
    first = new_turn()
    await requests.claim(ada, MARK, first, lease_s=LEASE_S)
    known = await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    assert known is not None
    assert (known.turn_id, known.state, known.reply, known.body_hash) == (first, "running", None, "body")
    assert known.leased_until is not None
    assert timedelta() < known.leased_until - utc_now() <= timedelta(seconds=LEASE_S)


async def test_another_users_key_is_another_key(requests: SqlRequests, store: SqlStore, ada: UserId) -> None:
    await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    eve = await store.user("eve")
    assert await requests.claim(eve, MARK, new_turn(), lease_s=LEASE_S) is None


async def test_of_many_that_claim_at_once_one_runs(requests: SqlRequests, ada: UserId) -> None:
    answers: list[KnownRequest | None] = []

    async def claim() -> None:
        answers.append(await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(claim)
    assert answers.count(None) == 1
    assert len({known.turn_id for known in answers if known}) == 1


async def test_of_two_processes_that_claim_at_once_one_runs(
    database_url: str, database: Database, ada: UserId
) -> None:
    """Two engines over one database are two processes to it."""

    async def claim(base: Database, mark: RequestMark, answers: list[KnownRequest | None]) -> None:
        answers.append(await SqlRequests(base).claim(ada, mark, new_turn(), lease_s=LEASE_S))

    async with open_database(database_url) as other:
        for round_ in range(5):
            mark, answers = replace(MARK, key=f"key {round_}"), list[KnownRequest | None]()
            async with anyio.create_task_group() as tasks:
                for base in (database, other) * 3:
                    tasks.start_soon(claim, base, mark, answers)
            assert answers.count(None) == 1


async def test_what_was_claimed_and_stored_is_answered_from_what_is_stored(
    requests: SqlRequests, store: SqlStore, ada: UserId, session: Session
) -> None:
    first = new_turn()
    await requests.claim(ada, MARK, first, lease_s=LEASE_S)
    await store.save_turn(record(ada, first, session))
    known = await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    assert known == KnownRequest(first, session.id, "body", "complete", REPLY, None)


@pytest.mark.parametrize("state", ["failed", "interrupted"])
async def test_what_came_to_nothing_is_taken_over_by_one(
    requests: SqlRequests, store: SqlStore, ada: UserId, session: Session, state: TurnStatus
) -> None:
    first = new_turn()
    await requests.claim(ada, MARK, first, lease_s=LEASE_S)
    await store.save_turn(record(ada, first, session, status=state))
    answers: dict[TurnId, KnownRequest | None] = {}

    async def claim() -> None:
        turn_id = new_turn()
        answers[turn_id] = await requests.claim(ada, MARK, turn_id, lease_s=LEASE_S)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(claim)
    taken = [turn_id for turn_id, known in answers.items() if known and known.turn_id == first]
    [second] = taken
    assert answers[second] == KnownRequest(first, session.id, "body", state, REPLY, None)
    assert {k.turn_id for t, k in answers.items() if k and t != second} == {second}
    await store.save_turn(record(ada, second, session, retry_of=first))
    known = await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    assert known is not None
    assert (known.turn_id, known.state) == (second, "complete")


async def test_a_turn_whose_process_is_dead_is_taken_over(requests: SqlRequests, ada: UserId) -> None:
    first, second = new_turn(), new_turn()
    await requests.claim(ada, MARK, first, lease_s=0)
    known = await requests.claim(ada, MARK, second, lease_s=LEASE_S)
    assert known == KnownRequest(first, None, "body", "interrupted", None, None)
    known = await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    assert known is not None
    assert (known.turn_id, known.state) == (second, "running")


async def test_one_that_was_taken_for_dead_and_ends_after_all_takes_nothing_back(
    requests: SqlRequests, store: SqlStore, ada: UserId, session: Session
) -> None:
    first, second = new_turn(), new_turn()
    await requests.claim(ada, MARK, first, lease_s=0)
    await requests.claim(ada, MARK, second, lease_s=LEASE_S)
    await store.save_turn(record(ada, first, session))
    known = await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    assert known is not None
    assert (known.turn_id, known.state) == (second, "running")


async def test_another_request_under_a_known_key_takes_nothing_over(
    requests: SqlRequests, ada: UserId
) -> None:
    first = new_turn()
    await requests.claim(ada, MARK, first, lease_s=0)
    known = await requests.claim(ada, replace(MARK, body_hash="other"), new_turn(), lease_s=LEASE_S)
    assert known is not None
    assert (known.turn_id, known.body_hash) == (first, "body")
    known = await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    assert known is not None
    assert known.turn_id == first


async def test_a_claim_whose_answer_was_lost_is_still_ours(requests: SqlRequests, ada: UserId) -> None:
    first = new_turn()
    for _ in range(2):  # a database that broke off at the commit runs the work again
        assert await requests.claim(ada, MARK, first, lease_s=LEASE_S) is None


async def test_nobody_claims_for_a_user_who_does_not_exist(requests: SqlRequests) -> None:
    with pytest.raises(StorageError):
        await requests.claim(UserId(uuid4()), MARK, new_turn(), lease_s=LEASE_S)


# what is found


async def test_a_request_without_a_key_of_the_clients_is_found_by_what_it_is(
    requests: SqlRequests, store: SqlStore, ada: UserId, session: Session
) -> None:
    mark = RequestMark("session:body", "body")
    assert await requests.find(ada, mark) is None
    first, second = new_turn(), new_turn()
    await store.save_turn(record(ada, first, session, request=mark, status="failed"))
    await age(store.database, timedelta(minutes=1))
    await store.save_turn(record(ada, second, session, request=mark))
    found = await requests.find(ada, mark)
    assert found is not None
    assert (found.turn_id, found.state, found.reply) == (second, "complete", REPLY)
    assert await requests.find(ada, replace(mark, body_hash="other")) is None
    assert await requests.find(await store.user("eve"), mark) is None


async def test_what_is_older_than_a_day_is_not_found(
    requests: SqlRequests, store: SqlStore, ada: UserId, session: Session
) -> None:
    await store.save_turn(record(ada, new_turn(), session))
    await age(store.database, timedelta(hours=25))
    assert await requests.find(ada, MARK) is None


async def test_a_request_is_found_by_its_index(requests: SqlRequests, ada: UserId) -> None:
    values = {"user": ada, "key": "key", "body": "body", "since": utc_now()}
    for statement in (module._FOUND, module._CLAIMED):
        plan = await requests.database.write(lambda c, statement=statement: plan_of(c, statement, values))
        assert "ix_turn_requests_" in plan


# held


async def test_a_claim_is_held_as_long_as_it_is_renewed(requests: SqlRequests, ada: UserId) -> None:
    first, second = new_turn(), new_turn()
    await requests.claim(ada, MARK, first, lease_s=0)
    await requests.renew(ada, first, lease_s=LEASE_S)
    known = await requests.claim(ada, MARK, second, lease_s=LEASE_S)
    assert known is not None
    assert (known.turn_id, known.state) == (first, "running")


async def test_a_claim_that_another_has_is_not_renewed(
    requests: SqlRequests, store: SqlStore, ada: UserId
) -> None:
    first, second, third = new_turn(), new_turn(), new_turn()
    await requests.claim(ada, MARK, first, lease_s=0)
    await requests.claim(ada, MARK, second, lease_s=0)
    await requests.renew(ada, first, lease_s=LEASE_S)
    await requests.renew(await store.user("eve"), second, lease_s=LEASE_S)
    known = await requests.claim(ada, MARK, third, lease_s=LEASE_S)
    assert known is not None
    assert (known.turn_id, known.state) == (second, "interrupted")


# settled without a stored turn


async def test_a_turn_that_was_never_stored_is_settled(requests: SqlRequests, ada: UserId) -> None:
    first = new_turn()
    await requests.claim(ada, MARK, first, lease_s=LEASE_S)
    await requests.settle(ada, first, "complete", REPLY)
    known = await requests.claim(ada, MARK, new_turn(), lease_s=LEASE_S)
    assert known == KnownRequest(first, None, "body", "complete", REPLY, None)


async def test_what_has_ended_stays_as_it_is(
    requests: SqlRequests, store: SqlStore, ada: UserId, session: Session
) -> None:
    first = new_turn()
    await requests.claim(ada, MARK, first, lease_s=LEASE_S)
    await store.save_turn(record(ada, first, session))
    await requests.settle(ada, first, "failed", None)
    known = await requests.find(ada, MARK)
    assert known is not None
    assert (known.state, known.reply) == ("complete", REPLY)


async def test_nobody_settles_the_turn_of_another(
    requests: SqlRequests, store: SqlStore, ada: UserId
) -> None:
    first = new_turn()
    await requests.claim(ada, MARK, first, lease_s=LEASE_S)
    await requests.settle(await store.user("eve"), first, "failed", None)
    known = await requests.find(ada, MARK)
    assert known is not None
    assert known.state == "running"


# calls that wait


async def test_a_round_that_waits_is_found_by_the_clients_calls(
    requests: SqlRequests, store: SqlStore, ada: UserId
) -> None:
    await store.save_turn(record(ada, new_turn(), request=None, pending=MIXED))
    assert tuple(await requests.pending(ada, ["c2"])) == MIXED
    assert tuple(await requests.pending(ada, ["other", "c2"])) == MIXED
    assert await requests.pending(ada, ["c1"]) == [], "the client does not know of ours"
    assert await requests.pending(ada, []) == []
    assert await requests.pending(await store.user("eve"), ["c2"]) == []


async def test_an_id_that_a_model_gives_twice_is_the_latest_round(
    requests: SqlRequests, store: SqlStore, ada: UserId
) -> None:
    later = (replace(MIXED[0], content="又看看"), MIXED[1])
    for waiting in (MIXED, later):
        await store.save_turn(record(ada, new_turn(), request=None, pending=waiting))
    assert tuple(await requests.pending(ada, ["c2"])) == later


# how long


async def test_what_is_too_old_is_removed_now_and_then(
    requests: SqlRequests, store: SqlStore, ada: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save_turn(record(ada, new_turn(), pending=MIXED))
    for column in (turn_requests.c.created_at, pending_calls.c.created_at):
        await age(store.database, timedelta(hours=25), column)
    await requests.claim(ada, replace(MARK, key="a"), new_turn(), lease_s=LEASE_S)
    assert (await rows(store.database), await rows(store.database, pending_calls)) == (1, 0)
    await age(store.database, timedelta(hours=25))
    await requests.claim(ada, replace(MARK, key="b"), new_turn(), lease_s=LEASE_S)
    assert await rows(store.database) == 2, "once a minute is enough"
    monkeypatch.setattr(request_rows, "PRUNED_EVERY_S", 0.0)
    fresh = SqlRequests(store.database)
    await fresh.claim(ada, replace(MARK, key="c"), new_turn(), lease_s=LEASE_S)
    assert await rows(store.database) == 1 + 1, "what has just been claimed stays"
