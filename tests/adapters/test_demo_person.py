"""What the demo model knows of who asks."""

from __future__ import annotations

import pytest

from cozy.turn import Message
from tests.adapters.demo_talks import CONTEXT, CONTEXT_ZH, asked, says


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
