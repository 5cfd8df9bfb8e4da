from __future__ import annotations

import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.extraction import ANSWERED, ASKED, LONGEST_FACT, MOST, Extractor, Fact, read_list
from cozy.errors import EngineRateLimited
from cozy.turn import UserId
from tests.adapters.teaching import AnsweringLLM, exchange

ADA = UserId(uuid4())
REAL = "openai/gpt-4.1-mini"


async def memories(answer: str, *said: str) -> list[str]:
    extractor = Extractor(AnsweringLLM(answer))
    return list(await extractor.memories(exchange(ADA, *(said or ("hello",)), model=REAL)))


async def profile(answer: str) -> list[Fact]:
    return list(await Extractor(AnsweringLLM(answer)).profile(exchange(ADA, "hello", model=REAL)))


async def test_the_model_that_answered_is_asked_for_memories() -> None:
    llm = AnsweringLLM('["用户住在北京", "用户喜欢茶"]')
    told = exchange(ADA, "我住在北京，喜欢茶", "真好！你叫张三。", "谢谢", model=REAL)
    assert await Extractor(llm).memories(told) == ["用户住在北京", "用户喜欢茶"]
    (request,) = llm.requests
    system, user = request.messages
    assert request.model == REAL
    assert (system.role, user.role) == ("system", "user")
    assert "JSON array of strings" in system.content
    assert user.content == "<words>\n我住在北京，喜欢茶\n\n谢谢\n</words>"


async def test_the_model_is_asked_for_a_profile() -> None:
    facts = [
        {"topic": "Basic Info", "sub_topic": "City", "content": " 北京 "},
        {"topic": "basic_info", "sub_topic": "age", "content": 30},
        {"topic": "interest", "sub_topic": "long walks", "content": "likes long\nwalks"},
    ]
    assert await profile(json.dumps(facts)) == [
        Fact("basic_info", "city", "北京"),
        Fact("basic_info", "age", "30"),
        Fact("interest", "long walks", "likes long walks"),
    ]


async def test_of_several_facts_on_one_matter_the_last_is_meant() -> None:
    facts = [{"topic": "basic_info", "sub_topic": "city", "content": city} for city in ("Rome", "Oslo")]
    assert await profile(json.dumps(facts)) == [Fact("basic_info", "city", "Oslo")]


@pytest.mark.parametrize(
    "answer",
    [
        '["The user likes tea"]',
        'Here you are:\n```json\n["The user likes tea"]\n```\nAnything else?',
        '<think>["The user hates tea"]</think>["The user likes tea"]',
        'As asked in [1], [] or {} if none: ["The user likes tea", "The user likes tea"]',
        '{"memories": ["The user likes tea"]}',
        '[{"text": "The user likes tea"}]',
        '{"fact": "The user likes tea"}',
        '[null, 7.5e999, true, ["x"], {}, "", "  ", "The user\\u0000 likes\\n tea"]',
        '[broken, "x" ["The user likes tea"]',
    ],
)
async def test_a_list_is_found_whatever_stands_around_it(answer: str) -> None:
    assert await memories(answer) == ["The user likes tea"]


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "",
            "Nothing to note.",
            "[]",
            "{}",
            "null",
            '"The user likes tea"',
            "[1",
            '["unclosed',
            '{"a": {"b": "c"}}',
        ),
        *("[" * 20_000, '{"a":' * 4000, "<think>[" + '"x",' * 100, "[[]]", "[{}]", '[{"text": {}}]'),
        json.dumps(["x" * (LONGEST_FACT + 1)]),
    ],
    ids=lambda answer: answer[:20],
)
async def test_nonsense_teaches_nothing(answer: str) -> None:
    assert await memories(answer) == []
    assert await profile(answer) == []


@pytest.mark.parametrize(
    "fact",
    [
        *({}, [], "x", {"topic": "a", "sub_topic": "b"}, {"topic": "", "sub_topic": "b", "content": "c"}),
        *(
            {"topic": "a", "sub_topic": "b" * 61, "content": "c"},
            {"topic": "a", "sub_topic": "b", "content": {}},
        ),
    ],
)
async def test_half_a_fact_is_none(fact: object) -> None:
    whole = {"topic": "a", "sub_topic": "b", "content": "c"}
    assert await profile(json.dumps([fact, whole])) == [Fact("a", "b", "c")]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999"])
async def test_a_number_that_is_none_is_no_fact(number: str) -> None:
    assert await profile(f'[{{"topic": "a", "sub_topic": "b", "content": {number}}}]') == []
    assert await profile('[{"topic": "a", "sub_topic": "b", "content": 1e2}]') == [Fact("a", "b", "100.0")]
    assert await profile('[{"topic": "a", "sub_topic": "b", "content": %s}]' % 10**400) == [
        Fact("a", "b", str(10**400))
    ]


@given(
    st.text(st.sampled_from('[]{}",:1a\\ \n')) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps)
)
def test_any_answer_can_be_read(answer: str) -> None:
    assert len(read_list(answer, lambda item: item)) <= len(answer) + 1


async def test_one_exchange_teaches_so_much_and_no_more() -> None:
    assert len(await memories(json.dumps([f"fact {n}" for n in range(100)]))) == MOST


async def test_an_answer_without_end_is_cut_off() -> None:
    llm = AnsweringLLM("x" * (10 * ANSWERED))
    assert await Extractor(llm).memories(exchange(ADA, "hello", model=REAL)) == []
    assert llm.stopped_early == 1


async def test_of_long_words_the_beginning_and_the_end_are_shown() -> None:
    llm = AnsweringLLM("[]")
    await Extractor(llm).memories(exchange(ADA, f"first {'x' * 100_000} last", model=REAL))
    content = llm.requests[0].messages[1].content
    assert len(content) < ASKED + 100
    assert content.startswith("<words>\nfirst x")
    assert content.endswith("x last\n</words>")


async def test_without_words_of_the_user_nobody_is_asked() -> None:
    llm = AnsweringLLM()
    assert await Extractor(llm).memories(exchange(ADA, " ", "I live in Rome", model=REAL)) == []
    assert llm.requests == []


async def test_the_model_s_failure_is_told() -> None:
    extractor = Extractor(AnsweringLLM(EngineRateLimited("openai", "slow down", retry_after_s=3)))
    with pytest.raises(EngineRateLimited):
        await extractor.profile(exchange(ADA, "I live in Rome", model=REAL))


async def test_the_demo_s_exchanges_are_read_by_rules_and_only_the_user_s_words() -> None:
    extractor = Extractor(AnsweringLLM())
    told = exchange(ADA, "我叫小明，喜欢喝茶", "I live in Rome. 我叫小红。", "I like long walks")
    assert await extractor.memories(told) == ["用户的名字是小明", "用户喜欢喝茶", "The user likes long walks"]
    assert await extractor.profile(told) == [
        Fact("basic_info", "name", "小明"),
        Fact("interest", "茶", "喜欢喝"),
        Fact("interest", "long walks", "likes it"),
    ]
