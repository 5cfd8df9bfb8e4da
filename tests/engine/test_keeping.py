"""What is kept of a turn, whatever ends it, and what one turn's trouble does to the others: nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.engine.keeping import kept_of
from cozy.errors import EngineUnavailable, StorageError
from cozy.events import StageDegraded, TextDelta, TurnFailed, TurnFinished
from cozy.stages.base import StageContext
from cozy.stages.conversation import NOT_KNOWN
from cozy.stages.generate import BETWEEN_ROUNDS
from cozy.turn import Message, ToolCall
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

CALL, OTHER = ToolCall("c1", "clock", "{}"), ToolCall("c2", "rain", "{}")
FIRST = (Message("assistant", "Let me see.", tool_calls=(CALL,)), Message("tool", "12:00", tool_call_id="c1"))
SECOND = Message("assistant", "And the rain.", tool_calls=(CALL, OTHER))
NOTHING = Message("assistant", tool_calls=(CALL,))


@pytest.mark.parametrize(
    ("rounds", "heard", "kept"),
    [
        pytest.param((), "", [], id="nothing"),
        pytest.param((), "words", [Message("assistant", "words")], id="words alone"),
        pytest.param(FIRST, "Let me see.", [*FIRST], id="a round"),
        pytest.param(
            FIRST, "Let me see.\n\nIt is", [*FIRST, Message("assistant", "It is")], id="a round and words"
        ),
        pytest.param(FIRST, "Let me see.\n\n", [*FIRST], id="a round and what stands between"),
        pytest.param(
            FIRST, "Let", [replace(FIRST[0], content="Let"), FIRST[1]], id="words that nobody heard"
        ),
        pytest.param(FIRST, "", [replace(FIRST[0], content=""), FIRST[1]], id="no word was heard"),
        pytest.param(
            FIRST,
            "let me see",
            [replace(FIRST[0], content=""), FIRST[1], Message("assistant", "let me see")],
            id="heard in other words",
        ),
        pytest.param(
            (*FIRST, SECOND, Message("tool", "dry", tool_call_id="c2")),
            "Let me see.\n\nAnd the rain.",
            [
                *FIRST,
                SECOND,
                Message("tool", NOT_KNOWN, tool_call_id="c1"),
                Message("tool", "dry", tool_call_id="c2"),
            ],
            id="a round that was not whole",
        ),
        pytest.param(
            (NOTHING,),
            "It",
            [NOTHING, Message("tool", NOT_KNOWN, tool_call_id="c1"), Message("assistant", "It")],
            id="calls without words",
        ),
    ],
)
def test_what_is_kept_of_an_answer_is_its_rounds_and_the_words_that_were_heard(
    rounds: tuple[Message, ...], heard: str, kept: list[Message]
) -> None:
    assert list(kept_of(rounds, heard)) == kept


@given(cut=st.integers(0, 60))
def test_the_words_that_are_kept_are_those_that_were_heard(cut: int) -> None:
    heard = "Let me see.\n\nAnd the rain.\n\nIt is dry."[:cut]
    kept = [m.content for m in kept_of((*FIRST, SECOND), heard) if m.role == "assistant"]
    assert BETWEEN_ROUNDS.join(text for text in kept if text) == heard.rstrip("\n")


@pytest.mark.parametrize("ends", ["interrupted", "failed"])
async def test_rounds_of_a_turn_that_is_cut_off_are_kept_with_its_words(ends: str) -> None:
    async def work(ctx: StageContext, **_: Any) -> None:
        ctx.keep(*FIRST)
        if ends == "failed":
            raise EngineUnavailable("x", "is away")
        await anyio.sleep_forever()

    keeper = Keeper(gives("saved"))
    graph = graph_of(speaker("Let me see.", then=work), place("save", keeper, takes=["answer"]))
    async with engine_of(graph) as engine, engine.run(turn()) as running:
        async for event in running:
            if isinstance(event, TextDelta) and ends == "interrupted":
                await anyio.wait_all_tasks_blocked()
                running.interrupt()
    assert [reply.messages for reply in keeper.kept] == [FIRST]


async def test_rounds_of_a_hidden_stage_are_no_part_of_the_conversation() -> None:
    async def work(ctx: StageContext, **_: Any) -> None:
        ctx.keep(*FIRST)

    keeper = Keeper(gives("saved"))
    away = fails(EngineUnavailable("x", "is away"))
    graph = graph_of(
        place("hidden", work),
        place("answer", away, takes=["hidden"], speaks=True),
        place("save", keeper, takes=["answer"]),
    )
    assert isinstance((await events_of(graph))[-1], TurnFailed)
    assert [reply.messages for reply in keeper.kept] == [()]


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

    with anyio.fail_after(30):
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


@pytest.mark.usefixtures("no_time")
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


@pytest.mark.usefixtures("no_time")
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
