"""What the demo model says of itself, and to small talk."""

from __future__ import annotations

import pytest

from cozy.adapters.demo_talk import CONNECT_EN, CONNECT_ZH, INTRODUCTION_EN, INTRODUCTION_ZH
from cozy.turn import Message
from tests.adapters.demo_talks import ANSWERED, CONTEXT, CONTEXT_ZH, TOOLS, asked, says


async def test_the_first_answer_of_a_conversation_says_what_speaks() -> None:
    assert await says(Message("user", "hello")) == f"Hello!\n\n{INTRODUCTION_EN}"
    assert await says(Message("user", "你好")) == f"你好！\n\n{INTRODUCTION_ZH}"
    assert "OPENAI_API_KEY" in INTRODUCTION_EN
    assert "cozy.toml" in INTRODUCTION_ZH


async def test_later_answers_do_not_say_it_again() -> None:
    assert await asked("hello") == "Hello!"
    assert await asked("你好") == "你好！"


async def test_whom_it_knows_it_tells_in_two_words_what_speaks() -> None:
    assert await says(Message("user", CONTEXT + "what is my name?")) == "Your name is Ada. (demo model)"
    assert await says(Message("user", CONTEXT_ZH + "我叫什么？")) == "你叫小明。（演示模型）"
    assert (await says(Message("user", CONTEXT + "sing"))).count("demo model") == 1


async def test_a_first_answer_that_says_what_speaks_only_adds_how_to_connect() -> None:
    assert (await says(Message("user", "sing"))).endswith(f"documents at hand. {CONNECT_EN}")
    assert (await says(Message("user", "唱歌"))).endswith(f"手头的资料。{CONNECT_ZH}")


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


async def test_it_names_the_abilities_that_it_has_here() -> None:
    assert await says(*ANSWERED, Message("user", "what can you do?"), tools=TOOLS[:2]) == (
        "I can calculate, tell the time, remember what you tell me and quote the documents at hand."
    )
    assert "报时" in await asked("你能做什么？")


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


async def test_what_was_said_of_something_is_looked_for_in_what_is_known() -> None:
    known = (
        "<context>\nEarlier in this conversation: The user said: my sister marries in Lisbon\n</context>\n\n"
    )
    earlier = (Message("user", "what time is it?"), Message("assistant", "Late."))
    asks = Message("user", f"{known}what did I tell you about my sister?")
    assert "marries in Lisbon" in await says(*earlier, asks)


async def test_the_language_is_the_one_last_written_in() -> None:
    chinese = (Message("user", "你好"), Message("assistant", "你好！"))
    assert (
        await says(*chinese, Message("user", "1+1"), tools=())
        == "回答这个要用工具 `calculator`，这里没有提供。"
    )
    assert await says(*chinese, Message("user", "👍")) == "好的。"
    assert await says(*chinese, Message("user", "thanks")) == "You are welcome."
