"""The order of stages, their failure rules, and how a turn ends."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cozy.engine.graph import Graph
from cozy.engine.trace import EngineFailure
from cozy.errors import EngineInvalidRequest, EngineRateLimited, EngineUnavailable, NotFound, StorageError
from cozy.events import StageDegraded, TextDelta, ToolStarted, TurnFailed, TurnFinished
from cozy.stages.base import StageContext
from cozy.stages.values import Generation, Reply
from cozy.turn import ToolCall
from tests.engine.steps import (
    Does,
    Keeper,
    Needed,
    engine_of,
    events_of,
    fails,
    gives,
    graph_of,
    hangs,
    place,
    says,
    speaker,
    story,
    turn,
)

SHORT = 0.05
"""A timeout that is meant to run out."""


async def finished(graph: Graph) -> TurnFinished:
    last = (await events_of(graph))[-1]
    assert isinstance(last, TurnFinished), last
    return last


async def failed(graph: Graph) -> TurnFailed:
    last = (await events_of(graph))[-1]
    assert isinstance(last, TurnFailed), last
    return last


def outcomes(last: TurnFinished | TurnFailed) -> dict[str, str]:
    return {stage.id: stage.outcome for stage in last.trace.stages}


# -- order ----------------------------------------------------------------------------------------------


async def test_a_turn_tells_its_story_in_order() -> None:
    graph = graph_of(
        place("a", gives(1)), place("b", gives(2), takes=["a"]), speaker("Hi", " there", takes=["b"])
    )
    assert story(await events_of(graph)) == [
        *("+a", "-a", "+b", "-b", "+answer", "'Hi'", "' there'", "-answer"),
        "TurnFinished",
    ]


async def test_stages_that_do_not_depend_on_one_another_run_side_by_side() -> None:
    here, all_here = [0], anyio.Event()

    async def meets(ctx: StageContext, **_: Any) -> str:
        here[0] += 1
        if here[0] == 3:
            all_here.set()
        await all_here.wait()  # one after the other, the first would wait for ever
        return ctx.node.id

    graph = graph_of(
        *(place(name, meets) for name in "abc"),
        place("together", gives(None), takes=["a", "b", "c"]),
        speaker("met", takes=["together"]),
        timeout_s=5,
    )
    assert (await finished(graph)).text == "met"


async def test_stages_that_one_stage_makes_ready_run_side_by_side() -> None:
    came = {name: anyio.Event() for name in "bcd"}

    async def meets(ctx: StageContext, **_: Any) -> None:
        came[ctx.node.id].set()
        for event in came.values():
            await event.wait()

    graph = graph_of(
        place("a", gives(1)),
        *(place(name, meets, takes=["a"]) for name in "bcd"),
        speaker("met", takes=["b", "c", "d"]),
        timeout_s=5,
    )
    assert (await finished(graph)).text == "met"


async def test_a_stage_is_given_the_values_of_those_it_takes() -> None:
    seen: dict[str, Any] = {}

    async def takes(ctx: StageContext, **values: Any) -> Reply:
        seen.update(values)
        return Reply("ok")

    graph = graph_of(
        place("a", gives("A")),
        place("b", gives("B")),
        place("answer", takes, takes=["a", "b"], speaks=True),
    )
    await finished(graph)
    assert seen == {"a": "A", "b": "B"}


async def test_after_orders_stages_that_share_no_data() -> None:
    order: list[str] = []

    async def notes(ctx: StageContext, **_: Any) -> None:
        await anyio.lowlevel.checkpoint()
        order.append(ctx.node.id)

    graph = graph_of(place("a", notes), place("b", notes, after=["a"]), speaker("x", after=["b"]))
    await finished(graph)
    assert order == ["a", "b"]


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    """For each node, the earlier ones that it waits for."""
    size = draw(st.integers(1, 9))
    return [sorted(draw(st.sets(st.integers(0, i - 1)))) if i else [] for i in range(size)]


@settings(max_examples=60)
@given(waits=dags(), pauses=st.lists(st.integers(0, 3), min_size=9, max_size=9))
def test_every_stage_of_any_graph_runs_once_and_after_all_it_waits_for(
    waits: list[list[int]], pauses: list[int]
) -> None:
    began: list[int] = []
    ended: list[int] = []

    def work(i: int) -> Does:
        async def does(ctx: StageContext, **_: Any) -> int:
            assert set(waits[i]) <= set(ended)
            began.append(i)
            for _ in range(pauses[i]):
                await anyio.lowlevel.checkpoint()
            ended.append(i)
            return i

        return does

    places = [place(f"s{i}", work(i), takes=[f"s{j}" for j in w]) for i, w in enumerate(waits)]
    graph = graph_of(*places, speaker("done", after=[p.id for p in places]))

    async def run() -> None:
        assert (await finished(graph)).text == "done"

    anyio.run(run)
    assert sorted(began) == sorted(ended) == list(range(len(waits)))


# -- failure rules --------------------------------------------------------------------------------------


async def test_a_failed_stage_ends_the_turn_with_its_error() -> None:
    error = EngineUnavailable("knowledge", "is away", hint="start it", details={"port": 1})
    last = await failed(graph_of(place("a", fails(error)), speaker("never", takes=["a"])))
    assert (last.code, last.stage) == ("ENGINE_UNAVAILABLE", "a")
    assert (last.message, last.hint, last.details) == ("knowledge: is away", "start it", {"port": 1})
    assert outcomes(last) == {"a": "failed", "answer": "not run"}


async def test_why_a_turn_failed_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    error = EngineUnavailable("knowledge", "is away")
    with caplog.at_level(logging.WARNING, "cozy"):
        await failed(graph_of(speaker("ok", then=fails(error))))
    [record] = caplog.records
    told = record.__dict__
    assert (record.getMessage(), told["code"], told["reason"]) == (
        "turn failed",
        "ENGINE_UNAVAILABLE",
        "knowledge: is away",
    )
    assert (told["stage"], told["personality_id"]) == ("answer", "steps")


async def test_a_failed_stage_cancels_those_beside_it() -> None:
    beside = anyio.Event()

    async def waits(ctx: StageContext, **_: Any) -> None:
        beside.set()
        await anyio.sleep_forever()

    async def fails_later(ctx: StageContext, **_: Any) -> None:
        await beside.wait()
        raise EngineUnavailable("x", "is away")

    graph = graph_of(place("a", waits), place("b", fails_later), speaker("never", takes=["a", "b"]))
    assert outcomes(await failed(graph)) == {"a": "cancelled", "b": "failed", "answer": "not run"}


async def test_two_stages_that_fail_at_once_give_one_error_and_no_group() -> None:
    both, here = anyio.Event(), [0]

    async def fails_with_the_other(ctx: StageContext, **_: Any) -> None:
        here[0] += 1
        if here[0] == 2:
            both.set()
        await both.wait()
        raise EngineUnavailable(ctx.node.id, "is away")

    graph = graph_of(
        place("a", fails_with_the_other),
        place("b", fails_with_the_other),
        speaker("never", takes=["a", "b"]),
    )
    events = await events_of(graph)
    assert [type(e).__name__ for e in events].count("TurnFailed") == 1
    last = events[-1]
    assert isinstance(last, TurnFailed)
    assert last.message == f"{last.stage}: is away"


async def test_a_stage_that_may_degrade_gives_its_empty_value_and_its_reason() -> None:
    seen: list[Any] = []

    async def takes(ctx: StageContext, a: Any) -> Reply:
        seen.append(a)
        return Reply("went on")

    error = EngineUnavailable("knowledge", "is away")
    graph = graph_of(
        place("a", fails(error), on_error="degrade"), place("answer", takes, takes=["a"], speaks=True)
    )
    events = await events_of(graph)
    degraded = next(e for e in events if isinstance(e, StageDegraded))
    assert (degraded.stage, degraded.code, degraded.reason) == (
        "a",
        "ENGINE_UNAVAILABLE",
        "knowledge: is away",
    )
    assert seen == ["empty"]
    assert story(events) == ["+a", "~a", "+answer", "-answer", "TurnFinished"]


async def test_a_degraded_stage_is_told_to_the_log_without_what_was_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    graph = graph_of(
        place("a", fails(EngineUnavailable("x", "is away")), on_error="degrade"), speaker("ok", takes=["a"])
    )
    with caplog.at_level(logging.WARNING, "cozy"):
        await events_of(graph, turn("a secret"))
    [record] = caplog.records
    facts = vars(record)
    assert (facts["levelname"], facts["stage"], facts["code"]) == ("WARNING", "a", "ENGINE_UNAVAILABLE")
    assert "a secret" not in str(record.__dict__)


async def test_a_bug_in_a_stage_is_logged_and_leaks_no_words_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    last = await failed(
        graph_of(place("a", fails(ValueError("password=hunter2"))), speaker("x", takes=["a"]))
    )
    assert (last.code, last.stage) == ("INTERNAL_ERROR", "a")
    assert "hunter2" not in repr(last)
    [record] = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


async def test_a_bug_in_a_stage_that_may_degrade_degrades_it() -> None:
    graph = graph_of(
        place("a", fails(KeyError("password")), on_error="degrade"), speaker("went on", takes=["a"])
    )
    events = await events_of(graph)
    degraded = next(e for e in events if isinstance(e, StageDegraded))
    assert (degraded.code, degraded.reason) == ("INTERNAL_ERROR", "KeyError")


async def test_an_exception_group_of_a_stage_comes_out_as_one_failure() -> None:
    async def two_bugs(ctx: StageContext, **_: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: fails(ValueError("one"))(ctx))
            tasks.start_soon(lambda: fails(ValueError("two"))(ctx))

    assert (await failed(graph_of(place("a", two_bugs), speaker("x", takes=["a"])))).code == "INTERNAL_ERROR"


async def test_a_turn_that_failed_leaves_the_engine_fit_for_the_next() -> None:
    broken = [True]

    async def once(ctx: StageContext, **_: Any) -> None:
        if broken.pop():
            broken.append(False)
            raise ValueError

    graph = graph_of(place("a", once), speaker("fine", takes=["a"]))
    async with engine_of(graph) as engine:
        last: list[Any] = []
        for _ in range(2):
            async with engine.run(turn()) as running:
                last.append([event async for event in running][-1])
    assert [type(event) for event in last] == [TurnFailed, TurnFinished]


# -- `when` ---------------------------------------------------------------------------------------------


async def test_a_stage_whose_when_is_false_is_skipped_and_gives_its_empty_value() -> None:
    seen: list[Any] = []

    async def takes(ctx: StageContext, a: Any) -> Reply:
        seen.append(a)
        return Reply("ok")

    graph = graph_of(
        place("a", fails(AssertionError("not to be run")), when="turn.channel == 'voice'"),
        place("answer", takes, takes=["a"], speaks=True),
    )
    assert story(await events_of(graph)) == ["/a", "+answer", "-answer", "TurnFinished"]
    assert seen == ["empty"]


async def test_a_when_may_read_what_an_earlier_stage_gave() -> None:
    graph = graph_of(
        place("intent", gives(Generation(text="medical"))),
        place("a", gives(1), when="intent.text == 'medical'", after=["intent"]),
        place("b", gives(2), when="intent.text != 'medical'", after=["intent"]),
        speaker("ok", takes=["a", "b"]),
    )
    assert outcomes(await finished(graph)) == {
        "intent": "done",
        "a": "done",
        "b": "skipped",
        "answer": "done",
    }


async def test_what_cannot_do_without_a_skipped_stage_is_skipped_with_it() -> None:
    async def takes(ctx: StageContext, value: Any) -> Reply:
        return Reply(str(value))

    quick = place("quick", gives("quick"), when="turn.text == 'x'")
    loop = place("loop", Needed(fails(AssertionError("not to be run"))), takes=["quick"])
    careful = place("careful", gives("careful"), when="turn.text != 'x'")
    answer = place("answer", Needed(takes), first_of=["loop", "careful"], speaks=True)
    last = await finished(graph_of(quick, loop, careful, answer))
    assert outcomes(last) == {"quick": "skipped", "loop": "skipped", "careful": "done", "answer": "done"}
    assert last.text == "careful"


async def test_a_stage_that_could_be_left_out_itself_is_given_the_empty_value() -> None:
    async def takes(ctx: StageContext, a: Any) -> str:
        return f"{a} draft"

    async def says_it(ctx: StageContext, b: Any) -> Reply:
        return Reply(b)

    skipped = place("a", gives(1), when="turn.text == 'x'")
    graph = graph_of(
        skipped, place("b", takes, takes=["a"]), place("answer", says_it, takes=["b"], speaks=True)
    )
    assert (await finished(graph)).text == "empty draft"


async def test_when_everything_that_could_be_stored_was_skipped_the_turn_fails_and_is_kept() -> None:
    keeper = Keeper(fails(AssertionError("not to be run")))
    skipped = speaker("x", when="turn.text == 'x'")
    last = await failed(graph_of(skipped, place("save", keeper, takes=["answer"])))
    assert last.code == "TURN_NO_ANSWER"
    assert [reply.error for reply in keeper.kept] == ["TURN_NO_ANSWER"]


async def test_a_when_that_fails_ends_the_turn_with_its_own_error() -> None:
    graph = graph_of(place("a", gives(1), when="turn.text / 2"), speaker("x", takes=["a"]))
    assert (await failed(graph)).code == "TURN_TEMPLATE_FAILED"


# -- retries --------------------------------------------------------------------------------------------


def flaky(failures: int, error: Exception | None = None, said: str = "") -> tuple[Does, list[int]]:
    """A stage that fails so often before it gives its value, and how often it was tried."""
    tries = [0]

    async def does(ctx: StageContext, **_: Any) -> Reply:
        tries[0] += 1
        if said:
            await ctx.emit(TextDelta(said, ctx.node.id))
        if tries[0] <= failures:
            raise error or EngineUnavailable("x", "is away", retry_after_s=0.001)
        return Reply("at last")

    return does, tries


async def test_a_retry_that_succeeds_is_seen_in_the_trace_only() -> None:
    does, tries = flaky(2)
    last = await finished(graph_of(place("answer", does, retries=2, speaks=True)))
    assert (last.text, tries) == ("at last", [3])
    assert last.trace.stages[0].facts["attempts"] == 3
    assert last.trace.engine_errors == (EngineFailure("x", "ENGINE_UNAVAILABLE"),) * 2


@pytest.mark.usefixtures("no_time")
async def test_a_stage_that_keeps_its_deadline_is_not_tried_again_behind_it() -> None:
    async def does(ctx: StageContext) -> Reply:
        ctx.own_deadline(0.2)
        raise EngineRateLimited("house", "asks us to slow down", retry_after_s=20)

    began = anyio.current_time()
    last = await failed(graph_of(place("knowledge", does, retries=3, speaks=True)))
    assert last.code == "ENGINE_RATE_LIMITED"
    assert anyio.current_time() - began < 10


async def test_retries_that_are_used_up_end_in_the_last_error() -> None:
    does, tries = flaky(9)
    last = await failed(graph_of(place("answer", does, retries=1, speaks=True)))
    assert (last.code, tries) == ("ENGINE_UNAVAILABLE", [2])
    assert len(last.trace.engine_errors) == 2


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(EngineInvalidRequest("x", "no"), id="a request that would be refused again"),
        pytest.param(StorageError("no"), id="an error of another kind"),
    ],
)
async def test_what_would_fail_again_is_not_tried_again(error: Exception) -> None:
    does, tries = flaky(9, error)
    await failed(graph_of(place("answer", does, retries=3, speaks=True)))
    assert tries == [1]


async def test_a_stage_that_has_spoken_is_not_tried_again() -> None:
    does, tries = flaky(1, said="so ")
    last = await failed(graph_of(place("answer", does, retries=3, speaks=True)))
    assert (last.text, tries) == ("so ", [1])


@pytest.mark.usefixtures("no_time")
async def test_a_retry_that_would_come_after_the_timeout_is_not_waited_for() -> None:
    does, tries = flaky(9, EngineUnavailable("x", "is away", retry_after_s=60))
    last = await failed(graph_of(place("answer", does, retries=3, timeout_s=SHORT, speaks=True)))
    assert (last.message, tries) == ("x: is away", [1])


# -- deadlines ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_time")
async def test_each_stage_has_a_deadline_of_its_own() -> None:
    graph = graph_of(
        place("a", hangs, timeout_s=SHORT, on_error="degrade"),
        place("b", hangs, timeout_s=2 * SHORT, on_error="degrade"),
        place("c", gives(1)),
        speaker("ok", takes=["a", "b", "c"]),
    )
    last = await finished(graph)
    assert outcomes(last) == {"a": "degraded", "b": "degraded", "c": "done", "answer": "done"}
    facts = {stage.id: stage.facts for stage in last.trace.stages}
    assert facts["a"]["code"] == facts["b"]["code"] == "ENGINE_TIMEOUT"
    assert facts["b"]["reason"] == "stage `b` did not end within 0.1 s"


@pytest.mark.usefixtures("no_time")
async def test_a_stage_that_does_not_end_in_time_ends_the_turn() -> None:
    last = await failed(graph_of(place("a", hangs, timeout_s=SHORT), speaker("x", takes=["a"])))
    assert (last.code, last.stage, last.message) == (
        "ENGINE_TIMEOUT",
        "a",
        "stage `a` did not end within 0.05 s",
    )


async def test_a_timeout_error_of_a_stage_is_not_taken_for_its_deadline() -> None:
    last = await failed(graph_of(place("a", fails(TimeoutError()), timeout_s=5), speaker("x", takes=["a"])))
    assert last.code == "INTERNAL_ERROR"


@pytest.mark.usefixtures("no_time")
async def test_the_turn_has_a_deadline_above_all_stages() -> None:
    last = await failed(graph_of(place("a", hangs), speaker("x", takes=["a"]), timeout_s=SHORT))
    assert (last.code, last.stage, last.message) == (
        "ENGINE_TURN_TIMEOUT",
        None,
        "the turn did not end within 0.05 s",
    )


# -- the end --------------------------------------------------------------------------------------------


async def test_the_last_event_holds_the_answer_and_its_tool_calls() -> None:
    calls = (ToolCall("1", "of_the_client", "{}"),)

    async def does(ctx: StageContext) -> Generation:
        return Generation("well", calls, "tool_calls")

    last = await finished(graph_of(place("answer", does, speaks=True)))
    assert (last.text, last.finish_reason, last.tool_calls) == ("well", "tool_calls", calls)
    assert last.session_id == turn().session_id


async def test_of_several_stages_that_may_answer_the_one_that_ran_does() -> None:
    graph = graph_of(
        place("quick", says("quick"), speaks=True, when="turn.text == 'x'"),
        place("careful", says("careful"), speaks=True, when="turn.text != 'x'"),
    )
    assert (await finished(graph)).text == "careful"


async def test_a_turn_in_which_nobody_speaks_fails_and_says_so() -> None:
    last = await failed(graph_of(place("a", gives(1)), speaker("x", when="turn.text == 'x'")))
    assert last.code == "TURN_NO_ANSWER"


async def test_a_stage_that_fails_after_words_were_said_leaves_them_in_the_failure() -> None:
    last = await failed(graph_of(speaker("从前有", then=fails(EngineUnavailable("x", "is away")))))
    assert (last.text, last.code) == ("从前有", "ENGINE_UNAVAILABLE")


async def test_a_turn_for_a_personality_that_is_not_there_is_refused() -> None:
    async with engine_of(graph_of(speaker("x"))) as engine:
        with pytest.raises(NotFound, match="did you mean `steps`"):
            engine.run(turn(personality_id="step"))


async def test_the_variables_of_a_turn_are_what_templates_may_name() -> None:
    seen: dict[str, Any] = {}

    async def looks(ctx: StageContext, **_: Any) -> Reply:
        seen.update(ctx.variables)
        return Reply("ok")

    graph = graph_of(place("draft", gives("a draft")), place("answer", looks, takes=["draft"], speaks=True))
    await events_of(graph, turn("你好", language="zh-CN", channel="voice"))
    assert seen["message"] == "你好"
    assert (seen["language"], seen["channel"], seen["draft"]) == ("zh-CN", "voice", "a draft")
    assert seen["personality"].id == "steps"


async def test_a_stage_of_the_name_of_a_variable_does_not_hide_it() -> None:
    seen: dict[str, Any] = {}

    async def looks(ctx: StageContext, **_: Any) -> Reply:
        seen.update(ctx.variables)
        return Reply("ok")

    graph = graph_of(place("message", gives("mine")), place("answer", looks, after=["message"], speaks=True))
    await events_of(graph, turn("theirs"))
    assert seen["message"] == "theirs"


async def test_what_a_turn_says_besides_text_goes_out_in_order() -> None:
    async def does(ctx: StageContext) -> Reply:
        await ctx.emit(ToolStarted("1", "clock", "{}", "answer"))
        await ctx.emit(TextDelta("noon", "answer"))
        return Reply("noon")

    events = await events_of(graph_of(place("answer", does, speaks=True)))
    assert story(events) == ["+answer", "ToolStarted", "'noon'", "-answer", "TurnFinished"]


async def test_the_segments_of_a_turn_add_up_to_its_wall_time() -> None:
    async def works(ctx: StageContext, **_: Any) -> None:
        started = perf_counter()
        await anyio.sleep(0.02)
        ctx.mark("upstream", started, perf_counter())
        await anyio.sleep(0.01)

    graph = graph_of(
        place("a", works), place("b", works), place("c", works, takes=["a", "b"]), speaker("x", takes=["c"])
    )
    trace = (await finished(graph)).trace
    assert sum(s.seconds for s in trace.segments) == pytest.approx(trace.wall_s, rel=0.01)
    ends = [s.start_s + s.seconds for s in trace.segments]
    assert [s.start_s for s in trace.segments] == pytest.approx([0.0, *ends[:-1]], abs=1e-9)
