"""What says the same is said once."""

from __future__ import annotations

from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.stages.budget import Budget, BudgetSettings
from cozy.stages.folding import LEAST, LONGEST, Joined, join, sentences
from cozy.stages.prompting import DEFAULT_CONTEXT, DEFAULT_CONTEXT_ZH, context_text
from cozy.stages.render_prompt import RenderPrompt, RenderPromptSettings
from cozy.stages.values import ContextPart, Prompt, Snippet
from cozy.turn import Message
from cozy.writing import fingerprint
from tests.stages.seat import Seat, Window, persona, ports


def part(section: Any, *texts: str) -> ContextPart:
    return ContextPart(section, tuple(Snippet(text) for text in texts))


def kept(joined: Joined) -> dict[str, list[str]]:
    return {name: [s.text for s in p.snippets] for name, p in joined.parts.items() if p.snippets}


def folds(joined: Joined) -> list[tuple[str, str, str, str]]:
    return [(f.section, f.snippet.text, f.into_section, f.into.text) for f in joined.folded]


# -- the same -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The user likes tea", "the user likes  tea."),
        ("用户喜欢喝茶。", "用户喜欢喝茶"),
        ("用户 喜欢 ＴＥＡ", "用户喜欢tea！"),
        ("Tea: hot\n", "tea hot"),
        ("記得她的貓叫小黑", "记得她的猫叫小黑"),
        ("喜欢\u200b喝茶", "\ufeff喜欢喝茶"),
        ("Cafe\u0301", "Caf\u00e9"),
    ],
)
def test_what_differs_in_case_width_space_and_punctuation_alone_is_the_same(one: str, other: str) -> None:
    joined = join([part("knowledge", one), part("memory", other)])
    assert kept(joined) == {"memory": [other]}
    assert folds(joined) == [("knowledge", one, "memory", other)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("take 3.5 mg", "take 35 mg"),
        ("it is -5 outside", "it is 5 outside"),
        ("likes C++", "likes C#"),
        ("likes tea", "likes teas"),
        ("🙂", "🙁"),
        ("likes tea", "likes tea?"),
        ("喜欢喝茶。", "喜欢喝茶？"),
        ("!", "?"),
    ],
)
def test_what_says_something_else_stays(one: str, other: str) -> None:
    assert kept(join([part("memory", one), part("knowledge", other)])) == {
        "memory": [one],
        "knowledge": [other],
    }


def test_of_equal_ones_that_of_the_steadier_section_stays_and_in_a_section_the_first() -> None:
    parts = [part("knowledge", "tea", "TEA"), part("memory", "Tea", "milk"), part("profile", "tea.")]
    assert kept(join(parts)) == {"memory": ["milk"], "profile": ["tea."]}
    assert kept(join(parts, ("system", "knowledge"))) == {"knowledge": ["tea"], "memory": ["milk"]}


# -- held by a longer one -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "longer"),
    [
        ("用户住在北京", "用户住在北京。在医院工作"),
        ("用戶住在北京", "在医院工作；用户住在北京！"),
        ("Lives in Oslo", "She has a cat. Lives in Oslo."),
        ("drinks green tea", "# Habits\n- drinks green tea\n- runs"),
        ("Drinks tea. Has a cat.", "She runs. Drinks tea. Has a cat. Sings."),
        ("Dr. Li is her dentist", "She has two cats. Dr. Li is her dentist."),
        ("does she drink coffee?", "Does she drink coffee? No."),
        ("takes 3.5 mg a day", "She is well. Takes 3.5 mg a day."),
    ],
)
@pytest.mark.parametrize(("first", "then"), [("profile", "knowledge"), ("knowledge", "profile")])
def test_a_snippet_whose_sentences_a_longer_one_holds_is_folded_into_it(
    short: str, longer: str, first: Any, then: Any
) -> None:
    joined = join([part(first, short), part(then, longer)])
    assert kept(joined) == {then: [longer]}
    assert folds(joined) == [(first, short, then, longer)]


@pytest.mark.parametrize(
    ("short", "longer"),
    [
        ("tea", "What does she like? Tea."),
        ("Drinks tea. Has a cat.", "Drinks tea. Runs. Has a cat."),
        ("用户住在北京", "用户住在北京朝阳区，在医院工作"),
        ("art is the answer", "a cart is the answer"),
        ("take the tablets 3", "take the tablets 3.5 times"),
        ("5 mg of it every day", "take 2.5 mg of it every day"),
        ("she writes programs in C", "she writes programs in C++"),
        ("三日去北京开会", "十三日去北京开会"),
        ("喜欢吃辣的川菜", "用户不喜欢吃辣的川菜"),
        ("住在上海浦东新区", "以前住在上海浦东新区"),
        ("has diabetes", "father has diabetes"),
        ("She likes tea and cake", "It is not true that she likes tea and cake"),
        ("lives in Oslo, Norway", "The user no longer lives in Oslo, Norway"),
        ("she drinks coffee", "Is it true? She drinks coffee?"),
    ],
)
def test_a_part_of_a_sentence_or_a_word_is_not_folded(short: str, longer: str) -> None:
    assert kept(join([part("memory", short, longer)])) == {"memory": [short, longer]}


def test_what_is_very_long_is_compared_with_nothing() -> None:
    huge = "x " * LONGEST
    assert kept(join([part("memory", huge), part("knowledge", huge)])).keys() == {"memory", "knowledge"}


TEXTS = st.lists(
    st.text(alphabet="用户喜欢茶 teaTEA.，3", max_size=30)
    | st.sampled_from(
        ["用户住在北京", "用户住在北京。在医院", " ", "Lives in Oslo", "She runs. Lives in Oslo!"]
    ),
    max_size=8,
)


@given(profile=TEXTS, memory=TEXTS, knowledge=TEXTS)
def test_nothing_is_lost_and_nothing_is_said_twice(
    profile: list[str], memory: list[str], knowledge: list[str]
) -> None:
    given_parts = [part("knowledge", *knowledge), part("memory", *memory), part("profile", *profile)]
    joined = join(given_parts)
    left = [s for p in joined.parts.values() for s in p.snippets]
    keys = [key for s in left if (key := sentences(s.text))]
    assert len(keys) == len(set(keys))
    assert all(text.strip() for text in (s.text for s in left))
    for text in (*profile, *memory, *knowledge):
        assert any(sentences(text) in longer for longer in ("", *keys))
    assert len(left) + len(joined.folded) == sum(bool(t.strip()) for t in (*profile, *memory, *knowledge))
    again = join(list(joined.parts.values()))
    assert (kept(again), again.folded) == (kept(joined), ())
    assert all(
        len(fingerprint(f.snippet.text)) * 2 >= LEAST or sentences(f.snippet.text) == sentences(f.into.text)
        for f in joined.folded
    )


# -- empty parts ----------------------------------------------------------------------------------------


def test_the_history_and_the_summary_are_left_alone() -> None:
    said = ContextPart("history", messages=(Message("user", "tea"), Message("assistant", "tea")))
    joined = join([said, part("summary", "tea"), part("memory", "tea")])
    assert joined.parts["history"] == said
    assert kept(joined) == {"summary": ["tea"], "memory": ["tea"]}


@pytest.mark.parametrize("section", ["summary", "profile", "memory", "knowledge"])
@pytest.mark.parametrize("template", [DEFAULT_CONTEXT, DEFAULT_CONTEXT_ZH], ids=["en", "zh"])
async def test_a_part_of_nothing_but_white_space_injects_nothing(section: Any, template: str) -> None:
    here = Seat(ports=ports(llm=Window(8192)), persona=persona(context=template))
    parts = [part(section, " ", "\n\t", "", "\u3000", "\u200b\ufeff ")]
    stages = RenderPrompt(RenderPromptSettings(type="render_prompt"))
    kept_parts = await Budget(BudgetSettings(type="budget")).run(parts, here)
    for prompt in (await stages.run(parts, here), await stages.run(kept_parts, here)):
        assert (prompt.context, prompt.messages[-1].content) == ("", "tea?")


@given(
    sections=st.dictionaries(
        st.sampled_from(["summary", "profile", "memory", "knowledge"]),
        st.lists(st.text(alphabet=" \n\u3000a茶", max_size=3), max_size=3),
    )
)
def test_a_heading_stands_where_there_is_something_beneath_it(sections: dict[Any, list[str]]) -> None:
    joined = join([part(name, *texts) for name, texts in sections.items()])
    headings = {
        "summary": "此前的对话",
        "profile": "关于这位用户",
        "memory": "这位用户以前说过",
        "knowledge": "相关资料",
    }
    text = context_text(joined.parts, Seat(persona=persona(context=DEFAULT_CONTEXT_ZH)))
    assert {name for name, heading in headings.items() if heading in text} == set(kept(joined))


# -- with a budget and without --------------------------------------------------------------------------

PARTS = [
    part("profile", "city: Oslo"),
    part("memory", "The user lives in Oslo", "Likes tea"),
    part("knowledge", "likes tea.", "The user lives in Oslo. It is near the harbour"),
]
LEFT = ["city: Oslo", "Likes tea", "The user lives in Oslo. It is near the harbour"]


async def prompts(here: Seat, parts: list[ContextPart], **budget: Any) -> tuple[Prompt, Prompt]:
    """Without a budget, and with one."""
    render = RenderPrompt(RenderPromptSettings(type="render_prompt"))
    settings = BudgetSettings(type="budget", **{"reserve_output": 1} | budget)
    return await render.run(parts, here), await render.run(await Budget(settings).run(parts, here), here)


async def test_a_prompt_says_each_thing_once_with_a_budget_and_without() -> None:
    here = Seat(ports=ports(llm=Window(8192)))
    for prompt in await prompts(here, PARTS):
        assert [text for text in LEFT if prompt.context.count(text) == 1] == LEFT
        assert prompt.context.lower().count("likes tea") == 1
        assert {f.snippet.text for f in prompt.folded} == {"The user lives in Oslo", "likes tea."}
    assert here.notes["budget"].folded == here.notes["prompt"].folded


async def test_what_was_folded_into_something_that_does_not_fit_is_said_after_all() -> None:
    parts = [
        part("memory", "The user lives in Oslo"),
        part("knowledge", "The user lives in Oslo. " + "x" * 400),
    ]
    _, prompt = await prompts(Seat(ports=ports(llm=Window(8192))), parts, max_tokens=300)
    assert "From earlier conversations with the user:\n- The user lives in Oslo" in prompt.context
    assert "xxx" not in prompt.context
    assert prompt.folded == ()


async def test_what_is_said_after_all_is_said_once() -> None:
    parts = [
        part("profile", "Lives in Oslo, Norway"),
        part("memory", "lives in Oslo, Norway."),
        part("knowledge", "The user lives in Oslo, Norway. " + "x" * 400),
    ]
    _, prompt = await prompts(Seat(ports=ports(llm=Window(8192))), parts, max_tokens=300)
    assert prompt.context.lower().count("lives in oslo") == 1


def test_what_repeats_itself_without_end_is_compared_in_no_time() -> None:
    began = thread_time()
    join([part("memory", "a" * (LONGEST - 1), *("a" * n for n in range(LEAST, LEAST + 100)))])
    assert thread_time() - began < 1
