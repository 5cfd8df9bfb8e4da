"""What a model is asked, what is told of its answer while it speaks, and who answers when it cannot."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cozy.adapters.scripted import Reply as Script
from cozy.adapters.scripted import ScriptedLLM, ScriptedUsage
from cozy.errors import EngineAuthError, EngineTimeout, EngineUnavailable
from cozy.events import ReasoningDelta, TextDelta, ToolCallDelta, UsageReported
from cozy.ports.llm import Sampling
from cozy.ports.tools import ToolSpec
from cozy.stages.base import ModelChoice, NodeInfo
from cozy.stages.llm import Llm, LlmSettings
from cozy.stages.templates import Template
from cozy.stages.tool_arguments import compile_tools
from cozy.stages.values import Generation, Prompt
from cozy.turn import Message, ToolCall
from cozy.usage import Usage
from tests.stages.seat import ADA, Characters, Seat, persona, ports, turn

PROMPT = Prompt((Message("system", "You are Mia."), Message("user", "tea?")), tokens=30)
CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object"})


def seat(llm: ScriptedLLM, *, speaks: bool = True, ask: str = "", **facts: Any) -> Seat:
    templates = {"ask": Template(ask, "ask")} if ask else {}
    model = facts.pop("model", None)
    node = NodeInfo("answer", speaks, facts.pop("offers_tools", False), model, templates)
    return Seat(ports=ports(llm=llm), node=node, **facts)


def llm(**settings: Any) -> Llm:
    return Llm(LlmSettings(type="llm", **settings))


def script(*replies: Script | dict[str, Any]) -> ScriptedLLM:
    return ScriptedLLM(replies=replies)


# -- what is asked --------------------------------------------------------------------------------------


async def test_a_model_is_sent_the_prompt_with_the_personalitys_settings() -> None:
    model = ScriptedLLM("Yes.")
    choice = ModelChoice(("test/big",), Sampling(temperature=0.5, stop=("END",)))
    await llm().run(PROMPT, seat(model, persona=persona(model=choice)))
    [request] = model.requests
    assert (request.model, request.messages) == ("test/big", PROMPT.messages)
    assert (request.sampling, request.tools, request.user) == (choice.sampling, (), str(ADA))


async def test_a_stages_own_model_goes_before_the_personalitys() -> None:
    model = ScriptedLLM("Yes.")
    await llm().run(PROMPT, seat(model, model=ModelChoice(("test/small",))))
    assert model.requests[0].model == "test/small"


async def test_a_turn_that_names_a_model_is_answered_by_it_alone() -> None:
    model = script({"fault": {"kind": "EngineTimeout"}})
    choice = ModelChoice(("test/big", "test/small"))
    with pytest.raises(EngineTimeout):
        await llm().run(PROMPT, seat(model, model=choice, turn=turn(model="test/other")))
    assert [request.model for request in model.requests] == ["test/other"]


async def test_tools_are_offered_where_a_loop_runs_them() -> None:
    mia = persona(tools=compile_tools([CLOCK]))
    for offers, offered in ((True, (CLOCK,)), (False, ())):
        model = ScriptedLLM("Yes.")
        await llm().run(PROMPT, seat(model, persona=mia, offers_tools=offers))
        assert model.requests[0].tools == offered


async def test_what_a_stage_asks_is_the_last_message() -> None:
    model = ScriptedLLM("OK.")
    here = seat(model, ask="这样好吗？{{ draft.text }}", values={"draft": Generation("喝茶。")})
    await llm().run(PROMPT, here)
    assert model.requests[0].messages == (*PROMPT.messages, Message("user", "这样好吗？喝茶。"))


# -- what is told ---------------------------------------------------------------------------------------


async def test_words_are_told_piece_by_piece_and_given_as_a_whole() -> None:
    usage = ScriptedUsage(prompt=40, completion=5)
    here = seat(script(Script(reasoning=("Hm.",), text=("从前", "有座山"), usage=usage)))
    said = await llm().run(PROMPT, here)
    assert here.events == [
        ReasoningDelta("Hm.", "answer"),
        TextDelta("从前", "answer"),
        TextDelta("有座山", "answer"),
        UsageReported("answer", "test/big", Usage(40, 5)),
    ]
    assert (said.text, said.reasoning, said.finish_reason) == ("从前有座山", "Hm.", "stop")
    assert (said.model, said.usage) == ("test/big", Usage(40, 5))
    assert said.request is not None


async def test_a_hidden_stage_says_nothing_but_what_it_cost() -> None:
    usage = ScriptedUsage(prompt=40, completion=5)
    here = seat(script(Script(reasoning=("Hm.",), text=("从前",), usage=usage)), speaks=False)
    said = await llm().run(PROMPT, here)
    assert said.text == "从前"
    assert [type(event) for event in here.events] == [UsageReported]


async def test_calls_are_told_in_pieces_and_given_whole() -> None:
    call = {"name": "clock", "arguments": ['{"zone": ', '"UTC"}'], "id": "c1"}
    here = seat(script({"text": "Let me look.", "tool_calls": [call, {"name": "clock", "id": "c2"}]}))
    said = await llm().run(PROMPT, here)
    assert said.tool_calls == (
        ToolCall("c1", "clock", '{"zone": "UTC"}'),
        ToolCall("c2", "clock", "{}"),
    )
    assert said.finish_reason == "tool_calls"
    deltas = [event for event in here.events if isinstance(event, ToolCallDelta)]
    assert [(d.index, d.id, d.name, d.arguments) for d in deltas] == [
        (0, "c1", "clock", '{"zone": '),
        (0, "", "", '"UTC"}'),
        (1, "c2", "clock", "{}"),
    ]


async def test_a_stop_with_calls_is_an_end_by_calls() -> None:
    here = seat(script({"tool_calls": [{"name": "clock"}], "finish_reason": "stop"}))
    assert (await llm().run(PROMPT, here)).finish_reason == "tool_calls"


async def test_words_after_another_stages_words_begin_a_paragraph() -> None:
    here = seat(ScriptedLLM("Well."))
    await here.emit(TextDelta("Let me see.", "before"))
    await llm().run(PROMPT, here)
    assert here.spoken == "Let me see.\n\nWell."


async def test_the_servers_count_corrects_ours() -> None:
    counter = Characters()
    model = script(Script(text=("Yes.",), usage=ScriptedUsage(prompt=40, completion=1)))
    here = seat(model, ask="Sure?")
    here.ports = ports(llm=model, tokens=counter)
    await llm().run(PROMPT, here)
    assert counter.learned == [("test/big", 30 + len("Sure?") + 3, Usage(40, 1))]


async def test_a_server_that_does_not_count_teaches_nothing() -> None:
    counter, model = Characters(), ScriptedLLM("Yes.")
    here = seat(model)
    here.ports = ports(llm=model, tokens=counter)
    said = await llm().run(PROMPT, here)
    assert (counter.learned, said.usage) == ([], Usage())
    assert here.requests == [(model.requests[0], Usage())]


async def test_the_time_to_the_first_piece_is_told_apart() -> None:
    here = seat(ScriptedLLM("Yes."))
    await llm().run(PROMPT, here)
    assert here.marks == ["first_token", "upstream"]


async def test_cancelling_closes_the_models_stream_at_once() -> None:
    model = script({"text": ["one", "two"], "fault": {"kind": "stall", "after": 1}})
    here = seat(model)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(llm().run, PROMPT, here)
            while not here.spoken:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert [(heard.pieces, heard.ended) for heard in model.heard] == [(1, "left")]
    assert here.marks == ["first_token", "upstream"]


# -- when a model fails ---------------------------------------------------------------------------------

TWO = ModelChoice(("test/big", "test/small"))


async def test_while_no_word_was_spoken_the_next_model_is_asked() -> None:
    model = script({"fault": {"kind": "EngineUnavailable", "message": "gone"}}, {"text": "Yes."})
    here = seat(model, model=TWO)
    said = await llm().run(PROMPT, here)
    assert (said.text, said.model) == ("Yes.", "test/small")
    assert here.notes == {"model": "test/small", "fallback": "test/big: test: gone"}


async def test_thoughts_do_not_keep_the_next_model_from_being_asked() -> None:
    model = script({"reasoning": "Hm.", "fault": {"kind": "cut", "after": 1}}, {"text": "Yes."})
    assert (await llm().run(PROMPT, seat(model, model=TWO))).text == "Yes."


async def test_once_a_word_was_spoken_no_other_model_takes_over() -> None:
    model = script({"text": ["So", " on"], "fault": {"kind": "cut", "after": 1}})
    with pytest.raises(EngineUnavailable):
        await llm().run(PROMPT, seat(model, model=TWO))
    assert len(model.requests) == 1


async def test_words_that_nobody_heard_do_not_keep_another_model_from_answering() -> None:
    model = script({"text": ["So", " on"], "fault": {"kind": "cut", "after": 1}}, {"text": "medical"})
    said = await llm().run(PROMPT, seat(model, model=TWO, speaks=False))
    assert said.text == "medical"


async def test_the_last_models_error_is_the_stages() -> None:
    model = script({"fault": {"kind": "EngineTimeout"}}, {"fault": {"kind": "EngineAuthError"}})
    with pytest.raises(EngineAuthError):
        await llm().run(PROMPT, seat(model, model=TWO))


async def test_its_own_words_are_said_where_no_model_answers() -> None:
    model = script({"fault": {"kind": "EngineTimeout"}}, {"fault": {"kind": "EngineAuthError"}})
    here = seat(model, model=TWO)
    said = await llm(fallback_text="稍后再试。").run(PROMPT, here)
    assert (said.text, said.finish_reason, here.spoken) == ("稍后再试。", "stop", "稍后再试。")
    assert set(here.notes) == {"model", "fallback", "fallback_text"}


async def test_its_own_words_are_not_said_behind_half_an_answer() -> None:
    model = script({"text": ["So", " on"], "fault": {"kind": "cut", "after": 1}})
    here = seat(model)
    with pytest.raises(EngineUnavailable):
        await llm(fallback_text="Sorry.").run(PROMPT, here)
    assert here.spoken == "So"


async def test_a_hidden_stages_own_words_are_given_but_not_said() -> None:
    here = seat(script({"fault": {"kind": "EngineTimeout"}}), speaks=False)
    said = await llm(fallback_text="chat").run(PROMPT, here)
    assert (said.text, here.spoken) == ("chat", "")


async def test_a_stream_without_an_end_is_a_bug_of_its_adapter() -> None:
    class Endless(ScriptedLLM):
        async def _chunks(self, heard: Any) -> Any:
            async for chunk in super()._chunks(heard):
                if type(chunk).__name__ != "FinishChunk":
                    yield chunk

    with pytest.raises(RuntimeError, match="without a FinishChunk"):
        await llm().run(PROMPT, seat(Endless("Yes.")))


def test_the_value_of_a_model_that_was_not_asked_is_silence() -> None:
    assert llm().empty() == Generation()
