"""Tools that a model calls are run, and it is asked again, until it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from cozy.adapters.scripted import ScriptedLLM
from cozy.adapters.scripted_engines import ScriptedToolbox
from cozy.errors import EngineUnavailable, NoAnswer, ToolError
from cozy.events import TextDelta, ToolFinished, ToolStarted
from cozy.ports.llm import LLMRequest
from cozy.ports.tools import Toolbox, ToolCaller, ToolResult, ToolSpec
from cozy.stages.base import ModelChoice, NodeInfo
from cozy.stages.tool_arguments import compile_tools
from cozy.stages.tool_loop import ToolLoop, ToolLoopSettings
from cozy.stages.values import Generation, Reply
from cozy.turn import ClientTool, Message, Sampling, ToolCall
from cozy.usage import Usage
from tests.stages.seat import ADA, FIRST, MAIN, Seat, persona, ports, turn

pytestmark = pytest.mark.usefixtures("no_time")

SCHEMA = {"type": "object", "properties": {"zone": {"type": "string"}}, "additionalProperties": False}
ASKED = (Message("system", "You are Mia."), Message("user", "几点了"))


def toolbox(**results: Any) -> ScriptedToolbox:
    """Tools by name, and what each of their calls gives."""
    tools = [{"name": n, "parameters": SCHEMA, "results": r, "timeout_s": 0.2} for n, r in results.items()]
    return ScriptedToolbox({"tools": tools})


def calls(*names: str, arguments: str = "{}") -> tuple[ToolCall, ...]:
    return tuple(ToolCall(f"c{i}", name, arguments) for i, name in enumerate(names, 1))


def wants(*names: str, text: str = "", **facts: Any) -> Generation:
    """What a model said first: calls of these tools."""
    tools = facts.pop("tools", None) or [ToolSpec(name, "", SCHEMA) for name in set(names)]
    request = LLMRequest("test/big", ASKED, tuple(tools), sampling=Sampling(temperature=0.5))
    made = calls(*names, arguments=facts.pop("arguments", "{}"))
    asked = {"model": "test/big", "models": ("test/big", "test/small"), "request": request}
    return Generation(text, made, "tool_calls", **asked | facts)


def seat(model: ScriptedLLM, tools: Toolbox, **facts: Any) -> Seat:
    mia = persona(tools=compile_tools(tools.specs()), model=ModelChoice(("test/mia",)))
    node = NodeInfo("tools", speaks=True)
    return Seat(
        turn=facts.pop("turn", turn("几点了")), persona=mia, node=node, ports=ports(llm=model, tools=tools)
    )


async def looped(generation: Generation, here: Seat, **settings: Any) -> Reply:
    with anyio.fail_after(30):
        return await ToolLoop(ToolLoopSettings(type="tool_loop", **settings)).run(generation, here)


def finished(here: Seat) -> list[tuple[str, str, bool]]:
    return [(e.name, e.content, e.is_error) for e in here.events if isinstance(e, ToolFinished)]


# -- rounds ---------------------------------------------------------------------------------------------


async def test_an_answer_without_calls_is_the_reply() -> None:
    said = Generation("你好", usage=Usage(10, 2), model="test/big", request=LLMRequest("test/big", ASKED))
    reply = await looped(said, seat(ScriptedLLM(), toolbox()))
    assert (reply.text, reply.messages, reply.rounds) == ("你好", (Message("assistant", "你好"),), 0)
    assert (reply.usage, reply.model, reply.finish_reason) == (Usage(10, 2), "test/big", "stop")


async def test_a_result_goes_back_to_the_model_which_then_answers() -> None:
    model, tools = ScriptedLLM("十二点。"), toolbox(clock=[{"content": "12:00"}])
    here = seat(model, tools)
    reply = await looped(wants("clock", text="我看看。", usage=Usage(10, 2)), here)
    asked = Message("assistant", "我看看。", tool_calls=calls("clock"))
    result = Message("tool", "12:00", tool_call_id="c1")
    assert model.requests[0].messages == (*ASKED, asked, result)
    assert model.requests[0].sampling == Sampling(temperature=0.5)
    assert reply.messages == (asked, result, Message("assistant", "十二点。"))
    assert (reply.text, reply.rounds) == ("我看看。\n\n十二点。", 1)


async def test_rounds_go_on_until_the_model_calls_no_more() -> None:
    usage = {"prompt": 5, "completion": 1}
    model = ScriptedLLM(
        replies=[
            {"tool_calls": [{"name": "clock", "id": "c2"}], "usage": usage},
            {"text": "noon", "usage": usage},
        ]
    )
    reply = await looped(
        wants("clock", usage=Usage(10, 2)),
        seat(model, toolbox(clock=[{"content": "12:00"}, {"content": "12:01"}])),
    )
    assert [m.role for m in reply.messages] == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert (reply.rounds, reply.usage) == (2, Usage(20, 4))


async def test_the_last_round_lets_no_tools_be_called_and_runs_none() -> None:
    model = ScriptedLLM(replies=[{"text": "noon, I think", "tool_calls": [{"name": "clock"}]}])
    tools = toolbox(clock=[{"content": "12:00"}])
    reply = await looped(wants("clock"), seat(model, tools), max_rounds=1)
    [request] = model.requests
    # the tools are still there, as a part of the prefix that servers remember
    assert ([tool.name for tool in request.tools], request.tool_choice) == (["clock"], "none")
    assert (len(tools.calls), reply.text, reply.finish_reason) == (1, "noon, I think", "stop")
    assert reply.messages[-1] == Message("assistant", "noon, I think")


async def test_before_the_last_round_tools_are_offered_again() -> None:
    model = ScriptedLLM("noon")
    await looped(wants("clock"), seat(model, toolbox(clock=[{"content": "12:00"}])), max_rounds=2)
    assert [tool.name for tool in model.requests[0].tools] == ["clock"]


async def test_what_a_model_thought_goes_back_beside_its_calls() -> None:
    model = ScriptedLLM("noon")
    await looped(
        wants("clock", reasoning="I need the time."), seat(model, toolbox(clock=[{"content": "12"}]))
    )
    assert model.requests[0].messages[2].reasoning == "I need the time."


async def test_a_turn_in_which_no_model_was_asked_has_no_reply() -> None:
    with pytest.raises(NoAnswer):
        await looped(Generation(), seat(ScriptedLLM(), toolbox()))


async def test_while_no_word_of_a_round_was_spoken_another_model_may_go_on() -> None:
    model = ScriptedLLM(replies=[{"fault": {"kind": "EngineUnavailable"}}, {"text": "noon"}])
    here = seat(model, toolbox(clock=[{"content": "12:00"}]))
    await here.emit(TextDelta("Let me look.", "answer"))
    reply = await looped(wants("clock", text="Let me look."), here)
    assert (reply.model, [r.model for r in model.requests]) == ("test/small", ["test/big", "test/small"])


async def test_the_models_that_might_have_answered_first_go_on_in_their_order() -> None:
    replies = [{"fault": {"kind": "EngineUnavailable"}}, {"text": "noon"}]
    model = ScriptedLLM(replies=replies)
    said = wants("clock", model="test/b", models=("test/a", "test/b"))
    await looped(said, seat(model, toolbox(clock=[{"content": "12:00"}])))
    assert [r.model for r in model.requests] == ["test/b", "test/a"]


async def test_a_stages_own_words_are_said_where_no_model_goes_on() -> None:
    model = ScriptedLLM(replies=[{"fault": {"kind": "EngineUnavailable"}}])
    here = seat(model, toolbox(clock=[{"content": "12:00"}]))
    await here.emit(TextDelta("我看看。", "answer"))
    said = wants("clock", text="我看看。", models=("test/big",), fallback_text="稍后再试。")
    reply = await looped(said, here)
    assert (reply.text, here.spoken) == ("我看看。\n\n稍后再试。", "我看看。\n\n稍后再试。")
    assert (reply.is_fallback, reply.messages[-1]) == (True, Message("assistant", "稍后再试。"))


async def test_a_model_that_falls_silent_leaves_no_empty_message() -> None:
    model = ScriptedLLM(replies=[{"text": ""}])
    reply = await looped(wants("clock", text="我看看。"), seat(model, toolbox(clock=[{"content": "12:00"}])))
    assert [m.role for m in reply.messages] == ["assistant", "tool"]
    assert reply.text == "我看看。"


async def test_where_no_model_goes_on_its_error_is_the_stages() -> None:
    fault = {"fault": {"kind": "EngineUnavailable"}}
    with pytest.raises(EngineUnavailable):
        await looped(
            wants("clock"), seat(ScriptedLLM(replies=[fault, fault]), toolbox(clock=[{"content": "12"}]))
        )


# -- the client's own tools -----------------------------------------------------------------------------


async def test_calls_of_the_clients_tools_end_the_turn_at_once() -> None:
    here = seat(ScriptedLLM(), toolbox(), turn=turn(tools=(ClientTool("basket"),)))
    reply = await looped(wants("basket", text="Let me see."), here)
    assert (reply.text, reply.finish_reason, reply.tool_calls) == (
        "Let me see.",
        "tool_calls",
        calls("basket"),
    )
    assert reply.messages == (Message("assistant", "Let me see.", tool_calls=calls("basket")),)
    assert (reply.rounds, here.events, here.kept) == (0, [], [])


async def test_in_a_round_of_both_kinds_ours_are_run_and_the_client_is_given_its_own() -> None:
    here = seat(
        ScriptedLLM(), toolbox(clock=[{"content": "12:00"}]), turn=turn(tools=(ClientTool("basket"),))
    )
    reply = await looped(wants("basket", "clock"), here)
    asked = Message("assistant", tool_calls=calls("basket", "clock"))
    assert reply.messages == (asked, Message("tool", "12:00", tool_call_id="c2"))
    assert (reply.tool_calls, reply.rounds) == ((calls("basket", "clock")[0],), 1)


async def test_after_rounds_of_ours_the_clients_calls_end_the_turn_with_all_that_was_said() -> None:
    model = ScriptedLLM(replies=[{"text": "Here.", "tool_calls": [{"name": "basket", "id": "c2"}]}])
    here = seat(model, toolbox(clock=[{"content": "12:00"}]), turn=turn(tools=(ClientTool("basket"),)))
    tools = [ToolSpec("clock", "", SCHEMA), ToolSpec("basket", "", SCHEMA)]
    reply = await looped(wants("clock", text="One moment.", tools=tools), here)
    assert [m.role for m in reply.messages] == ["assistant", "tool", "assistant"]
    assert (reply.text, [call.name for call in reply.tool_calls]) == ("One moment.\n\nHere.", ["basket"])


async def test_a_call_that_had_to_be_made_need_not_be_made_again() -> None:
    model = ScriptedLLM("noon")
    said = wants("clock")
    assert said.request is not None
    asked = replace(said.request, tool_choice="required", parallel_tool_calls=False)
    await looped(replace(said, request=asked), seat(model, toolbox(clock=[{"content": "12:00"}])))
    assert (model.requests[0].tool_choice, model.requests[0].parallel_tool_calls) == ("auto", False)


# -- calls ----------------------------------------------------------------------------------------------


async def test_a_tool_is_told_on_whose_behalf_it_runs() -> None:
    tools = toolbox(clock=[{"content": "12:00"}])
    await looped(wants("clock", arguments='{"zone": "UTC"}'), seat(ScriptedLLM("noon"), tools))
    [run] = tools.calls
    assert (run.name, run.arguments) == ("clock", {"zone": "UTC"})
    caller = run.caller
    assert (caller.user_id, caller.session_id, caller.turn_id, caller.personality_id) == (
        ADA,
        MAIN,
        FIRST,
        "mia",
    )


@dataclass
class Meeting:
    """A toolbox whose tools wait for one another: one after the other they would wait for ever."""

    names: Sequence[str]
    here: set[str] = field(default_factory=set[str])
    all_here: anyio.Event = field(default_factory=anyio.Event)

    def specs(self) -> Sequence[ToolSpec]:
        return [ToolSpec(name, "", {"type": "object"}) for name in self.names]

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        self.here.add(name)
        if len(self.here) == len(self.names):
            self.all_here.set()
        await self.all_here.wait()
        # the last to be called is the first to be done
        for _ in range(len(self.names) - self.names.index(name)):
            await anyio.lowlevel.checkpoint()
        return ToolResult(f"{name} is done")


async def test_calls_of_one_round_run_side_by_side_and_answer_in_their_order() -> None:
    names = ["a", "b", "c"]
    here = seat(ScriptedLLM("done"), Meeting(names))
    reply = await looped(wants(*names), here)
    assert [m.content for m in reply.messages[1:4]] == ["a is done", "b is done", "c is done"]
    assert [e.name for e in here.events if isinstance(e, ToolStarted)] == names
    assert here.marks[0] == "tools"


@pytest.mark.parametrize(
    ("name", "arguments", "results", "told"),
    [
        pytest.param(
            "clcok", "{}", [{"content": "12"}], "did you mean `clock`?", id="a tool that is not there"
        ),
        pytest.param("clock", "{", [{"content": "12"}], "not valid JSON", id="arguments that are no JSON"),
        pytest.param(
            "clock", '{"zone": 1}', [{"content": "12"}], "`zone` must be string", id="of a wrong type"
        ),
        pytest.param(
            "clock", '{"zoen": ""}', [{"content": "12"}], "did you mean `zone`?", id="of a wrong name"
        ),
        pytest.param(
            "clock",
            "{}",
            [{"fault": {"kind": "ToolError", "message": "no clock"}}],
            "no clock",
            id="it fails",
        ),
        pytest.param(
            "clock",
            "{}",
            [{"fault": {"kind": "EngineUnavailable"}}],
            "clock: the script",
            id="its server is away",
        ),
        pytest.param(
            "clock",
            "{}",
            [{"fault": {"kind": "stall"}}],
            "did not answer within 0.2 s",
            id="it takes too long",
        ),
        pytest.param("clock", "{}", [{"content": "no", "is_error": True}], "no", id="it says so itself"),
    ],
)
async def test_what_goes_wrong_goes_back_to_the_model(
    name: str, arguments: str, results: list[Any], told: str
) -> None:
    model = ScriptedLLM("I do not know.")
    here = seat(model, toolbox(clock=results))
    reply = await looped(wants(name, arguments=arguments), here)
    [(_, content, is_error)] = finished(here)
    assert is_error
    assert told in content
    assert model.requests[0].messages[-1] == Message("tool", content, tool_call_id="c1")
    assert reply.text == "I do not know."


async def test_arguments_that_do_not_fit_never_reach_the_tool() -> None:
    tools = toolbox(clock=[{"content": "12"}])
    await looped(wants("clock", arguments='{"zone": 1}'), seat(ScriptedLLM("?"), tools))
    assert tools.calls == []


async def test_the_stage_may_set_the_time_of_all_its_tools() -> None:
    here = seat(ScriptedLLM("?"), toolbox(clock=[{"fault": {"kind": "stall"}}]))
    await looped(wants("clock"), here, tool_timeout="20ms")
    assert finished(here) == [("clock", "`clock` did not answer within 0.02 s", True)]


async def test_one_call_that_fails_leaves_the_others_of_its_round_alone() -> None:
    tools = toolbox(clock=[{"content": "12:00"}], weather=[{"fault": {"kind": "stall"}}])
    reply = await looped(wants("weather", "clock"), seat(ScriptedLLM("noon"), tools))
    assert [m.content for m in reply.messages[1:3]] == ["`weather` did not answer within 0.2 s", "12:00"]


async def test_of_a_bug_in_a_tool_the_model_is_told_no_more_than_that_it_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Meeting):
        async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
            raise ZeroDivisionError("secret")

    for names in (["a"], ["a", "b"]):
        here = seat(ScriptedLLM("I could not."), Broken(names))
        reply = await looped(wants(*names), here)
        assert finished(here) == [(name, f"`{name}` is broken and gave no result", True) for name in names]
        assert reply.text == "I could not."
    assert "ZeroDivisionError: secret" in caplog.text
    assert "secret" not in repr(reply)


async def test_cancelling_the_stage_stops_its_tools() -> None:
    stopped = anyio.Event()

    class Slow(Meeting):
        async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
            try:
                await anyio.sleep_forever()
            finally:
                stopped.set()
            raise ToolError("never")

    here = seat(ScriptedLLM(), Slow(["a"]))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(looped, wants("a"), here)
            while not here.events:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert stopped.is_set()


@pytest.mark.parametrize(
    ("turn_language", "own_language", "text", "expected"),
    [
        ("de", "zh-CN", "几点了", "de"),
        (None, "zh-CN", "what time is it", "zh-CN"),
        (None, "", "几点了", "zh"),
        (None, "", "今何時ですか", None),
        (None, "", "what time is it", None),
    ],
)
async def test_a_tool_answers_in_the_language_of_the_turn(
    turn_language: str | None, own_language: str, text: str, expected: str | None
) -> None:
    tools = toolbox(clock=[{"content": "12:00"}])
    here = seat(ScriptedLLM("noon"), tools, turn=turn(text, language=turn_language))
    here.persona = persona(tools=here.persona.tools, language=own_language)
    await looped(wants("clock"), here)
    assert tools.calls[0].caller.language == expected
