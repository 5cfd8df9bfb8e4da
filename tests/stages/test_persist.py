"""What is on disk when a turn has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from cozy.adapters.sql_requests import SqlRequests
from cozy.adapters.sql_store import SqlStore
from cozy.errors import NoAnswer, NotFound
from cozy.events import StageDegraded
from cozy.ports.context import EngineRecord
from cozy.ports.llm import LLMRequest
from cozy.ports.store import Job
from cozy.stages.persist import Persist, PersistSettings
from cozy.stages.values import Generation, Reply
from cozy.storage.database import open_database
from cozy.storage.outbox import SqlOutbox
from cozy.turn import Message, RequestMark, SessionId, ToolCall, TurnId, UserId
from cozy.usage import Usage
from tests.stages.seat import FIRST, Seat, ports, turn

CALL = ToolCall("1", "clock", "{}")
USAGE = Usage(100, 20)
REPLY = Reply(
    "noon",
    (
        Message("assistant", "", tool_calls=(CALL,)),
        Message("tool", "12:00", tool_call_id="1"),
        Message("assistant", "noon"),
    ),
    usage=USAGE,
    model="test/big",
    rounds=1,
)


@dataclass
class Disk:
    store: SqlStore
    outbox: SqlOutbox
    user: UserId
    session: SessionId

    def seat(self, **facts: Any) -> Seat:
        said = turn(**{"text": "几点了", "user_id": self.user, "session_id": self.session} | facts)
        asked = [(LLMRequest("test/small", ()), Usage(10, 1)), (LLMRequest("test/big", ()), USAGE)]
        return Seat(turn=said, ports=ports(store=self.store), requests=asked)

    async def messages(self) -> list[tuple[str, str]]:
        return [
            (m.message.role, m.message.content) for m in await self.store.messages(self.user, self.session)
        ]

    async def facts(self) -> dict[str, Any]:
        return dict((await self.store.messages(self.user, self.session))[-1].metadata)


@pytest.fixture
async def disk(sqlite_url: str) -> AsyncIterator[Disk]:
    async with open_database(sqlite_url) as database:
        store = SqlStore(database)
        user = await store.user("ada")
        session = await store.create_session(user, "mia")
        yield Disk(store, SqlOutbox(database), user, session.id)


def persist() -> Persist:
    return Persist(PersistSettings(type="persist"))


def job_of(here: Seat) -> Job:
    return Job(uuid4(), "memory", here.turn.user_id, {"user": here.turn.text})


async def test_the_users_message_and_the_answer_are_stored_with_calls_and_results(disk: Disk) -> None:
    saved = await persist().run(REPLY, disk.seat())
    assert (saved.status, saved.turn_id, saved.session_id) == ("complete", FIRST, disk.session)
    assert await disk.messages() == [
        ("user", "几点了"),
        ("assistant", ""),
        ("tool", "12:00"),
        ("assistant", "noon"),
    ]
    session = await disk.store.session(disk.user, disk.session)
    assert (session.message_count, session.total_tokens) == (4, 131)


async def test_facts_about_the_answer_are_kept_with_it(disk: Disk) -> None:
    here = disk.seat(channel="voice")
    here.degraded = [StageDegraded("memory", "ENGINE_TIMEOUT", "stage `memory` did not end", 0.4)]
    await persist().run(REPLY, here)
    assert await disk.facts() == {
        "model": "test/big",
        "finish_reason": "stop",
        "prompt_tokens": 110,
        "completion_tokens": 21,
        "channel": "voice",
        "degraded": [{"stage": "memory", "code": "ENGINE_TIMEOUT"}],
    }


async def test_it_is_kept_that_no_model_has_answered(disk: Disk) -> None:
    asked = LLMRequest("test/big", ())
    await persist().run(Generation("稍后再试。", is_fallback=True, request=asked), disk.seat())
    facts = await disk.facts()
    assert (facts["fallback_text"], facts["model"]) == (True, "")
    assert (await disk.messages())[-1] == ("assistant", "稍后再试。")


async def test_the_answer_of_a_model_that_nobody_loops_over_is_stored_as_it_is(disk: Disk) -> None:
    said = Generation("你好", model="test/big", request=LLMRequest("test/big", ()), reasoning="a greeting")
    await persist().run(said, disk.seat())
    [_, answer] = await disk.store.messages(disk.user, disk.session)
    assert answer.message == Message("assistant", "你好", reasoning="a greeting")


async def test_a_turn_in_which_no_model_was_asked_is_not_stored_as_answered(disk: Disk) -> None:
    with pytest.raises(NoAnswer):
        await persist().run(Generation(), disk.seat())
    assert await disk.messages() == []


async def test_jobs_are_stored_with_the_turn(disk: Disk) -> None:
    here = disk.seat()
    job = job_of(here)
    here.jobs = lambda reply: [job]
    saved = await persist().run(REPLY, here)
    assert saved.jobs == (job.id,)
    assert [leased.job for leased in await disk.outbox.claim(limit=5, lease_s=1)] == [job]


async def test_without_a_session_only_the_jobs_are_stored(disk: Disk) -> None:
    here = disk.seat(session_id=None)
    here.jobs = lambda reply: [job_of(here)]
    saved = await persist().run(REPLY, here)
    assert saved.session_id is None
    assert (await disk.messages(), await disk.outbox.depth()) == ([], 1)


async def test_without_a_session_and_without_jobs_nothing_is_stored(disk: Disk) -> None:
    await persist().run(REPLY, disk.seat(session_id=None))
    assert (await disk.messages(), await disk.outbox.depth()) == ([], 0)


async def test_a_session_of_somebody_else_is_not_written_to(disk: Disk) -> None:
    eve = await disk.store.user("eve")
    with pytest.raises(NotFound):
        await persist().run(REPLY, disk.seat(user_id=eve))
    assert await disk.messages() == []


@pytest.mark.parametrize(
    ("partial", "status"),
    [
        pytest.param(
            Reply("no", (Message("assistant", "no"),), "interrupted"), "interrupted", id="interrupted"
        ),
        pytest.param(
            Reply("no", (Message("assistant", "no"),), "interrupted", error="ENGINE_TIMEOUT"),
            "failed",
            id="failed",
        ),
    ],
)
async def test_what_was_said_of_a_turn_that_was_cut_off_is_kept_and_teaches_nothing(
    disk: Disk, partial: Reply, status: str
) -> None:
    here = disk.seat()
    here.jobs = lambda reply: [job_of(here)]
    saved = await persist().settle(partial, here)
    assert (saved.status, saved.jobs) == (status, ())
    assert await disk.messages() == [("user", "几点了"), ("assistant", "no")]
    assert (await disk.facts()).get("error") == partial.error
    assert await disk.outbox.depth() == 0


async def test_a_turn_that_failed_before_a_word_keeps_the_users_message(disk: Disk) -> None:
    await persist().settle(Reply(error="ENGINE_TIMEOUT"), disk.seat())
    assert await disk.messages() == [("user", "几点了")]


async def test_a_turn_that_is_said_again_takes_the_place_of_the_first_attempt(disk: Disk) -> None:
    await persist().settle(Reply(error="ENGINE_TIMEOUT"), disk.seat())
    again = TurnId(uuid4())
    await persist().run(REPLY, disk.seat(id=again, retry_of=FIRST))
    assert {m.turn_id for m in await disk.store.messages(disk.user, disk.session)} == {again}
    assert (await disk.store.session(disk.user, disk.session)).message_count == 4


async def test_a_second_try_that_came_to_nothing_leaves_the_answer_that_was_there(disk: Disk) -> None:
    await persist().run(Reply("noon", (Message("assistant", "noon"),)), disk.seat())
    await persist().settle(Reply(error="ENGINE_TIMEOUT"), disk.seat(id=TurnId(uuid4()), retry_of=FIRST))
    assert ("assistant", "noon") in await disk.messages()


async def test_a_turn_that_resumes_another_adds_the_results_and_its_answer(disk: Disk) -> None:
    asked = Message("assistant", tool_calls=(CALL,))
    given = Message("tool", "12:00", tool_call_id="1")
    await persist().run(Reply(messages=(asked,), tool_calls=(CALL,)), disk.seat())
    resumed = disk.seat(id=TurnId(uuid4()), rounds=(asked,), results=(given,), resumes=FIRST)
    await persist().run(Reply("noon", (Message("assistant", "noon"),)), resumed)
    assert await disk.messages() == [
        ("user", "几点了"),
        ("assistant", ""),
        ("tool", "12:00"),
        ("assistant", "noon"),
    ]


async def test_rounds_that_nobody_has_stored_are_stored_with_the_message(disk: Disk) -> None:
    asked = Message("assistant", tool_calls=(CALL,))
    given = Message("tool", "12:00", tool_call_id="1")
    await persist().run(
        Reply("noon", (Message("assistant", "noon"),)), disk.seat(rounds=(asked,), results=(given,))
    )
    assert await disk.messages() == [
        ("user", "几点了"),
        ("assistant", ""),
        ("tool", "12:00"),
        ("assistant", "noon"),
    ]


async def test_a_turn_remembers_which_one_it_said_again(disk: Disk) -> None:
    earlier = TurnId(uuid4())
    await persist().settle(Reply(error="ENGINE_TIMEOUT"), disk.seat(retry_of=earlier))
    assert (await disk.facts())["retry_of"] == str(earlier)


# -- requests -------------------------------------------------------------------------------------------

MARK = RequestMark("key", "body")


async def test_what_a_client_is_told_is_kept_with_its_request(disk: Disk) -> None:
    here = disk.seat(request=MARK)
    here.engine_answered(EngineRecord("memory", "mem0", "ENGINE_AUTH", 0.0123, reason="mem0: no such key"))
    await persist().run(REPLY, here)
    known = await SqlRequests(disk.store.database).find(disk.user, MARK)
    assert known is not None
    assert (known.turn_id, known.session_id, known.state) == (FIRST, disk.session, "complete")
    asked = {"engine": "memory", "provider": "mem0", "outcome": "ENGINE_AUTH", "ms": 12.3, "cache": ""}
    assert known.reply == {
        "text": "noon",
        "finish_reason": "stop",
        "tool_calls": [],
        "usage": asdict(Usage(110, 21)),
        "model": "test/big",
        "error": None,
        "degraded": [],
        "engines": [{"stage": "here", **asked, "items": 0}],
    }


async def test_a_request_without_a_session_is_kept_though_nothing_else_is(disk: Disk) -> None:
    await persist().settle(Reply("no", error="ENGINE_TIMEOUT"), disk.seat(session_id=None, request=MARK))
    known = await SqlRequests(disk.store.database).find(disk.user, MARK)
    assert known is not None
    assert known.reply is not None
    assert (known.state, known.session_id, known.reply["error"]) == ("failed", None, "ENGINE_TIMEOUT")
    assert await disk.messages() == []


async def test_what_a_client_does_not_see_of_a_turn_waits_for_it_where_no_session_keeps_it(
    disk: Disk,
) -> None:
    theirs = ToolCall("2", "basket", "{}")
    mixed = (Message("assistant", tool_calls=(CALL, theirs)), Message("tool", "12:00", tool_call_id="1"))
    requests = SqlRequests(disk.store.database)
    await persist().run(Reply(messages=mixed, tool_calls=(theirs,)), disk.seat())
    assert await requests.pending(disk.user, ["2"]) == []
    await persist().run(Reply(messages=mixed, tool_calls=(theirs,)), disk.seat(session_id=None))
    assert tuple(await requests.pending(disk.user, ["2"])) == mixed
    seen = Reply(
        messages=(Message("assistant", tool_calls=(replace(theirs, id="3"),)),), tool_calls=(theirs,)
    )
    await persist().run(seen, disk.seat(session_id=None))
    assert await requests.pending(disk.user, ["3"]) == []


async def test_the_same_turn_stored_twice_is_one_turn(disk: Disk) -> None:
    for _ in range(2):
        await persist().run(REPLY, disk.seat())
    assert len(await disk.messages()) == 4


async def test_pictures_of_the_user_are_kept_with_the_message(disk: Disk) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    await persist().run(REPLY, disk.seat(parts=(picture,)))
    assert (await disk.store.messages(disk.user, disk.session))[0].message.parts == (picture,)
