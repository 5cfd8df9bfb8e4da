"""What is kept of a turn, whatever ends it, and what one turn's trouble does to the others: nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from cozy.errors import EngineUnavailable, StorageError
from cozy.events import StageDegraded, TextDelta, TurnFailed, TurnFinished
from cozy.stages.base import StageContext
from tests.engine.steps import (
    Keeper,
    Step,
    engine_of,
    events_of,
    fails,
    gives,
    graph_of,
    hangs,
    place,
    says,
    speaker,
    turn,
)


async def test_an_answer_that_is_whole_when_its_reader_leaves_is_kept() -> None:
    last = anyio.Event()

    async def final(ctx: StageContext, **_: Any) -> None:
        await last.wait()

    keeper = Keeper(gives("saved"))
    graph = graph_of(speaker("whole answer", then=final), place("save", keeper, takes=["answer"]))
    async with engine_of(graph) as engine, engine.run(turn()) as running:
        while not isinstance(await anext(running), TextDelta):
            pass
        last.set()  # the model's last piece comes in the step in which the reader leaves
    assert [reply.text for reply in keeper.kept] == ["whole answer"]
    assert [reply.finish_reason for reply in keeper.kept] == ["stop"]


async def test_an_answer_that_waits_to_be_kept_is_kept_when_the_engine_stops() -> None:
    keeper = Keeper(gives("saved"))
    answered = anyio.Event()

    async def side(ctx: StageContext, **_: Any) -> None:
        await anyio.sleep_forever()

    graph = graph_of(
        speaker("whole answer"), place("side", side), place("save", keeper, takes=["answer"], after=["side"])
    )

    async def application() -> None:
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            async for event in running:
                if isinstance(event, TextDelta):
                    await anyio.wait_all_tasks_blocked()
                    answered.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as outer:
            outer.start_soon(application)
            await answered.wait()
            outer.cancel_scope.cancel()
    assert [reply.text for reply in keeper.kept] == ["whole answer"]


async def test_a_cancellation_that_nobody_asked_for_is_a_bug_of_its_stage_alone() -> None:
    async def stray(ctx: StageContext, **_: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    graph = graph_of(speaker("hi", then=stray))
    async with engine_of(graph) as engine:
        for _ in range(2):  # the engine goes on
            async with engine.run(turn()) as running:
                events = [event async for event in running]
            assert isinstance(events[-1], TurnFailed)
            assert events[-1].code == "INTERNAL_ERROR"


async def test_a_bug_in_an_empty_value_fails_its_turn_and_no_other() -> None:
    class Broken(Step):
        def empty(self) -> str:
            raise ValueError("bug")

    away = Broken(fails(EngineUnavailable("x", "is away")))
    graph = graph_of(place("x", away, on_error="degrade"), speaker("hi", after=["x"]))
    async with engine_of(graph) as engine:
        for _ in range(2):
            async with engine.run(turn()) as running:
                events = [event async for event in running]
            assert isinstance(events[-1], TurnFailed)


async def test_keeping_a_turn_is_bounded_even_where_nobody_said_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cozy.engine.runtime.SETTLE_TIMEOUT_S", 0.05)
    graph = graph_of(speaker("hi"), place("save", Keeper(hangs), takes=["answer"]), timeout_s=30)
    last = (await events_of(graph))[-1]
    assert isinstance(last, TurnFailed)
    assert (last.stage, last.code) == ("save", "ENGINE_TIMEOUT")


async def test_a_turn_that_is_kept_whole_is_not_told_to_have_failed() -> None:
    keeper = Keeper(gives("saved"))
    graph = graph_of(
        speaker("hi"),
        place("save", keeper, takes=["answer"]),
        place("after", fails(EngineUnavailable("x", "is away")), takes=["save"]),
    )
    events = await events_of(graph)
    assert isinstance(events[-1], TurnFinished)
    assert [e.stage for e in events if isinstance(e, StageDegraded)] == ["after"]
    assert keeper.kept == [], "once is enough"


async def test_a_turn_whose_time_ends_after_it_was_kept_has_not_failed() -> None:
    graph = graph_of(
        speaker("hi"),
        place("save", Keeper(gives("saved")), takes=["answer"]),
        place("after", hangs, takes=["save"]),
        timeout_s=0.2,
    )
    assert isinstance((await events_of(graph))[-1], TurnFinished)


async def test_an_interrupted_turn_that_cannot_be_kept_is_told_to_have_failed() -> None:
    async def full(reply: object) -> None:
        raise StorageError("the disk is full")

    keeper = Keeper(gives("saved"), settles=full)
    graph = graph_of(speaker("one", "two", then=hangs), place("save", keeper, takes=["answer"]))
    async with engine_of(graph) as engine, engine.run(turn()) as running:
        events = []
        async for event in running:
            events.append(event)
            if isinstance(event, TextDelta):
                running.interrupt()
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].code == StorageError.code


async def test_a_hidden_stage_is_tried_again_though_another_one_has_spoken() -> None:
    spoken, tries = anyio.Event(), [0]

    async def tell(ctx: StageContext, **_: Any) -> None:
        spoken.set()

    async def flaky(ctx: StageContext, **_: Any) -> str:
        await spoken.wait()
        tries[0] += 1
        if tries[0] == 1:
            raise EngineUnavailable("x", "is away")
        return "done"

    graph = graph_of(place("hidden", flaky, retries=1), place("answer", says("hi", then=tell), speaks=True))
    assert isinstance((await events_of(graph))[-1], TurnFinished)
    assert tries == [2]
