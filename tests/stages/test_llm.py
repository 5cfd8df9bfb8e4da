"""What a model is asked, what is told of its answer while it speaks, and who answers when it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from cozy.adapters.scripted import Reply as Script
from cozy.adapters.scripted import ScriptedLLM, ScriptedUsage
from cozy.errors import EngineAuthError, EngineTimeout, EngineUnavailable, PromptTooLarge
from cozy.events import ReasoningDelta, TextDelta, ToolCallDelta, UsageReported
from cozy.ports.llm import ModelCard
from cozy.ports.operations import AuditEvent
from cozy.ports.tools import ToolSpec
from cozy.stages.base import ModelChoice, NodeInfo
from cozy.stages.llm import Llm, LlmSettings, ToolNotOffered
from cozy.stages.templates import Template
from cozy.stages.tool_arguments import compile_tools
from cozy.stages.values import Generation, Prompt, PromptSection, Reply
from cozy.turn import ClientTool, Message, Sampling, ToolCall
from cozy.usage import Usage
from tests.stages.seat import ADA, Characters, Seat, Trail, persona, ports, turn

PROMPT = Prompt((Message("system", "You are Mia."), Message("user", "tea?")), tokens=30)
CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object"})


def seat(llm: ScriptedLLM, *, speaks: bool = True, ask: str = "", **facts: Any) -> Seat:
    templates = {"ask": Template(ask, "ask")} if ask else {}
    model = facts.pop("model", None)
    node = NodeInfo(
        "answer",
        speaks,
        facts.pop("offers_tools", False),
        model,
        templates,
        own_model=facts.pop("own_model", False),
    )
    if node.offers_tools:
        facts.setdefault("persona", persona(tools=compile_tools([CLOCK]), tools_text="clock"))
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


async def test_a_stage_that_names_its_own_model_keeps_it_in_a_turn_that_names_another() -> None:
    model = ScriptedLLM("medical")
    here = seat(model, model=ModelChoice(("test/cheap",)), own_model=True, turn=turn(model="test/other"))
    await llm().run(PROMPT, here)
    assert model.requests[0].model == "test/cheap"


async def test_tools_are_offered_where_a_loop_runs_them() -> None:
    mia = persona(tools=compile_tools([CLOCK]))
    for offers, offered in ((True, (CLOCK,)), (False, ())):
        model = ScriptedLLM("Yes.")
        await llm().run(PROMPT, seat(model, persona=mia, offers_tools=offers))
        assert model.requests[0].tools == offered


WISHES = Sampling(temperature=0.1, max_tokens=50)


async def test_a_clients_wishes_go_before_the_settings_of_the_stage_that_speaks() -> None:
    choice = ModelChoice(("test/big",), Sampling(temperature=0.9, seed=7, max_tokens=500))
    for speaks, sampling in (
        (True, Sampling(temperature=0.1, seed=7, max_tokens=50)),
        (False, choice.sampling),
    ):
        model = ScriptedLLM("Yes.")
        await llm().run(PROMPT, seat(model, speaks=speaks, model=choice, turn=turn(sampling=WISHES)))
        assert model.requests[0].sampling == sampling


async def test_what_a_client_lets_it_say_must_fit_beside_the_prompt() -> None:
    model = ScriptedLLM(context_tokens=2000)
    with pytest.raises(PromptTooLarge):
        await llm().run(PROMPT, seat(model, turn=turn(sampling=Sampling(max_tokens=1990))))


async def test_a_clients_choice_of_tools_holds_for_the_stage_that_speaks() -> None:
    wishes = {"tools": (ClientTool("basket"),), "tool_choice": "basket", "parallel_tool_calls": False}
    model = ScriptedLLM("Yes.")
    await llm().run(PROMPT, seat(model, offers_tools=True, turn=turn(**wishes)))
    [request] = model.requests
    assert [tool.name for tool in request.tools] == ["clock", "basket"]
    assert (request.tool_choice, request.parallel_tool_calls) == ("basket", False)
    model = ScriptedLLM("Yes.")
    await llm().run(PROMPT, seat(model, speaks=False, offers_tools=True, turn=turn(**wishes)))
    [request] = model.requests
    assert [tool.name for tool in request.tools] == ["clock"]
    assert (request.tool_choice, request.parallel_tool_calls) == ("auto", None)


async def test_a_clients_tools_need_no_loop_and_their_calls_are_in_the_reply() -> None:
    model = script({"tool_calls": [{"name": "basket"}]})
    said = await llm().run(PROMPT, seat(model, turn=turn(tools=(ClientTool("basket"),))))
    assert Reply.of(said).tool_calls == (ToolCall("call_1", "basket", "{}"),)
    assert Reply.of(said).finish_reason == "tool_calls"


async def test_where_no_tool_may_be_called_they_stay_and_none_is() -> None:
    model = script({"text": "Yes.", "tool_calls": [{"name": "basket"}]})
    here = seat(model, turn=turn(tools=(ClientTool("basket"),), tool_choice="none"))
    said = await llm().run(PROMPT, here)
    assert (said.tool_calls, len(model.requests[0].tools)) == ((), 1)


async def test_a_tool_that_must_be_called_must_be_offered() -> None:
    here = seat(ScriptedLLM(), offers_tools=True, turn=turn(tool_choice="clok"))
    with pytest.raises(ToolNotOffered, match="clok") as raised:
        await llm().run(PROMPT, here)
    assert raised.value.hint == "did you mean `clock`?"


async def test_without_tools_nothing_is_asked_of_them() -> None:
    model = ScriptedLLM("Yes.")
    await llm().run(PROMPT, seat(model, turn=turn(tool_choice="required")))
    assert model.requests[0].tool_choice == "auto"


async def test_each_user_of_a_client_is_another_and_none_is_named() -> None:
    users: list[str | None] = []
    for end_user in ("ming", "hong", "ming", None):
        model = ScriptedLLM("Yes.")
        await llm().run(PROMPT, seat(model, turn=turn(end_user=end_user)))
        users.append(model.requests[0].user)
    assert (users[0], users[3]) == (users[2], str(ADA))
    assert len(set(users)) == 3
    assert "ming" not in str(users)


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
    answer = {"text": "Let me look.", "tool_calls": [call, {"name": "clock", "id": "c2"}]}
    here = seat(script(answer), offers_tools=True)
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
    here = seat(script({"tool_calls": [{"name": "clock"}], "finish_reason": "stop"}), offers_tools=True)
    assert (await llm().run(PROMPT, here)).finish_reason == "tool_calls"


async def test_calls_of_a_model_that_was_offered_no_tools_are_not_taken() -> None:
    here = seat(script({"text": "Hm.", "tool_calls": [{"name": "clock"}]}))
    said = await llm().run(PROMPT, here)
    assert (said.text, said.tool_calls, said.finish_reason) == ("Hm.", (), "stop")
    assert not [event for event in here.events if isinstance(event, ToolCallDelta)]
    assert [(e.type, e.payload["tool"]) for e in recorded(here)] == [("tool.denied", "clock")]


async def test_a_model_that_only_calls_where_it_was_to_speak_gives_way_to_the_next() -> None:
    model = script({"tool_calls": [{"name": "clock"}]}, {"text": "Noon."})
    here = seat(model, model=TWO)
    assert (await llm().run(PROMPT, here)).text == "Noon."
    assert [e.payload["outcome"] for e in recorded(here)] == ["TOOL_NOT_OFFERED"]
    assert [request.model for request, _ in here.requests] == ["test/big", "test/small"], "both have cost"
    with pytest.raises(EngineUnavailable, match="to answer in words"):
        await llm().run(PROMPT, seat(script({"tool_calls": [{"name": "clock"}]})))


async def test_where_tools_are_run_a_call_that_was_not_offered_is_theirs_to_deny() -> None:
    here = seat(script({"tool_calls": [{"name": "clock"}]}), offers_tools=True)
    assert [call.name for call in (await llm().run(PROMPT, here)).tool_calls] == ["clock"]


def recorded(here: Seat) -> list[AuditEvent]:
    trail = here.ports.audit
    assert isinstance(trail, Trail)
    return trail.events


async def test_pieces_without_words_are_not_told() -> None:
    here = seat(script({"reasoning": ["", "Hm."], "text": ["", "Yes.", ""]}))
    await here.emit(TextDelta("So.", "before"))
    await llm().run(PROMPT, here)
    assert [event.text for event in here.events[1:] if not isinstance(event, UsageReported)] == [
        "Hm.",
        "\n\n",
        "Yes.",
    ]


def test_an_answer_of_nothing_is_no_message() -> None:
    assert Reply.of(Generation(reasoning="Hm.")).messages == ()
    assert Reply.of(Generation("好")).messages == (Message("assistant", "好"),)


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
    # 3 for each message, and 3 that open the reply
    assert counter.learned == [("test/big", len("You are Mia.tea?Sure?") + 3 * 3 + 3, Usage(40, 1))]


@pytest.mark.parametrize(("offers", "more"), [(True, len("clock")), (False, 0)])
async def test_tools_are_counted_where_they_are_offered(offers: bool, more: int) -> None:
    counter = Characters()
    model = script(Script(text=("Yes.",), usage=ScriptedUsage(prompt=40, completion=1)))
    here = seat(model, offers_tools=offers, persona=persona(tools=compile_tools([CLOCK]), tools_text="clock"))
    here.ports = ports(llm=model, tokens=counter)
    await llm().run(PROMPT, here)
    [(_, counted, _)] = counter.learned
    assert counted == len("You are Mia.tea?") + 2 * 3 + 3 + more


async def test_nothing_is_learned_from_a_request_with_pictures() -> None:
    counter = Characters()
    model = script(Script(text=("A cat.",), usage=ScriptedUsage(prompt=1800, completion=2)))
    here = seat(model)
    here.ports = ports(llm=model, tokens=counter)
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    await llm().run(Prompt((Message("user", "这是什么？", parts=(picture,)),), tokens=20), here)
    assert counter.learned == []


async def test_where_the_server_does_not_count_we_do_and_learn_nothing() -> None:
    counter, model = Characters(), ScriptedLLM("Yes.")
    here = seat(model)
    here.ports = ports(llm=model, tokens=counter)
    said = await llm().run(PROMPT, here)
    asked = sum(len(m.content) for m in model.requests[0].messages)
    assert counter.learned == []
    assert asked < said.usage.prompt_tokens < asked + 40
    assert len("Yes.") <= said.usage.completion_tokens < 10
    assert here.requests == [(model.requests[0], said.usage)]
    assert [e for e in here.events if isinstance(e, UsageReported)] == [
        UsageReported("answer", "test/big", said.usage, is_estimate=True)
    ]


async def test_what_was_cut_off_has_cost_something_all_the_same() -> None:
    model = script({"text": ["So", " on"], "fault": {"kind": "cut", "after": 1}})
    here = seat(model)
    with pytest.raises(EngineUnavailable):
        await llm().run(PROMPT, here)
    [(_, usage)] = here.requests
    assert 0 < usage.completion_tokens <= len("So") + 4
    assert usage.prompt_tokens > 0


async def test_what_was_never_begun_has_cost_nothing() -> None:
    here = seat(script({"fault": {"kind": "EngineUnavailable"}}))
    with pytest.raises(EngineUnavailable):
        await llm().run(PROMPT, here)
    assert here.requests == []


async def test_the_time_to_the_first_piece_is_told_apart() -> None:
    here = seat(ScriptedLLM("Yes."))
    await llm().run(PROMPT, here)
    assert here.marks == ["first_token", "upstream"]


async def test_cancelling_closes_the_models_stream_at_once() -> None:
    model = script({"text": ["one", "two"], "fault": {"kind": "stall", "after": 1}})
    here = seat(model)
    with anyio.fail_after(30):
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
    assert [(error.engine, error.code) for error in here.engine_errors] == [("test", "ENGINE_UNAVAILABLE")]


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


async def test_words_of_another_stage_do_not_keep_a_hidden_ones_next_model_from_being_asked() -> None:
    model = script({"pause": "later", "fault": {"kind": "EngineUnavailable"}}, {"text": "A title"})
    here = seat(model, model=TWO, speaks=False)
    said: list[Generation] = []

    async def run() -> None:
        said.append(await llm().run(PROMPT, here))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await model.reached("later")
            await here.emit(TextDelta("Hello.", "answer"))
            model.open("later")
    assert said[0].text == "A title"


async def test_once_a_call_was_told_no_other_model_takes_over() -> None:
    call = {"name": "clock", "arguments": ['{"zone"', ': "UTC"}']}
    model = script({"tool_calls": [call], "fault": {"kind": "cut", "after": 1}})
    with pytest.raises(EngineUnavailable):
        await llm().run(PROMPT, seat(model, model=TWO, offers_tools=True))
    assert len(model.requests) == 1


THREE = ModelChoice(("test/big", "test/middle", "test/small"))
STALL = {"fault": {"kind": "stall"}}


async def within(seconds: float, stage: Llm, here: Seat) -> Generation:
    """The stage's value, within a deadline such as the engine sets."""
    with anyio.fail_after(seconds):
        return await stage.run(PROMPT, here)


@pytest.mark.usefixtures("no_time")
async def test_a_model_that_does_not_begin_leaves_the_others_their_share_of_the_time() -> None:
    here = seat(script(STALL, STALL, {"text": "好"}), model=THREE)
    began = anyio.current_time()
    said = await within(0.9, llm(), here)
    took = anyio.current_time() - began
    assert (said.text, said.model) == ("好", "test/small")
    assert took == pytest.approx(0.6)  # a third, and half of the two that were left
    assert here.notes["fallback"] == (
        "test/big: test: did not begin to answer within 0.3 s; "
        "test/middle: test: did not begin to answer within 0.3 s"
    )


@pytest.mark.usefixtures("no_time")
async def test_a_model_that_has_begun_may_take_its_time() -> None:
    slow = {"reasoning": "Hm.", "text": ["从前", "有座山"], "delay_ms": 150}
    said = await within(1.0, llm(), seat(script(slow, {"text": "x"}), model=TWO))
    assert (said.text, said.model) == ("从前有座山", "test/big")


@pytest.mark.usefixtures("no_time")
async def test_without_a_deadline_a_model_is_waited_for() -> None:
    said = await llm().run(PROMPT, seat(script({"text": "好", "first_delay_ms": 100}), model=TWO))
    assert said.model == "test/big"


@pytest.mark.usefixtures("no_time")
async def test_the_last_model_has_all_the_time_that_is_left() -> None:
    with pytest.raises(TimeoutError):
        await within(0.1, llm(), seat(script(STALL)))


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize("silent", [STALL, {"reasoning": "Hm.", "fault": {"kind": "stall", "after": 1}}])
async def test_a_stages_own_words_are_said_while_there_is_time(silent: dict[str, Any]) -> None:
    here = seat(script(STALL, silent), model=TWO)
    said = await within(0.5, llm(fallback_text="稍后再试。"), here)
    assert (said.text, said.is_fallback, here.spoken) == ("稍后再试。", True, "稍后再试。")
    assert here.notes["fallback_text"].startswith("test: did not begin to answer within")


@pytest.mark.usefixtures("no_time")
async def test_behind_words_no_own_words_are_said_when_time_is_up() -> None:
    here = seat(script({"text": ["从前"], "fault": {"kind": "stall", "after": 1}}))
    with pytest.raises(TimeoutError):
        await within(0.2, llm(fallback_text="稍后再试。"), here)
    assert here.spoken == "从前"


@pytest.mark.usefixtures("no_time")
async def test_waiting_for_the_reader_is_not_waiting_for_the_model() -> None:
    class Slow(Seat):
        async def emit(self, event: Any) -> None:
            await super().emit(event)
            if isinstance(event, ReasoningDelta):
                await anyio.sleep(0.1)

    model = script({"reasoning": ["Hm.", "Hm.", "Hm."], "text": "好"})
    here = seat(model)
    late = Slow(ports=here.ports, node=here.node)
    assert (await within(0.6, llm(fallback_text="稍后再试。"), late)).text == "好"


# -- when a prompt is too long --------------------------------------------------------------------------


def windows(*replies: dict[str, Any], **tokens: int) -> ScriptedLLM:
    cards = {f"test/{name}": ModelCard(f"test/{name}", size) for name, size in tokens.items()}
    return ScriptedLLM(replies=replies, cards=cards)


async def test_a_prompt_that_the_model_cannot_read_is_refused_before_it_is_asked() -> None:
    model = windows(big=60)
    choice = ModelChoice(("test/big",), Sampling(max_tokens=20))
    here = seat(model, model=choice, ask="问" * 20)
    sections = (PromptSection("system", 0, 0, 15), PromptSection("message", 1, 1, 10))
    with pytest.raises(PromptTooLarge) as caught:
        await llm(fallback_text="Sorry.").run(replace(PROMPT, sections=sections), here)
    assert caught.value.details == {
        "needed": 48,
        "room": 40,
        "sections": {"system": 15, "message": 10, "ask": 23},
    }
    assert model.requests == []


async def test_a_model_that_cannot_read_the_prompt_is_left_out() -> None:
    model = windows({"fault": {"kind": "EngineUnavailable"}}, {"text": "好"}, big=60, middle=10, small=60)
    here = seat(model, model=THREE)
    said = await llm().run(PROMPT, here)
    assert (said.text, said.models) == ("好", ("test/big", "test/small"))
    assert here.notes["too_small"] == "test/middle"


async def test_a_window_that_the_personality_tells_is_its_first_models() -> None:
    model = windows({"text": "好"}, big=10, other=60)
    choice = ModelChoice(("test/big",), context_tokens=100)
    assert (await llm().run(PROMPT, seat(model, model=choice))).text == "好"
    choice = ModelChoice(("test/big",), context_tokens=10)
    model = windows({"text": "好"}, big=60, other=60)
    assert (await llm().run(PROMPT, seat(model, model=choice, turn=turn(model="test/other")))).text == "好"


# -- what a stage says itself ---------------------------------------------------------------------------


async def test_its_own_words_are_said_where_no_model_answers() -> None:
    model = script({"fault": {"kind": "EngineTimeout"}}, {"fault": {"kind": "EngineAuthError"}})
    here = seat(model, model=TWO)
    said = await llm(fallback_text="稍后再试。").run(PROMPT, here)
    assert (said.text, said.finish_reason, here.spoken) == ("稍后再试。", "stop", "稍后再试。")
    assert (said.model, said.is_fallback, Reply.of(said).is_fallback) == ("", True, True)
    assert set(here.notes) == {"model", "fallback", "fallback_text"}
    assert [error.code for error in here.engine_errors] == ["ENGINE_TIMEOUT", "ENGINE_AUTH"]


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
