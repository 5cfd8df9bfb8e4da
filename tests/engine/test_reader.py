"""Back-pressure: a slow reader slows the turn, and his time is not the turn's."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.engine.engine import EVENT_BUFFER
from cozy.engine.reader import Reader
from cozy.events import Event, TextDelta, TurnFinished
from cozy.stages.base import StageContext
from cozy.stages.values import Reply
from tests.engine.steps import engine_of, graph_of, place, speaker, turn

MANY = 4 * EVENT_BUFFER
PAUSE_S = 10


async def test_a_hot_producer_waits_for_a_slow_reader() -> None:
    produced = [0]

    async def talks(ctx: StageContext) -> Reply:
        for _ in range(MANY):
            await ctx.emit(TextDelta("x", "answer"))
            produced[0] += 1
        return Reply("x" * MANY)

    graph = graph_of(place("answer", talks, speaks=True))
    async with engine_of(graph) as engine, engine.run(turn()) as running:
        await anyio.wait_all_tasks_blocked()
        assert produced[0] <= EVENT_BUFFER
        texts = [event.text async for event in running if isinstance(event, TextDelta)]
    assert (len(texts), produced[0]) == (MANY, MANY)


async def last_event_of_a_slow_reader(**facts: Any) -> Event:
    """The end of a turn that says more than the buffer holds, to a reader who stops for a while."""
    deadline_s: dict[str, Any] = {"timeout_s": facts.pop("turn_timeout_s", 30.0)}
    graph = graph_of(speaker(*"x" * MANY, **facts), **deadline_s)
    with anyio.fail_after(30):
        async with engine_of(graph) as engine, engine.run(turn()) as running:
            await anyio.sleep(PAUSE_S)
            return [event async for event in running][-1]


@pytest.mark.usefixtures("no_time")
async def test_time_spent_waiting_for_the_reader_is_not_the_stages() -> None:
    last = await last_event_of_a_slow_reader(timeout_s=PAUSE_S / 3)
    assert isinstance(last, TurnFinished)
    [answer] = last.trace.stages
    assert answer.parts["reader"] == pytest.approx(PAUSE_S)


@pytest.mark.usefixtures("no_time")
async def test_time_spent_waiting_for_the_reader_is_not_the_turns() -> None:
    last = await last_event_of_a_slow_reader(turn_timeout_s=PAUSE_S / 3)
    assert isinstance(last, TurnFinished)
    assert any(segment.name == "answer/reader" for segment in last.trace.segments)


@pytest.mark.usefixtures("no_time")
async def test_two_stages_that_wait_for_the_reader_at_once_stop_the_clock_once() -> None:
    with anyio.CancelScope(deadline=anyio.current_time() + 60) as clock:
        deadline = clock.deadline
        reader = Reader(0)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(reader.tell, TextDelta("x", "a"), clock)
            await anyio.wait_all_tasks_blocked()
            assert clock.deadline == math.inf
            await anyio.sleep(10)
            reader.leave()
        assert clock.deadline - deadline == pytest.approx(10)


async def test_the_clock_stands_until_the_last_who_waits_is_through() -> None:
    with anyio.CancelScope(deadline=anyio.current_time() + 60) as clock:
        reader = Reader(1)
        reader.tell_now(TextDelta("first", "a"))
        async with anyio.create_task_group() as tasks:
            for text in ("second", "third"):
                tasks.start_soon(reader.tell, TextDelta(text, "a"), clock)
            await anyio.wait_all_tasks_blocked()
            await reader.next()
            await anyio.wait_all_tasks_blocked()
            assert clock.deadline == math.inf  # the other still waits
            await reader.next()
            await anyio.wait_all_tasks_blocked()
            assert clock.deadline < math.inf


async def test_a_reader_who_has_left_is_noticed() -> None:
    reader = Reader(0)
    told: list[float | None] = []

    async def tell() -> None:
        told.append(await reader.tell(TextDelta("x", "a")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell)
        await anyio.wait_all_tasks_blocked()
        reader.leave()
    assert told == [None]
    assert await reader.tell(TextDelta("x", "a")) is None
    assert await reader.next() is None


async def test_a_reader_is_told_when_nothing_more_will_come() -> None:
    reader = Reader()
    heard: list[Event | None] = []

    async def listen() -> None:
        heard.append(await reader.next())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        reader.close()
    assert heard == [None]


async def test_what_was_told_before_the_end_is_still_read() -> None:
    reader = Reader()
    reader.tell_now(TextDelta("x", "a"))
    reader.close()
    assert [await reader.next(), await reader.next()] == [TextDelta("x", "a"), None]


@pytest.mark.usefixtures("no_time")
async def test_a_reader_whose_waiting_is_cancelled_misses_nothing() -> None:
    reader = Reader()
    with anyio.move_on_after(0.01):
        await reader.next()
    reader.tell_now(TextDelta("x", "a"))
    assert await reader.next() == TextDelta("x", "a")


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 4))
async def test_events_come_whole_and_in_order_however_slow_a_side_is(pauses: list[int], room: int) -> None:
    reader = Reader(room)
    heard: list[Event] = []

    async def talk() -> None:
        for i, pause in enumerate(pauses):
            for _ in range(pause):
                await anyio.lowlevel.checkpoint()
            await reader.tell(TextDelta(str(i), "a"))
        reader.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk)
        while (event := await reader.next()) is not None:
            heard.append(event)
            for _ in range(len(heard) % 4):
                await anyio.lowlevel.checkpoint()
    assert heard == [TextDelta(str(i), "a") for i in range(len(pauses))]
