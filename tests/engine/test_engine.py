"""Turns that end early: interrupted, left, cut off; and the engine's own end."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cozy.engine.engine import Engine
from cozy.errors import CozyError, EngineUnavailable, NotFound, StorageError
from cozy.events import Event, TextDelta, TurnFailed, TurnFinished
from cozy.stages.base import StageContext
from cozy.stages.values import Reply
from tests.engine.steps import (
    Keeper,
    engine_of,
    events_of,
    fails,
    gives,
    graph_of,
    hangs,
    place,
    speaker,
    story,
    turn,
)


def kept_by(*, timeout_s: float | None = None, **keeper: Any) -> tuple[Any, list[Reply]]:
    """A last stage that keeps what it is told of, and what it kept."""
    keeps = Keeper(gives("saved"), **keeper)
    return place("save", keeps, takes=["answer"], timeout_s=timeout_s), keeps.kept


async def read_until(running: Any, text: str) -> list[Event]:
    """Events up to the one that says `text`."""
    seen: list[Event] = []
    async for event in running:
        seen.append(event)
        if isinstance(event, TextDelta) and event.text == text:
            break
    return seen


# -- interrupt ------------------------------------------------------------------------------------------


async def test_an_interrupted_turn_keeps_what_was_said_and_tells_its_end() -> None:
    save, kept = kept_by()
    graph = graph_of(speaker("从前", "有座山", then=hangs), save)
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            await read_until(running, "有座山")
            running.interrupt()
            rest = [event async for event in running]
    [last] = rest
    assert isinstance(last, TurnFinished)
    assert (last.text, last.finish_reason) == ("从前有座山", "interrupted")
    [partial] = kept
    assert (partial.text, partial.error, [m.content for m in partial.messages]) == (
        "从前有座山",
        None,
        ["从前有座山"],
    )


async def test_a_reply_that_was_spoken_is_kept_as_far_as_it_was_heard() -> None:
    save, kept = kept_by()
    graph = graph_of(speaker("从前", "有座山", then=hangs), save)
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            await read_until(running, "有座山")
            running.interrupt(heard="从")
            [last] = [event async for event in running]
    assert isinstance(last, TurnFinished)
    assert (last.text, kept[0].text) == ("从", "从")


async def test_a_turn_that_is_interrupted_before_a_word_keeps_no_reply() -> None:
    save, kept = kept_by()
    graph = graph_of(speaker(then=hangs), save)
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            running.interrupt()  # its task has not even begun
            last = [event async for event in running][-1]
    assert isinstance(last, TurnFinished)
    assert (last.text, kept[0].messages) == ("", ())


async def test_interrupting_twice_keeps_it_once() -> None:
    settled = anyio.Event()
    go_on = anyio.Event()

    async def slowly(partial: Reply) -> None:
        settled.set()
        await go_on.wait()

    save, kept = kept_by(settles=slowly)
    graph = graph_of(speaker("a", then=hangs), save)
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            await read_until(running, "a")
            running.interrupt()
            await settled.wait()
            running.interrupt(heard="")
            go_on.set()
            [last] = [event async for event in running]
    assert isinstance(last, TurnFinished)
    assert [reply.text for reply in kept] == ["a"]


async def test_once_the_answer_is_whole_an_interrupt_changes_nothing() -> None:
    answered, go_on = anyio.Event(), anyio.Event()

    async def saves(ctx: StageContext, **_: Any) -> str:
        answered.set()
        await go_on.wait()
        return "saved"

    keeper = Keeper(saves)
    graph = graph_of(speaker("whole"), place("save", keeper, takes=["answer"]))
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            await answered.wait()
            running.interrupt()
            go_on.set()
            last = [event async for event in running][-1]
    assert isinstance(last, TurnFinished)
    assert (last.text, last.finish_reason, keeper.kept) == ("whole", "stop", [])


# -- leaving --------------------------------------------------------------------------------------------


async def test_a_reader_who_leaves_stops_the_turn_and_waits_for_what_is_kept() -> None:
    stopped = anyio.Event()

    async def talks_on(ctx: StageContext, **_: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    save, kept = kept_by()
    graph = graph_of(speaker("one", then=talks_on), save)
    with anyio.fail_after(30):
        async with engine_of(graph) as engine:
            async with engine.run(turn()) as running:
                await read_until(running, "one")
            assert stopped.is_set()
            assert [reply.text for reply in kept] == ["one"]


async def test_a_reader_who_leaves_after_the_answer_leaves_it_whole() -> None:
    answered, go_on, done = anyio.Event(), anyio.Event(), anyio.Event()

    async def saves(ctx: StageContext, **_: Any) -> str:
        answered.set()
        await go_on.wait()
        return "saved"

    async def follows(ctx: StageContext, **_: Any) -> None:
        await anyio.lowlevel.checkpoint()
        done.set()

    keeper = Keeper(saves)
    graph = graph_of(
        speaker("whole"), place("save", keeper, takes=["answer"]), place("after", follows, takes=["save"])
    )
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, anyio.create_task_group() as tasks:
            async with engine.run(turn()):
                await answered.wait()
                tasks.start_soon(_set_later, go_on)
            assert done.is_set()
    assert keeper.kept == []


async def _set_later(event: anyio.Event) -> None:
    await anyio.wait_all_tasks_blocked()
    event.set()


async def test_a_producer_that_waits_for_a_reader_is_stopped_when_he_leaves() -> None:
    save, kept = kept_by()
    graph = graph_of(speaker(*"x" * 500), save)
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            heard = 0
            while heard < 3:
                heard += isinstance(await anext(running), TextDelta)
            await anyio.wait_all_tasks_blocked()
    assert kept[0].text == "xxx", "what nobody has taken was not said"


async def test_a_request_that_is_cancelled_does_not_take_the_turns_keeping_with_it() -> None:
    settling, go_on = anyio.Event(), anyio.Event()

    async def slowly(partial: Reply) -> None:
        settling.set()
        await go_on.wait()

    save, kept = kept_by(settles=slowly)
    graph = graph_of(speaker("said", then=hangs), save)

    async def request(engine: Engine, scope: anyio.CancelScope) -> None:
        with scope:
            async with engine.run(turn()) as running:
                await read_until(running, "said")
                scope.cancel()
                await anyio.sleep_forever()

    with anyio.fail_after(30):
        async with engine_of(graph) as engine, anyio.create_task_group() as tasks:
            tasks.start_soon(request, engine, anyio.CancelScope())
            await settling.wait()
            tasks.cancel_scope.cancel()  # and once more, from further out
            go_on.set()
    assert [reply.text for reply in kept] == ["said"]


async def test_leaving_by_an_error_does_not_hide_the_error() -> None:
    graph = graph_of(speaker("said", then=hangs))
    with anyio.fail_after(30):
        async with engine_of(graph) as engine:
            running = engine.run(turn())
            with pytest.raises(ZeroDivisionError):
                await leave_by_an_error(running)


async def leave_by_an_error(running: Any) -> None:
    async with running as under_way:
        await read_until(under_way, "said")
        raise ZeroDivisionError


# -- what is kept of a turn that failed ------------------------------------------------------------------


async def test_a_turn_that_failed_is_kept_with_its_error() -> None:
    save, kept = kept_by()
    graph = graph_of(speaker("so ", then=fails(EngineUnavailable("model", "is away"))), save)
    assert isinstance((await events_of(graph))[-1], TurnFailed)
    assert [(reply.text, reply.error) for reply in kept] == [("so ", "ENGINE_UNAVAILABLE")]


@pytest.mark.usefixtures("no_time")
async def test_a_turn_whose_time_is_up_is_kept_with_its_error() -> None:
    save, kept = kept_by()
    await events_of(graph_of(speaker("so ", then=hangs), save, timeout_s=0.05))
    assert [(reply.text, reply.error) for reply in kept] == [("so ", "ENGINE_TURN_TIMEOUT")]


async def test_a_bug_is_kept_as_an_internal_error() -> None:
    save, kept = kept_by()
    await events_of(graph_of(speaker("so ", then=fails(ValueError("x"))), save))
    assert [reply.error for reply in kept] == ["INTERNAL_ERROR"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(StorageError("the disk is full"), id="no room"),
        pytest.param(NotFound("session", "s"), id="a session that was erased meanwhile"),
    ],
)
async def test_a_stage_that_failed_to_keep_the_turn_is_not_asked_a_second_time(error: CozyError) -> None:
    keeper = Keeper(fails(error))
    graph = graph_of(speaker("whole"), place("save", keeper, takes=["answer"]))
    last = (await events_of(graph))[-1]
    assert isinstance(last, TurnFailed)
    assert (last.code, last.text, keeper.kept) == (error.code, "whole", [])


async def test_keeping_that_fails_is_logged_and_the_turn_still_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(partial: Reply) -> None:
        raise StorageError("the disk is full")

    save, _ = kept_by(settles=breaks)
    events = await events_of(graph_of(speaker("a", then=fails(EngineUnavailable("x", "is away"))), save))
    last = events[-1]
    assert isinstance(last, TurnFailed)
    assert last.code == "ENGINE_UNAVAILABLE"
    assert [r.levelname for r in caplog.records if r.name == "cozy.turn"] == ["WARNING", "ERROR"]


@pytest.mark.usefixtures("no_time")
async def test_keeping_that_hangs_is_logged_and_ends_with_its_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def never_ends(partial: Reply) -> None:
        await anyio.sleep_forever()

    save, _ = kept_by(settles=never_ends, timeout_s=0.05)
    events = await events_of(graph_of(speaker("a", then=fails(EngineUnavailable("x", "is away"))), save))
    assert isinstance(events[-1], TurnFailed)
    assert [r.levelname for r in caplog.records if r.name == "cozy.turn"] == ["WARNING", "ERROR"]


@pytest.mark.usefixtures("no_time")
async def test_a_stage_that_keeps_is_not_cut_off_by_the_turns_deadline() -> None:
    async def saves(ctx: StageContext, **_: Any) -> str:
        await anyio.sleep(2)
        return "saved"

    keeper = Keeper(saves)
    graph = graph_of(speaker("whole"), place("save", keeper, takes=["answer"], timeout_s=5), timeout_s=0.05)
    events = await events_of(graph)
    assert story(events)[-2:] == ["-save", "TurnFinished"]
    assert keeper.kept == []


# -- the engine's own life -------------------------------------------------------------------------------


async def test_a_turn_whose_engine_is_cut_off_is_kept_as_interrupted() -> None:
    save, kept = kept_by()
    graph = graph_of(speaker("said", then=hangs), save)
    with anyio.move_on_after(5) as scope:
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            await read_until(running, "said")
            scope.cancel()
            await anyio.sleep_forever()
    assert [(reply.text, reply.error) for reply in kept] == [("said", None)]


async def test_a_bug_at_the_end_of_one_turn_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks_off(ctx: StageContext) -> Any:
        return "not a reply"  # no stage type may do so; the turn's end stumbles over it

    graph = graph_of(place("answer", breaks_off, speaks=True, when="turn.text == 'odd'"), speaker_of_others())
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as other:
            async with engine.run(turn("odd")) as running:
                odd = [event async for event in running][-1]
            last = [event async for event in other][-1]
    assert isinstance(odd, TurnFailed)
    assert odd.code == "INTERNAL_ERROR"
    assert isinstance(last, TurnFinished)
    assert any(record.exc_info for record in caplog.records)


def speaker_of_others() -> Any:
    async def does(ctx: StageContext) -> Reply:
        return Reply("fine")

    return place("other", does, speaks=True, when="turn.text != 'odd'")


async def test_the_time_of_a_stage_that_was_cut_off_is_its_own_in_the_trace() -> None:
    save, _ = kept_by()
    last = (await events_of(graph_of(speaker("so ", then=hangs), save, timeout_s=0.3)))[-1]
    assert isinstance(last, TurnFailed)
    assert last.trace.critical_path == ("answer", "save")
    seconds = {segment.name: segment.seconds for segment in last.trace.segments}
    assert seconds["answer"] >= 0.25


# -- who watches ----------------------------------------------------------------------------------------


async def test_a_watcher_is_told_how_a_turn_ends_though_its_reader_has_left() -> None:
    told: list[TurnFinished | TurnFailed] = []
    with anyio.fail_after(30):
        async with engine_of(graph_of(speaker("so", then=hangs))) as engine:
            engine.watch(told.append)
            async with engine.run(turn()) as running:
                await read_until(running, "so")
    [last] = told
    assert isinstance(last, TurnFinished)
    assert (last.finish_reason, last.text) == ("interrupted", "so")


async def test_a_watcher_is_told_before_the_reader_is() -> None:
    told: list[TurnFinished | TurnFailed] = []
    with anyio.fail_after(30):
        async with engine_of(graph_of(place("answer", fails(StorageError("no")), speaks=True))) as engine:
            engine.watch(told.append)
            async with engine.run(turn()) as running:
                async for event in running:
                    assert (event in told) == isinstance(event, TurnFailed)
    assert [type(event) for event in told] == [TurnFailed]
