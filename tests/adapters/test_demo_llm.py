"""The demo model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.adapters.demo_llm import DemoLLM
from cozy.adapters.demo_talk import CONNECT_EN, CONNECT_ZH, INTRODUCTION_EN, INTRODUCTION_ZH
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, ModelCard, Sampling, TextChunk, ToolCallChunk
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, ToolCall
from cozy.usage import Usage

TOOLS = tuple(BuiltinTools(now=lambda: datetime(2026, 11, 22, 5, tzinfo=UTC)).specs())
SYSTEM = Message("system", "你是小研。")
ANSWERED = (Message("user", "hi"), Message("assistant", "Hello!"))
"""A conversation in which the introduction has been said."""
CONTEXT = """\
<context>
About the user:
- name: Ada
- city: Oslo
- tea: likes tea

From earlier conversations with the user:
- The user works as a nurse
- The user asked to remember: buy milk

From the documents at hand:
- Breakfast is from 7 to 10 in the hall.
Bring your key. (house.md · Breakfast)
- The pool (indoor) opens at noon. (house.md · Pool)
</context>

"""
CONTEXT_ZH = """\
<context>
关于这位用户：
name: 小明
晨跑: 喜欢晨跑
这位用户以前说过：
- 用户喜欢喝茶
- 用户让记住：买牛奶
相关资料：
- 成年人每天应睡7到8小时。（睡眠.md）
- 血压正常值低于120/80。（血压.md）
</context>

"""


async def chunks(request: LLMRequest) -> list[Chunk]:
    async with DemoLLM().stream(request) as answer:
        return [chunk async for chunk in answer]


async def says(*messages: Message, tools: Sequence[ToolSpec] = TOOLS, **fields: object) -> str:
    request = LLMRequest("demo/demo", (SYSTEM, *messages), tools=tuple(tools), **fields)  # type: ignore[arg-type]
    return "".join(c.text for c in await chunks(request) if isinstance(c, TextChunk))


async def asked(text: str, context: str = "") -> str:
    """The answer within a conversation that has begun."""
    return await says(*ANSWERED, Message("user", context + text))


async def test_the_first_answer_of_a_conversation_says_what_speaks() -> None:
    assert await says(Message("user", "hello")) == f"Hello!\n\n{INTRODUCTION_EN}"
    assert await says(Message("user", "你好")) == f"你好！\n\n{INTRODUCTION_ZH}"
    assert "OPENAI_API_KEY" in INTRODUCTION_EN
    assert "cozy.toml" in INTRODUCTION_ZH


async def test_later_answers_do_not_say_it_again() -> None:
    assert await asked("hello") == "Hello!"
    assert await asked("你好") == "你好！"


@pytest.mark.parametrize("text", ["现在几点了？", "what time is it in Tokyo?"])
async def test_a_call_of_a_tool_streams_like_a_models(text: str) -> None:
    got = await chunks(LLMRequest("demo/demo", (SYSTEM, Message("user", text)), tools=TOOLS))
    arguments = "{}" if "几点" in text else '{"timezone": "Tokyo"}'
    assert got[:-1] == [
        ToolCallChunk(0, "demo_call_1", "current_time"),
        ToolCallChunk(0, arguments=arguments),
    ]
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].reason == "tool_calls"


async def test_several_tools_are_called_at_once_with_ids_of_their_own() -> None:
    made = Message("assistant", tool_calls=(ToolCall("demo_call_1", "calculator", "{}"),))
    messages = (SYSTEM, Message("user", "1+1"), made, Message("tool", "2", tool_call_id="demo_call_1"))
    asking = (*messages, Message("assistant", "2"), Message("user", "现在几点了？3*7等于几？"))
    got = await chunks(LLMRequest("demo/demo", asking, tools=TOOLS))
    calls = [c for c in got if isinstance(c, ToolCallChunk) and c.name]
    assert [(c.index, c.id, c.name) for c in calls] == [
        (0, "demo_call_2", "current_time"),
        (1, "demo_call_3", "calculator"),
    ]


def after(text: str, *results: tuple[str, str, str]) -> tuple[Message, ...]:
    """A turn in which tools have answered: (name, arguments, content)."""
    calls = tuple(
        ToolCall(f"demo_call_{i}", name, arguments) for i, (name, arguments, _) in enumerate(results)
    )
    contents = (Message("tool", c, tool_call_id=f"demo_call_{i}") for i, (_, _, c) in enumerate(results))
    return (*ANSWERED, Message("user", text), Message("assistant", tool_calls=calls), *contents)


@pytest.mark.parametrize(
    ("text", "name", "arguments", "content", "expected"),
    [
        (
            "现在几点了",
            "current_time",
            "{}",
            "2026年11月22日 星期日 13:00:00（当地时间）",
            "现在是2026年11月22日 星期日 13:00:00（当地时间）。",
        ),
        (
            "what time is it",
            "current_time",
            "{}",
            "2026-11-22 13:00:00, Sunday",
            "It is 2026-11-22 13:00:00, Sunday.",
        ),
        ("what is 12*(3+4)?", "calculator", '{"expression": "12*(3+4)"}', "84", "12*(3+4) = 84"),
        ("2的平方根", "calculator", '{"expression": "sqrt(2)"}', "≈ 1.414", "sqrt(2) ≈ 1.414"),
        ("5 km to miles", "unit_convert", "{}", "5 km ≈ 3.106855961 mi", "5 km ≈ 3.106855961 mi"),
        ("抛硬币", "random_choice", "{}", "正面", "选中的是：正面。"),
        ("flip a coin", "random_choice", "{}", "heads", "It is: heads."),
        (
            "9**9**9",
            "calculator",
            '{"expression": "9**9**9"}',
            "too large\nhint: x",
            "`calculator` gave no result: too large",
        ),
        (
            "火星现在几点",
            "current_time",
            "{}",
            "there is no time zone `火星`",
            "工具 `current_time` 没有给出结果：there is no time zone `火星`",
        ),
        ("weather?", "mcp/weather/forecast", "{}", "Sunny, 20 °C", "Sunny, 20 °C"),
    ],
)
async def test_an_answer_is_made_of_what_the_tool_said(
    text: str, name: str, arguments: str, content: str, expected: str
) -> None:
    assert await says(*after(text, (name, arguments, content))) == expected


async def test_the_introduction_follows_the_answer_of_the_first_turn_with_tools() -> None:
    messages = after("1+1", ("calculator", '{"expression": "1+1"}', "2"))[len(ANSWERED) :]
    assert await says(*messages) == f"1+1 = 2\n\n{INTRODUCTION_EN}"


async def test_the_tools_that_are_really_there_answer_it() -> None:
    from uuid import uuid4

    from cozy.ports.tools import ToolCaller
    from cozy.turn import TurnId, UserId

    toolbox = BuiltinTools(timezone="Asia/Shanghai", now=lambda: datetime(2026, 11, 22, 5, tzinfo=UTC))
    caller = ToolCaller(UserId(uuid4()), None, TurnId(uuid4()), "p", "zh-CN")
    messages = (SYSTEM, Message("user", "现在几点了？3加5等于几？"))
    got = await chunks(LLMRequest("demo/demo", messages, tools=tuple(toolbox.specs())))
    pieces = [c for c in got if isinstance(c, ToolCallChunk)]
    results = [
        (
            first.name,
            rest.arguments,
            (await toolbox.call(first.name, json.loads(rest.arguments), caller)).content,
        )
        for first, rest in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    answer = await says(*after("现在几点了？3加5等于几？", *results))
    assert answer == "现在是2026年11月22日 星期日 13:00:00（Asia/Shanghai，UTC+08:00）。\n3+5 = 8"


async def test_a_tool_that_is_not_offered_is_named() -> None:
    assert "`current_time`" in await says(*ANSWERED, Message("user", "what time is it?"), tools=())
    assert "`calculator`" in await says(*ANSWERED, Message("user", "1+1"), tool_choice="none")
    assert "`calculator`" in await says(*ANSWERED, Message("user", "1+1"), tool_choice="current_time")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is my name?", "Your name is Ada."),
        ("Do you remember my name?", "Your name is Ada."),
        ("Where do I live?", "You live in Oslo."),
        ("what do I like?", "You like tea."),
        ("What is my job?", "You work as a nurse."),
        (
            "what do you know about me?",
            (
                "Your name is Ada; you live in Oslo; you like tea; you work as a nurse; "
                "you asked me to remember: buy milk."
            ),
        ),
        ("what should I remember to buy?", "You asked me to remember: buy milk."),
        ("how old am I?", "I do not know that yet; you have not told me."),
        (
            "When is breakfast?",
            (
                "The documents say: “Breakfast is from 7 to 10 in the hall. Bring your key.” "
                "(house.md · Breakfast)"
            ),
        ),
        (
            "is the pool open?",
            "The documents say: “The pool (indoor) opens at noon.” (house.md · Pool)",
        ),
        ("hello", "Hello, Ada!"),
    ],
)
async def test_what_is_known_is_used(question: str, answer: str) -> None:
    assert await asked(question, CONTEXT) == answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("我叫什么名字？", "你叫小明。"),
        ("你还记得我喜欢什么吗", "你喜欢晨跑；你喜欢喝茶。"),
        ("我让你记住什么", "你让我记住：买牛奶。"),
        ("你记得我吗", "你叫小明；你喜欢晨跑；你喜欢喝茶；你让我记住：买牛奶。"),
        ("我住在哪", "这个我还不知道，你没有告诉过我。"),
        ("成年人应该睡几个小时？", "资料里写着：“成年人每天应睡7到8小时。”（睡眠.md）"),
        ("正常血压是多少", "资料里写着：“血压正常值低于120/80。”（血压.md）"),
        ("你好", "你好，小明！"),
    ],
)
async def test_what_is_known_is_used_in_chinese(question: str, answer: str) -> None:
    assert await asked(question, CONTEXT_ZH) == answer


async def test_what_was_said_earlier_in_the_conversation_goes_first() -> None:
    earlier = (Message("user", "My name is Bob"), Message("assistant", "Noted."))
    assert await says(*earlier, Message("user", CONTEXT + "what is my name?")) == "Your name is Bob."
    earlier = (Message("user", "我叫阿华，住在北京"), Message("assistant", "好的。"))
    assert await says(*earlier, Message("user", "我叫什么？")) == "你叫阿华。"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("My name is Ada and I like tea", "Noted: your name is Ada; you like tea."),
        ("我叫小明，喜欢喝茶", "好的，知道了：你叫小明，你喜欢喝茶。"),
        ("请记住：明天买牛奶", "好的，知道了：“明天买牛奶”。"),
        ("remember that my bus leaves at 5", "Noted: “my bus leaves at 5”."),
        ("I have a cat named Tom", "Noted: you have a cat called Tom."),
        ("I don't like oolong tea any more", "Noted: you dislike oolong tea."),
        ("我改名叫小红了，不吃香菜", "好的，知道了：你叫小红，你不吃香菜。"),
        ("我對花生過敏，叫我陳大文", "好的，知道了：你对花生过敏，你叫陳大文。"),
        ("how are you?", "All is well, thank you."),
        ("在吗", "我在，一切正常。"),
        ("ok", "All right."),
        ("哈哈哈", "好的。"),
        ("😀", "All right."),
        ("謝謝", "不客气。"),
        ("谢谢你", "不客气。"),
        ("bye!", "Goodbye!"),
    ],
)
async def test_small_things_have_small_answers(text: str, answer: str) -> None:
    assert await asked(text) == answer


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("Explain the French revolution.", "That is beyond a demo model. I can "),
        ("量子力学是什么？", "这超出了演示模型的能力。我会："),
        ("early breakfast history", "That is beyond a demo model. I can "),
        ("早餐吃什么好", "这超出了演示模型的能力。我会："),
        ("", "That is beyond a demo model. I can "),
    ],
)
async def test_what_is_beyond_it_is_said_plainly(text: str, beginning: str) -> None:
    assert (await asked(text)).startswith(beginning)


async def test_what_it_can_do_is_said_once_in_a_conversation() -> None:
    for question, answer in (("sing", "That is beyond a demo model."), ("唱歌", "这超出了演示模型的能力。")):
        first = await asked(question)
        assert first != answer
        again = (*ANSWERED, Message("user", question), Message("assistant", first), Message("user", question))
        assert await says(*again) == answer


@pytest.mark.parametrize(
    "text",
    [
        *("who are you?", "what's your name", "are you ChatGPT?", "which model are you", "who made you?"),
        *("你是谁", "你叫什么名字？", "你是機器人嗎", "你是什么模型", "谁开发了你"),
    ],
)
async def test_whoever_asks_is_told_what_it_is(text: str) -> None:
    answer = await asked(text)
    assert "演示模型" in answer or "demo model" in answer
    assert "OPENAI_API_KEY" in answer
    assert await says(Message("user", text)) == answer, "no need to introduce itself as well"


@pytest.mark.parametrize(
    "text",
    [
        *("How do I connect a real model?", "how to set up openai", "can I use Ollama here?"),
        *("怎么接入真正的模型", "怎么设置 OpenAI 的 key？", "怎麼換成 deepseek"),
    ],
)
async def test_whoever_wants_a_real_model_is_told_how(text: str) -> None:
    answer = await asked(text)
    assert "`default_model`" in answer
    assert "cozy chat --model" in answer


@pytest.mark.parametrize(
    "text",
    [
        *("forget my name", "Please forget everything about me", "can you delete my memory?"),
        *("忘掉我的名字", "请删除我的记忆", "把我的生日忘了吧", "清除所有記憶"),
    ],
)
async def test_whoever_wants_to_be_forgotten_is_told_how(text: str) -> None:
    assert "`cozy memory forget ID`" in await asked(text, CONTEXT)


@pytest.mark.parametrize("text", ["I always forget my keys", "我忘记我的密码了", "别忘了我"])
async def test_whoever_forgets_is_not(text: str) -> None:
    assert "cozy memory" not in await asked(text)


async def test_what_was_said_before_can_be_asked_for() -> None:
    earlier = (Message("user", CONTEXT + "sing\nloudly"), Message("assistant", "No."))
    assert await says(*earlier, Message("user", "what did I just say?")) == "You said: “sing loudly”"
    assert await says(*earlier, Message("user", "我刚才说了什么")) == "你刚才说：“sing loudly”"
    assert (await says(Message("user", "what did I say?"))).startswith("Nothing else in this conversation.")


async def test_whom_it_knows_it_tells_in_two_words_what_speaks() -> None:
    assert await says(Message("user", CONTEXT + "what is my name?")) == "Your name is Ada. (demo model)"
    assert await says(Message("user", CONTEXT_ZH + "我叫什么？")) == "你叫小明。（演示模型）"
    assert (await says(Message("user", CONTEXT + "sing"))).count("demo model") == 1


async def test_a_first_answer_that_says_what_speaks_only_adds_how_to_connect() -> None:
    assert (await says(Message("user", "sing"))).endswith(f"documents at hand. {CONNECT_EN}")
    assert (await says(Message("user", "唱歌"))).endswith(f"手头的资料。{CONNECT_ZH}")


async def test_what_was_said_last_takes_the_place_of_what_was_known() -> None:
    earlier = (Message("user", "I don't like tea any more. I have a dog."), Message("assistant", "Noted."))
    asking = Message("user", CONTEXT + "what do I like?")
    assert await says(*earlier, asking) == "I do not know that yet; you have not told me."
    asking = Message("user", CONTEXT_ZH + "我喜欢什么？")
    earlier = (Message("user", "我不喜歡晨跑"), Message("assistant", "好的。"))
    assert await says(*earlier, asking) == "你喜欢喝茶。"


@pytest.mark.parametrize(
    ("line", "question", "answer"),
    [
        ("oolong tea: likes it", "what do I like?", "You like oolong tea."),
        ("c++: dislikes it", "what do I dislike?", "You dislike c++."),
        ("meat: does not eat it", "what don't I eat?", "You do not eat meat."),
        ("nuts: allergic", "what am I allergic to?", "You are allergic to nuts."),
        ("favorite color: blue", "what is my favorite color?", "Your favorite color is blue."),
        ("cat: Tom", "what is my cat called?", "Your cat is called Tom."),
        ("cats: two cats", "how many cats do I have?", "You have two cats."),
        ("茶: 喜欢喝", "我喜欢什么", "你喜欢喝茶。"),
        ("香菜: 不吃", "我不吃什么", "你不吃香菜。"),
        ("花生: 过敏", "我对什么过敏", "你对花生过敏。"),
        ("最喜欢的颜色: 蓝色", "我最喜欢的颜色是什么", "你最喜欢的颜色是蓝色。"),
        ("貓: 咪咪", "我的猫叫什么", "你的貓叫咪咪。"),
        ("孩子: 两个孩子", "我有几个孩子", "你有两个孩子。"),
        ("name: 陳大文", "我叫什麼名字", "你叫陳大文。"),
        ("likes tea: likes tea", "what do I like?", "You like tea."),
    ],
)
async def test_a_profile_s_facts_are_told_in_sentences(line: str, question: str, answer: str) -> None:
    context = f"<context>\nAbout the user:\n- {line}\n</context>\n\n"
    assert await asked(question, context) == answer


async def test_the_language_is_the_one_last_written_in() -> None:
    chinese = (Message("user", "你好"), Message("assistant", "你好！"))
    assert (
        await says(*chinese, Message("user", "1+1"), tools=())
        == "回答这个要用工具 `calculator`，这里没有提供。"
    )
    assert await says(*chinese, Message("user", "👍")) == "好的。"
    assert await says(*chinese, Message("user", "thanks")) == "You are welcome."


@pytest.mark.parametrize(
    "ask",
    [
        *("one word\n" + sign * 100_000 for sign in ("\n", " ", "\t", "a", "-", "`")),
        "above\nDraft: " + "\n" * 100_000,
        "above\nDraft:" + "\nCritic " * 20_000,
    ],
    ids=lambda ask: repr(ask[-12:]),
)
async def test_a_step_s_text_may_be_hostile(ask: str) -> None:
    with anyio.fail_after(5):
        await says(Message("user", "hi"), Message("user", f"{ask} above"))


async def test_it_names_the_abilities_that_it_has_here() -> None:
    assert await says(*ANSWERED, Message("user", "what can you do?"), tools=TOOLS[:2]) == (
        "I can calculate, tell the time, remember what you tell me and quote the documents at hand."
    )
    assert "报时" in await asked("你能做什么？")


CONCIERGE = """\
Which word fits my last message best? Answer with that word only.
lookup: it asks for a fact that stands in the house's documents.
think: it takes several steps of thought, a plan or a calculation.
chat: anything else.
"""
CRITIC = (
    "Here is a draft of an answer to the message above. List what is wrong in it, or write only: OK.\n\nHi."
)
FINAL = "Here is a draft of your answer to the message above.\n\nDraft:\n你好。\n再见。\n\nCritic:\nOK."


@pytest.mark.parametrize(
    ("text", "ask", "answer"),
    [
        ("When is breakfast?", CONCIERGE, "lookup"),
        ("I need a plan for tomorrow", CONCIERGE, "think"),
        ("hi there", CONCIERGE, "chat"),
        ("hi there", CRITIC, "OK."),
        ("hi there", FINAL, "你好。\n再见。"),
        ("我叫什么？", "上面的问题，只用一个词回答：\n姓名：问名字\n其他：别的", "其他"),
    ],
    ids=["look up", "plan", "chat", "critic", "mended draft", "Chinese"],
)
async def test_steps_of_a_pipeline_are_answered_without_an_introduction(
    text: str, ask: str, answer: str
) -> None:
    assert await says(Message("user", text), Message("user", ask)) == answer


async def test_a_step_that_asks_for_the_answer_gets_it() -> None:
    ask = Message("user", "Take the question above step by step, then answer briefly.")
    assert await says(*ANSWERED, Message("user", CONTEXT + "what is my name?"), ask) == "Your name is Ada."


async def test_a_message_that_was_left_without_an_answer_is_not_taken_for_the_question() -> None:
    messages = (*ANSWERED, Message("user", "what is my name?"), Message("user", "thanks"))
    assert await says(*messages) == "You are welcome."


@pytest.mark.parametrize(("wanted", "answer"), [("array", "[]"), ("object", "{}")])
async def test_a_prompt_that_wants_json_gets_it_empty(wanted: str, answer: str) -> None:
    messages = (
        Message("system", f"Extract facts. Answer with a JSON {wanted}."),
        Message("user", "我叫小明"),
    )
    got = await chunks(LLMRequest("demo/demo", messages))
    assert "".join(c.text for c in got if isinstance(c, TextChunk)) == answer


async def test_it_streams_word_by_word_and_chinese_by_two_characters() -> None:
    request = LLMRequest("demo/demo", (SYSTEM, *ANSWERED, Message("user", "我叫Ada Lovelace")))
    assert [c.text for c in await chunks(request) if isinstance(c, TextChunk)] == [
        "好的", "，知", "道了", "：你", "叫", "Ada", " Lovelace", "。",
    ]  # fmt: skip


async def test_it_reports_what_it_cost() -> None:
    request = LLMRequest("demo/demo", (Message("system", "be brief"), *ANSWERED, Message("user", "你好")))
    last = (await chunks(request))[-1]
    assert last == FinishChunk(
        "stop", Usage(prompt_tokens=2 + 1 + 2 + 2 + 4 * 3, completion_tokens=3), "demo"
    )


async def test_the_bounds_of_an_answer_are_kept() -> None:
    messages = (SYSTEM, *ANSWERED, Message("user", "what can you do?"))
    got = await chunks(LLMRequest("demo/demo", messages, sampling=Sampling(max_tokens=4)))
    assert [c.text for c in got if isinstance(c, TextChunk)] == ["I", " can", " remember", " what"]
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].reason == "length"
    got = await chunks(LLMRequest("demo/demo", messages, sampling=Sampling(stop=(" remember",))))
    assert "".join(c.text for c in got if isinstance(c, TextChunk)) == "I can"


async def test_a_pause_between_pieces_can_be_asked_for() -> None:
    request = LLMRequest("demo/demo", (SYSTEM, *ANSWERED, Message("user", "你好")))
    began = anyio.current_time()
    async with DemoLLM(delay_s=0.01).stream(request) as answer:
        pieces = [chunk async for chunk in answer]
    assert anyio.current_time() - began >= 0.01 * (len(pieces) - 1) * 0.9


async def test_a_reader_that_never_waits_can_be_cancelled() -> None:
    async def read() -> None:
        async with DemoLLM().stream(
            LLMRequest("demo/demo", (Message("user", "what can you do?"),))
        ) as answer:
            async for _ in answer:
                pass

    with anyio.CancelScope() as scope:
        scope.cancel()
        await read()
    assert scope.cancelled_caught


def test_its_card_needs_no_network() -> None:
    assert DemoLLM().card("demo/demo") == ModelCard("demo/demo", 32_768)


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
WORDS = st.text(alphabet="我叫什么 abc my?？12+(=\n<context>/-:：", max_size=60)


@given(st.lists(st.builds(Message, ROLES, WORDS), max_size=6))
async def test_any_conversation_has_an_answer_and_always_the_same(messages: list[Message]) -> None:
    request = LLMRequest("demo/demo", tuple(messages), tools=TOOLS)
    first = await chunks(request)
    assert isinstance(first[-1], FinishChunk)
    assert first == await chunks(request)
