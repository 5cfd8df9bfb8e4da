"""What fits into a prompt, and what is cut from it first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cozy.errors import PromptTooLarge
from cozy.ports.tools import ToolSpec
from cozy.stages.base import ModelChoice
from cozy.stages.budget import Budget, BudgetSettings, exchanges
from cozy.stages.folding import join
from cozy.stages.offer import tools_text
from cozy.stages.render_prompt import RenderPrompt, RenderPromptSettings
from cozy.stages.values import Budgeted, BudgetReport, ContextPart, Prompt, Snippet
from cozy.turn import ClientTool, Message, Sampling, ToolCall
from tests.stages.seat import Seat, Window, persona, ports, turn


def seat(window: int, **facts: Any) -> Seat:
    return Seat(ports=ports(llm=Window(window)), **facts)


def budget(**given: Any) -> Budget:
    return Budget(BudgetSettings(type="budget", **{"reserve_output": 1, **given}))


async def prompt_of(parts: Sequence[ContextPart], here: Seat, **given: Any) -> tuple[Budgeted, Prompt]:
    """What is kept, and the prompt that is made of it."""
    kept = await budget(**given).run(parts, here)
    return kept, await RenderPrompt(RenderPromptSettings(type="render_prompt")).run(kept, here)


def history(*texts: str) -> ContextPart:
    """Exchanges of a question and an answer."""
    said = [(Message("user", text), Message("assistant", f"re: {text}")) for text in texts]
    return ContextPart("history", messages=tuple(m for pair in said for m in pair))


def snippets(section: Any, *texts: str) -> ContextPart:
    return ContextPart(section, tuple(Snippet(text) for text in texts))


def cuts(report: BudgetReport) -> dict[str, list[str]]:
    return {s.section: [cut.what for cut in s.cut] for s in report.sections if s.cut}


# -- room -----------------------------------------------------------------------------------------------


async def test_what_fits_is_kept_as_it_is() -> None:
    parts = [history("one", "two"), snippets("memory", "likes tea"), snippets("knowledge", "tea is hot")]
    kept, _ = await prompt_of(parts, seat(8192))
    assert kept.parts == {part.section: part for part in parts}
    assert cuts(kept.report) == {}


@pytest.mark.parametrize(
    ("given", "model", "reserved", "room"),
    [
        pytest.param({}, ModelChoice(("m",)), 1024, 7168, id="a default"),
        pytest.param({}, ModelChoice(("m",), Sampling(max_tokens=500)), 500, 7692, id="what it may say"),
        pytest.param({"reserve_output": 2000}, ModelChoice(("m",)), 2000, 6192, id="the stage's own setting"),
        pytest.param({"max_tokens": 1000}, ModelChoice(("m",)), 1024, 1000, id="an upper bound"),
        pytest.param(
            {}, ModelChoice(("m",), context_tokens=2048), 512, 1536, id="a small window: a quarter of it"
        ),
    ],
)
async def test_the_room_is_the_models_window_less_what_the_answer_needs(
    given: dict[str, Any], model: ModelChoice, reserved: int, room: int
) -> None:
    here = seat(8192, persona=persona(model=model))
    kept = await Budget(BudgetSettings(type="budget", **given)).run([], here)
    assert (kept.report.reserved, kept.report.room) == (reserved, room)


@pytest.mark.parametrize(
    ("given", "asked", "reserved"),
    [
        pytest.param({}, 3000, 3000, id="more than its own"),
        pytest.param({}, 100, 100, id="less"),
        pytest.param({"reserve_output": 2000}, 100, 2000, id="less than the stage keeps"),
        pytest.param({"reserve_output": 2000}, 3000, 3000, id="more than the stage keeps"),
        pytest.param({}, None, 500, id="something else"),
    ],
)
async def test_what_a_client_lets_the_model_say_is_kept_free(
    given: dict[str, Any], asked: int | None, reserved: int
) -> None:
    mia = persona(model=ModelChoice(("m",), Sampling(max_tokens=500)))
    wishes = turn(sampling=Sampling(temperature=0, max_tokens=asked))
    kept = await Budget(BudgetSettings(type="budget", **given)).run([], seat(8192, persona=mia, turn=wishes))
    assert kept.report.reserved == reserved


async def test_what_has_followed_the_message_already_is_a_part_of_it() -> None:
    call = ToolCall("c1", "basket", "{}")
    rounds = (Message("assistant", "a" * 10, tool_calls=(call,)),)
    results = (Message("tool", "b" * 20, tool_call_id="c1"),)
    bare, _ = await prompt_of([], seat(8192))
    kept, prompt = await prompt_of([], seat(8192, turn=turn(rounds=rounds, results=results)))
    assert kept.tokens["message"] - bare.tokens["message"] == 10 + 20 + len("basket{}") + 3 * 3
    assert kept.report.used == prompt.tokens


async def test_a_clients_tools_are_counted() -> None:
    bare, _ = await prompt_of([], seat(8192))
    kept, prompt = await prompt_of([], seat(8192, turn=turn(tools=(ClientTool("basket"),))))
    assert (bare.tokens["tools"], kept.tokens["tools"]) == (0, len(tools_text([ToolSpec("basket", "", {})])))
    assert kept.report.used == prompt.tokens


async def test_the_report_is_noted_for_the_trace() -> None:
    here = seat(8192)
    kept, prompt = await prompt_of([history("one")], here)
    assert here.notes["budget"] == kept.report
    assert kept.report.used == prompt.tokens
    assert [s.section for s in kept.report.sections] == ["system", "tools", "message", "history"]


async def test_a_model_that_the_turn_names_is_the_one_that_is_measured() -> None:
    class Windows:
        def card(self, model: str) -> Any:
            return Window({"test/big": 8192, "test/small": 2048}[model]).card(model)

    here = Seat(ports=ports(llm=Windows()), turn=turn(model="test/small"))
    kept = await budget().run([], here)
    assert kept.report.context_tokens == 2048


async def test_the_window_that_a_personality_tells_of_its_model_is_not_that_of_another() -> None:
    mia = persona(model=ModelChoice(("test/big",), context_tokens=2048))
    for named, window in ((None, 2048), ("test/big", 2048), ("test/other", 8192)):
        kept = await budget().run([], seat(8192, persona=mia, turn=turn(model=named)))
        assert kept.report.context_tokens == window


async def test_what_was_measured_is_what_the_prompt_is_said_to_cost() -> None:
    here = seat(8192, persona=persona(tools_text="[tools]"))
    kept, prompt = await prompt_of([history("一"), snippets("memory", "茶")], here)
    assert kept.tokens == {s.section: s.tokens for s in prompt.sections}
    assert sum(kept.tokens.values()) == kept.report.used == prompt.tokens


# -- what is cut, in which order -------------------------------------------------------------------------


async def test_the_section_that_is_named_last_is_cut_first() -> None:
    parts = [snippets("memory", "m" * 40), snippets("knowledge", "k" * 40), snippets("profile", "p" * 40)]
    here = seat(200, persona=persona(context="{{ profile }}{{ memory }}{{ knowledge }}"))
    kept, _ = await prompt_of(parts, here, keep=("profile", "memory", "knowledge"), max_tokens=150)
    assert cuts(kept.report) == {"knowledge": ["k" * 40]}
    kept, _ = await prompt_of(parts, here, keep=("knowledge", "memory", "profile"), max_tokens=150)
    assert cuts(kept.report) == {"profile": ["p" * 40]}


async def test_a_section_that_is_not_named_comes_last() -> None:
    parts = [snippets("memory", "m" * 40), snippets("profile", "p" * 40)]
    here = seat(200, persona=persona(context="{{ profile }}{{ memory }}"))
    kept, _ = await prompt_of(parts, here, keep=("profile",), max_tokens=120)
    assert list(cuts(kept.report)) == ["memory"]


async def test_of_snippets_the_ones_that_fit_the_turn_least_go_first() -> None:
    found = snippets("knowledge", *(f"{i}" * 30 for i in range(5)))
    kept, _ = await prompt_of([found], seat(8192, persona=persona(context="{{ knowledge }}")), max_tokens=130)
    assert [s.text[0] for s in kept.parts["knowledge"].snippets] == ["0", "1"]


async def test_a_snippet_is_kept_whole_or_not_at_all() -> None:
    found = snippets("knowledge", "龙井" * 200, "短")
    kept, prompt = await prompt_of([found], seat(8192), max_tokens=200)
    assert [s.text for s in kept.parts["knowledge"].snippets] == ["短"]
    assert "龙" not in prompt.text


async def test_a_snippet_that_is_too_long_leaves_its_room_to_those_behind_it() -> None:
    found = snippets("knowledge", "a" * 20, "b" * 500, "c" * 20)
    kept, _ = await prompt_of([found], seat(8192), max_tokens=200)
    assert [s.text[0] for s in kept.parts["knowledge"].snippets] == ["a", "c"]


async def test_a_cut_names_its_source_where_it_has_one() -> None:
    part = ContextPart("knowledge", (Snippet("x" * 500, source="guide.md"),))
    kept, _ = await prompt_of([part], seat(8192), max_tokens=100)
    assert cuts(kept.report) == {"knowledge": ["guide.md"]}


async def test_of_the_history_the_oldest_exchanges_go_first() -> None:
    parts = [history(*(f"question {i}" for i in range(6)))]
    kept, _ = await prompt_of(parts, seat(8192), max_tokens=100)
    assert [m.content for m in kept.parts["history"].messages] == [
        "question 4",
        "re: question 4",
        "question 5",
        "re: question 5",
    ]
    assert cuts(kept.report) == {"history": [f"question {i}" for i in range(4)]}


async def test_an_older_exchange_does_not_slip_in_behind_a_cut_one() -> None:
    parts = [history("a", "b" * 400, "c")]  # `a` alone would fit
    kept, _ = await prompt_of(parts, seat(8192), max_tokens=120)
    assert [m.content for m in kept.parts["history"].messages] == ["c", "re: c"]


CALL = Message("assistant", tool_calls=(ToolCall("1", "clock", "{}"),))
RESULT = Message("tool", "noon", tool_call_id="1")


async def test_a_call_and_its_result_are_never_parted() -> None:
    messages = (
        Message("user", "time?"),
        CALL,
        RESULT,
        Message("assistant", "x" * 20),
        *history("b").messages,
    )
    for limit in range(64, 160):
        kept, _ = await prompt_of([ContextPart("history", messages=messages)], seat(8192), max_tokens=limit)
        said = kept.parts["history"].messages
        assert (CALL in said) == (RESULT in said) == (messages[0] in said)


def test_an_exchange_begins_with_each_message_of_the_user() -> None:
    messages = (*history("a").messages, Message("user", "b"), CALL, RESULT, Message("user", "c"))
    assert [[m.role for m in e] for e in exchanges(messages)] == [
        ["user", "assistant"],
        ["user", "assistant", "tool"],
        ["user"],
    ]


def test_a_history_that_begins_in_the_middle_is_one_exchange_until_the_user_speaks() -> None:
    messages = (RESULT, Message("assistant", "noon"), *history("a").messages)
    assert [len(e) for e in exchanges(messages)] == [2, 2]


def test_two_stages_that_fetch_for_one_section_add_up() -> None:
    joined = join([snippets("knowledge", "a"), snippets("memory", "m"), snippets("knowledge", "b")])
    assert list(joined.parts) == ["knowledge", "memory"]
    assert [s.text for s in joined.parts["knowledge"].snippets] == ["a", "b"]


# -- what cannot be cut ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "section"),
    [
        pytest.param(Seat(turn=turn("问" * 300)), "message", id="the message"),
        pytest.param(Seat(persona=persona("你" * 300)), "system", id="the personality's prompt"),
        pytest.param(Seat(persona=persona(tools_text="t" * 300)), "tools", id="its tools"),
        pytest.param(Seat(turn=turn(client_system="s" * 300)), "system", id="what a client adds"),
    ],
)
async def test_what_is_never_cut_and_too_large_ends_the_turn(here: Seat, section: str) -> None:
    here.ports = ports(llm=Window(200))
    with pytest.raises(PromptTooLarge) as caught:
        await budget().run([history("x")], here)
    assert caught.value.details["room"] == 199
    assert caught.value.details["sections"][section] > 199


@pytest.mark.parametrize("answer", [200, 5000])
async def test_an_answer_as_long_as_the_window_leaves_no_room_for_a_prompt(answer: int) -> None:
    mia = persona(model=ModelChoice(("test/big",), Sampling(max_tokens=answer)))
    with pytest.raises(PromptTooLarge, match="`max_tokens`") as caught:
        await Budget(BudgetSettings(type="budget")).run([], seat(200, persona=mia))
    assert caught.value.hint == "lower `max_tokens`, or choose a model with a larger window"


async def test_a_context_template_that_is_too_large_by_itself_ends_the_turn() -> None:
    here = seat(
        200, persona=persona(context="{% if knowledge %}" + "x" * 300 + "{% endif %}" + "always " * 60)
    )
    with pytest.raises(PromptTooLarge):
        await budget().run([snippets("knowledge", "k")], here)


async def test_a_context_template_of_many_words_is_counted_with_what_it_says() -> None:
    words = "{% for k in knowledge %}" + "so it is written: " * 5 + "{{ k.text }}\n{% endfor %}"
    here = seat(8192, persona=persona(context=words))
    kept, prompt = await prompt_of([snippets("knowledge", *"abcdefgh")], here, max_tokens=400)
    assert prompt.tokens <= 400
    assert 0 < len(kept.parts["knowledge"]) < 8


async def test_a_prompt_that_names_a_section_is_cut_with_it() -> None:
    here = seat(8192, persona=persona("You are Mia. {{ knowledge }}", context=""))
    kept, prompt = await prompt_of([snippets("knowledge", "a" * 50, "b" * 5000)], here, max_tokens=200)
    assert [s.text for s in kept.parts["knowledge"].snippets] == ["a" * 50]
    assert prompt.messages[0].content == "You are Mia. " + "a" * 50


# -- for any context ------------------------------------------------------------------------------------

words = st.text(alphabet="ab 你好。\n", max_size=60)
CONTEXTS = [
    "",
    "{{ profile }} {{ memory }} {{ knowledge }} {{ summary }}",
    "{% for k in knowledge %}" + "said somewhere: " * 4 + "{{ k.text }} ({{ k.source }}){% endfor %}",
    "Always the same words. " * 3 + "{% if memory %}{{ memory }}{% endif %}",
]


@st.composite
def messages(draw: st.DrawFn) -> ContextPart:
    said: list[Message] = []
    for _ in range(draw(st.integers(0, 4))):
        said.append(Message("user", draw(words)))
        if draw(st.booleans()):
            said += [CALL, Message("tool", draw(words), tool_call_id="1")]
        if draw(st.booleans()):
            said.append(Message("assistant", draw(words)))
    return ContextPart("history", messages=tuple(said))


@st.composite
def sections(draw: st.DrawFn) -> ContextPart:
    section = draw(st.sampled_from(["summary", "profile", "memory", "knowledge"]))
    found = st.lists(st.builds(Snippet, words, st.sampled_from(["", "来源.md"])), max_size=4)
    return ContextPart(section, tuple(draw(found)))


@settings(max_examples=200)
@given(
    past=messages(),
    parts=st.lists(sections(), max_size=5),
    room=st.integers(64, 400),
    context=st.sampled_from(CONTEXTS),
    keep=st.permutations(["history", "summary", "profile", "memory", "knowledge"]),
)
@example(
    past=history(),
    parts=[snippets("knowledge", "a")],
    room=64,
    context=CONTEXTS[2],
    keep=["knowledge"],
)
async def test_no_prompt_is_larger_than_its_room(
    past: ContextPart, parts: list[ContextPart], room: int, context: str, keep: list[Any]
) -> None:
    here = seat(8192, persona=persona("Mia", context=context))
    brought = [past, *parts]
    try:
        kept, prompt = await prompt_of(brought, here, max_tokens=room, keep=tuple(keep))
    except PromptTooLarge:
        bare = (await prompt_of([], seat(8192, persona=here.persona)))[1]
        assert bare.tokens > room  # even with everything cut
        return
    assert prompt.tokens == kept.report.used <= room
    everything = join(brought).whole
    for section, part in kept.parts.items():
        whole = everything[section]
        assert is_among(part.snippets, whole.snippets)
        assert part.messages == whole.messages[len(whole.messages) - len(part.messages) :]
    remaining = list(exchanges(kept.parts["history"].messages))
    assert remaining == list(exchanges(past.messages))[len(list(exchanges(past.messages))) - len(remaining) :]


def is_among(some: Sequence[Any], all_: Sequence[Any]) -> bool:
    """Whether these are some of those, in their order."""
    rest = iter(all_)
    return all(any(one is other for other in rest) for one in some)


@settings(max_examples=60)
@given(past=messages(), parts=st.lists(sections(), max_size=4))
async def test_what_has_room_is_never_cut(past: ContextPart, parts: list[ContextPart]) -> None:
    kept, _ = await prompt_of([past, *parts], seat(100_000))
    assert kept.parts == join([past, *parts]).parts
