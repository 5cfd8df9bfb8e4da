from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest

from cozy.adapters.sql_requests import SqlRequests
from cozy.adapters.sql_store import SqlStore
from cozy.engine.repeats import LEASE_S, RENEWED_S, Repeats
from cozy.errors import Conflict
from cozy.ports.requests import KnownRequest
from cozy.ports.store import TurnRecord, TurnStatus
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.turn import Message, RequestMark, SessionId, Turn, TurnId, UserId
from tests.clock import LoopClock

REPLY: Mapping[str, Any] = {
    "text": "Hi.",
    "finish_reason": "stop",
    "tool_calls": [],
    "usage": {},
    "model": "m",
}


@dataclass
class House:
    """Two processes over one database."""

    store: SqlStore
    ada: UserId
    session: SessionId
    here: Repeats
    there: Repeats
    turns: list[Turn] = field(default_factory=list)

    def turn(self, key: str = "k", body: str = "b", *, claimed: bool = True) -> Turn:
        mark = RequestMark(key, body, claimed)
        return Turn("hey", self.ada, "mia", session_id=self.session, request=mark)

    async def save(self, turn: Turn, status: TurnStatus = "complete") -> None:
        await self.store.save_turn(
            TurnRecord(
                turn.id,
                turn.user_id,
                turn.session_id,
                "mia",
                (Message("user", "hey"), Message("assistant", "Hi.")),
                status,
                0,
                {},
                request=turn.request,
                reply=REPLY,
            )
        )


@pytest.fixture
async def house(database: Database) -> House:
    store, requests = SqlStore(database), SqlRequests(database)
    ada = await store.user("ada")
    session = await store.create_session(ada, "mia")
    return House(store, ada, session.id, Repeats(requests), Repeats(requests))


async def begin(repeats: Repeats, turn: Turn, *, repeated: bool = False) -> Turn | KnownRequest:
    if repeated and turn.request is not None:
        turn = replace(turn, request=replace(turn.request, repeated=True))
    with anyio.fail_after(30):
        return await repeats.begin(turn)


async def test_a_key_is_one_turn(house: House) -> None:
    first = house.turn()
    assert await begin(house.here, first) is first
    await house.save(first)
    for repeats in (house.here, house.there):
        known = await begin(repeats, house.turn())
        assert isinstance(known, KnownRequest)
        assert (known.turn_id, known.reply) == (first.id, REPLY)


async def test_a_key_of_another_user_is_another_key(house: House) -> None:
    await begin(house.here, house.turn())
    bob = replace(house.turn(), user_id=await house.store.user("bob"))
    assert await begin(house.here, bob) is bob


async def test_another_body_under_a_key_is_refused(house: House) -> None:
    first = house.turn()
    await begin(house.here, first)
    house.here.watch(first, anyio.Event())
    for repeats in (house.here, house.there):
        with pytest.raises(Conflict, match="another request"):
            await begin(repeats, house.turn(body="other"))


@pytest.mark.parametrize("where", ["here", "there"])
async def test_a_repetition_waits_for_the_turn_that_runs(house: House, where: str) -> None:
    first, ended, got = house.turn(), anyio.Event(), list[Turn | KnownRequest]()
    await begin(house.here, first)
    house.here.watch(first, ended)

    async def repeat() -> None:
        got.append(await begin(getattr(house, where), house.turn()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(repeat)
        await anyio.wait_all_tasks_blocked()
        assert not got
        await house.save(first)
        ended.set()
    [known] = got
    assert isinstance(known, KnownRequest)
    assert known.turn_id == first.id


@pytest.mark.parametrize("status", ["failed", "interrupted"])
async def test_a_turn_that_came_to_nothing_is_run_again_in_its_place(
    house: House, status: TurnStatus
) -> None:
    first = house.turn()
    await begin(house.here, first)
    await house.save(first, status)
    again = house.turn()
    assert await begin(house.there, again) == replace(again, retry_of=first.id)


async def test_without_a_key_only_those_who_say_so_repeat(house: House) -> None:
    first = house.turn("s", claimed=False)
    await house.save(first)
    same = house.turn("s", claimed=False)
    assert await begin(house.here, same) is same, "people say the same thing twice"
    known = await begin(house.here, same, repeated=True)
    assert isinstance(known, KnownRequest)
    assert known.turn_id == first.id


async def test_a_turn_without_a_mark_is_always_new(house: House) -> None:
    turn = replace(house.turn(), request=None)
    assert await begin(house.here, turn, repeated=True) is turn


async def test_a_turn_is_taken_over_once_nobody_holds_its_claim(
    house: House, database: Database, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewals, looks = 0, 0

    class Counting(SqlRequests):
        async def renew(self, *args: Any, **options: Any) -> None:
            nonlocal renewals
            await super().renew(*args, **options)
            renewals += 1

        async def claim(self, *args: Any, **options: Any) -> KnownRequest | None:
            nonlocal looks
            found = await super().claim(*args, **options)
            looks += 1
            return found

    def later() -> datetime:
        return utc_now() + timedelta(seconds=loop_clock.ahead_s)

    monkeypatch.setattr("cozy.adapters.sql_requests.utc_now", later)
    counting = Counting(database)
    here, there = Repeats(counting), Repeats(counting)
    first, again = house.turn(), house.turn()
    taken = list[Turn | KnownRequest]()

    async def take_over() -> None:
        taken.append(await there.begin(again))

    await begin(here, first)
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as holding:
            holding.start_soon(here.hold, first)
            tasks.start_soon(take_over)
            for count in range(1, int(2 * LEASE_S / RENEWED_S)):
                await loop_clock.pass_by(RENEWED_S)
                before = looks
                while not taken and (renewals < count or looks == before):
                    await loop_clock.pass_by(0.01)
            assert taken == [], "it runs, however long it takes"
            holding.cancel_scope.cancel()
        await loop_clock.pass_by(LEASE_S)
    assert taken == [replace(again, retry_of=first.id)]


async def test_what_has_ended_is_forgotten(house: House) -> None:
    done = anyio.Event()
    done.set()
    for _ in range(2000):
        house.here.watch(replace(house.turn(key=str(uuid4())), id=TurnId(uuid4())), done)
    assert len(house.here._running) < 1000


async def test_the_answer_of_a_pipeline_that_stores_nothing_is_kept_for_its_key(house: House) -> None:
    turn = replace(house.turn(), session_id=None)
    await begin(house.here, turn)
    await house.here.settle(turn, "complete", REPLY)
    known = await begin(house.there, replace(house.turn(), session_id=None))
    assert isinstance(known, KnownRequest)
    assert known.reply == REPLY
