"""What a turn teaches, as jobs that are stored with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest

from cozy.engine.learning import exchange_of
from cozy.errors import EngineUnavailable, StageTimeout
from cozy.ports.context import EngineChoice
from cozy.ports.outbox import JobProgress, JobState
from cozy.stages.values import ContextPart, Queued, Reply, Saved
from cozy.stages.writeback import Writeback, WritebackSettings
from cozy.turn import Message, ToolCall, TurnId
from tests.stages.seat import FIRST, MAIN, Seat, persona, ports, turn

REPLY = Reply("你好，小明", model="demo/demo")


@dataclass
class Desk:
    """Fills Jobs."""

    accepting: bool = True
    progress: JobProgress | None = None
    offered: list[int] = field(default_factory=list[int])
    told: list[int] = field(default_factory=list[int])
    waited: list[UUID] = field(default_factory=list[UUID])

    def check(self) -> None: ...

    def accepts(self, count: int) -> bool:
        self.offered.append(count)
        return self.accepting

    async def queued(self, count: int) -> None:
        self.told.append(count)

    async def wait(self, ids: Collection[UUID]) -> dict[UUID, JobProgress]:
        self.waited.extend(ids)
        if self.progress is None:
            await anyio.sleep_forever()
        return dict.fromkeys(ids, self.progress)


def writeback(**settings: Any) -> Writeback:
    return Writeback(WritebackSettings(type="writeback", **settings))


def test_each_target_is_one_job_that_holds_the_exchange() -> None:
    jobs = writeback().jobs(REPLY, Seat(turn=turn("我叫小明")))
    assert [job.target for job in jobs] == ["memory/embedded", "profile/embedded"]
    for job in jobs:
        exchange = exchange_of(job)
        assert (exchange.turn_id, exchange.session_id, exchange.model) == (FIRST, MAIN, "demo/demo")
        assert exchange.messages == (Message("user", "我叫小明"), Message("assistant", "你好，小明"))


def test_only_the_named_targets_are_taught() -> None:
    jobs = writeback(targets="profile").jobs(REPLY, Seat())
    assert [job.target for job in jobs] == ["profile/embedded"]


def test_the_engines_that_the_personality_has_are_taught() -> None:
    engines = EngineChoice(memory="mine", profile="theirs")
    jobs = writeback().jobs(REPLY, Seat(persona=persona(engines=engines)))
    assert [job.target for job in jobs] == ["memory/mine", "profile/theirs"]


def test_the_same_turn_gives_the_same_jobs_and_another_turn_others() -> None:
    first, again = (writeback().jobs(REPLY, Seat()) for _ in range(2))
    other = writeback().jobs(REPLY, Seat(turn=turn(id=TurnId(uuid4()))))
    ids = [{job.id for job in jobs} for jobs in (first, again, other)]
    assert ids[0] == ids[1]
    assert ids[0].isdisjoint(ids[2])


def test_a_turn_without_a_session_teaches_too() -> None:
    [job, _] = writeback().jobs(REPLY, Seat(turn=turn(session_id=None)))
    assert exchange_of(job).session_id is None


def test_a_turn_without_words_teaches_nothing() -> None:
    assert writeback().jobs(REPLY, Seat(turn=turn(" \n"))) == ()


def test_a_turn_that_no_model_has_answered_teaches_nothing() -> None:
    assert writeback().jobs(Reply("稍后再试。", is_fallback=True), Seat(turn=turn("我叫小明"))) == ()


def test_a_turn_that_is_not_personal_teaches_nothing() -> None:
    assert writeback().jobs(REPLY, Seat(turn=turn("我叫小明", personalized=False))) == ()


def test_a_message_is_taught_once_however_often_its_turn_is_resumed() -> None:
    rounds = (Message("assistant", tool_calls=(ToolCall("c1", "basket", "{}"),)),)
    assert writeback().jobs(REPLY, Seat(turn=turn("我叫小明", rounds=rounds))) == ()


async def test_workers_are_told_once_the_jobs_are_on_disk() -> None:
    desk = Desk()
    here = Seat(ports=ports(jobs=desk))
    [mine, other] = [job.id for job in writeback().jobs(REPLY, here)]
    saved = Saved(FIRST, MAIN, "complete", (mine, other))
    assert await writeback(targets="memory").run(saved, here) == Queued((mine,))
    assert (desk.told, desk.waited) == ([1], [])


async def test_workers_are_left_alone_when_there_is_nothing_to_do() -> None:
    desk = Desk()
    here = Seat(ports=ports(jobs=desk))
    assert await writeback(mode="sync").run(Saved(FIRST, MAIN, "complete"), here) == Queued()
    assert (desk.told, desk.waited) == ([], [])


def test_a_turn_whose_jobs_are_not_taken_is_stored_without_them() -> None:
    desk = Desk(accepting=False)
    here = Seat(ports=ports(jobs=desk))
    assert writeback().jobs(REPLY, here) == ()
    assert (desk.offered, here.notes) == ([2], {"dropped": 2})


async def run_in_step(progress: JobProgress | None, **settings: Any) -> Queued:
    """What a stage that waits gives, with both its jobs that far; None: they take for ever."""
    here = Seat(ports=ports(jobs=Desk(progress=progress)))
    jobs = tuple(job.id for job in writeback().jobs(REPLY, here))
    return await writeback(mode="sync", **settings).run(Saved(FIRST, MAIN, "complete", jobs), here)


async def test_in_step_a_turn_ends_when_its_jobs_are_done() -> None:
    assert len((await run_in_step(JobProgress("done", None))).jobs) == 2


@pytest.mark.parametrize("state", ["queued", "leased", "dead"])
async def test_in_step_a_job_that_has_failed_is_told(state: JobState) -> None:
    with pytest.raises(EngineUnavailable, match="memory/embedded: was not taught: EngineTimeout: 不在"):
        await run_in_step(JobProgress(state, "EngineTimeout: 不在"))


@pytest.mark.usefixtures("no_time")
async def test_in_step_a_job_that_is_late_is_not_waited_for_longer_than_the_stage_may() -> None:
    with pytest.raises(StageTimeout, match=r"stage `here` did not end within 0\.05"):
        await run_in_step(None, timeout="50ms")


def test_the_value_of_a_writeback_that_was_skipped_is_no_jobs() -> None:
    assert writeback().empty() == Queued()


# -- the summary ----------------------------------------------------------------------------------------


def shown(count: int) -> ContextPart:
    """A history of so many messages."""
    return ContextPart("history", messages=(Message("user", "茶"),) * count)


def summary_jobs(here: Seat, **settings: Any) -> list[Any]:
    jobs = writeback(targets=("memory", "summary"), **settings).jobs(REPLY, here)
    return [job for job in jobs if job.target == "summary"]


def test_a_summary_is_a_job_that_names_the_session_and_holds_no_words() -> None:
    [job] = summary_jobs(Seat(turn=turn("我叫小明"), values={"past": shown(12)}), history=12)
    assert job.payload["session_id"] == str(MAIN)
    assert (job.payload["keep"], job.payload["model"]) == (12, "demo/demo")
    assert "小明" not in str(job.payload)


def test_a_short_session_has_nothing_to_summarise() -> None:
    assert summary_jobs(Seat(values={"history": shown(9)})) == []
    assert len(summary_jobs(Seat(values={"history": shown(10)}))) == 1
    assert len(summary_jobs(Seat())) == 1  # nobody knows how long it is


def test_without_a_session_there_is_nothing_to_summarise() -> None:
    assert summary_jobs(Seat(turn=turn(session_id=None))) == []


def test_a_summary_is_of_the_session_and_kept_up_though_the_turn_is_not_personal() -> None:
    here = Seat(turn=turn(personalized=False))
    jobs = writeback(targets=("memory", "summary")).jobs(REPLY, here)
    assert [job.target for job in jobs] == ["summary"]
