"""Which tools a message asks for."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.adapters.demo_tools import READ_CHARS, Wish, arguments_for, offered, wishes
from cozy.ports.tools import ToolSpec

TIME: dict[str, Any] = {}


def units(value: float, source: str, target: str) -> dict[str, Any]:
    return {"value": value, "from_unit": source, "to_unit": target}


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("现在几点了", "current_time", {}),
        ("现在几点了，我饿了", "current_time", {}),
        ("今天星期几？", "current_time", {}),
        ("今天几号", "current_time", {}),
        ("东京现在几点？", "current_time", {"timezone": "东京"}),
        ("现在东京几点", "current_time", {"timezone": "东京"}),
        ("请问伦敦当前时间", "current_time", {"timezone": "伦敦"}),
        ("北京时间现在几点", "current_time", {"timezone": "北京"}),
        ("what time is it?", "current_time", {}),
        ("What's the date today?", "current_time", {}),
        ("what time is it in Tokyo?", "current_time", {"timezone": "Tokyo"}),
        ("What's the time in New York right now?", "current_time", {"timezone": "New York"}),
        ("what is 12*(3+4)?", "calculator", {"expression": "12*(3+4)"}),
        ("1+1", "calculator", {"expression": "1+1"}),
        ("3加5等于几", "calculator", {"expression": "3+5"}),
        ("三加十五等于多少", "calculator", {"expression": "3+15"}),
        ("一万二千减两百零三是多少", "calculator", {"expression": "12000-203"}),
        ("（1+2）×３ 等于？", "calculator", {"expression": "(1+2)*3"}),
        ("5除以2是多少", "calculator", {"expression": "5/2"}),
        ("2的10次方是多少", "calculator", {"expression": "2**10"}),
        ("16的平方根是多少", "calculator", {"expression": "sqrt(16)"}),
        ("200的15%是多少", "calculator", {"expression": "200*15%"}),
        ("200的百分之15是多少", "calculator", {"expression": "200*15%"}),
        ("what's 15% of 200", "calculator", {"expression": "200*15%"}),
        ("3 plus 4 times 2", "calculator", {"expression": "3+4*2"}),
        ("square root of 16", "calculator", {"expression": "sqrt(16)"}),
        ("1,000 + 2,500 =", "calculator", {"expression": "1000 + 2500"}),
        ("9**9**9", "calculator", {"expression": "9**9**9"}),
        ("what is 5!?", "calculator", {"expression": "5!"}),
        ("5 km to miles", "unit_convert", units(5, "km", "miles")),
        ("how many feet are in 2.5 miles?", "unit_convert", units(2.5, "miles", "feet")),
        ("5公里等于多少英里", "unit_convert", units(5, "公里", "英里")),
        ("把3斤换算成克", "unit_convert", units(3, "斤", "克")),
        ("100华氏度是多少摄氏度？", "unit_convert", units(100, "华氏度", "摄氏度")),
        ("flip a coin", "random_choice", {"options": ["heads", "tails"]}),
        ("抛个硬币", "random_choice", {"options": ["正面", "反面"]}),
        ("roll a die", "random_choice", {"options": ["1", "2", "3", "4", "5", "6"]}),
        ("pick one: tea, coffee or milk", "random_choice", {"options": ["tea", "coffee", "milk"]}),
        ("从红、黄、蓝中选一个", "random_choice", {"options": ["红", "黄", "蓝"]}),
        ("從紅茶、綠茶裡選一個", "random_choice", {"options": ["紅茶", "綠茶"]}),
        ("pick a number between 1 and 4", "random_choice", {"options": ["1", "2", "3", "4"]}),
        ("give me a random number from 8 to 10", "random_choice", {"options": ["8", "9", "10"]}),
        ("random number 1-3 please", "random_choice", {"options": ["1", "2", "3"]}),
        ("1到4随机选一个数", "random_choice", {"options": ["1", "2", "3", "4"]}),
        ("随机给我一个1到3之间的数字", "random_choice", {"options": ["1", "2", "3"]}),
        ("現在幾點？", "current_time", {}),
        ("東京現在幾點", "current_time", {"timezone": "东京"}),
        ("今天禮拜幾", "current_time", {}),
        ("Ｗｈａｔ　ｔｉｍｅ　ｉｓ　ｉｔ？", "current_time", {}),
        ("whats the time", "current_time", {}),
        ("一斤是多少克", "unit_convert", units(1, "斤", "克")),
        ("两公里等于多少米？", "unit_convert", units(2, "公里", "米")),
        ("５公里是多少英里", "unit_convert", units(5, "公里", "英里")),
        ("1小時等於多少分鐘", "unit_convert", units(1, "小时", "分钟")),
    ],
)
def test_a_message_asks_for_a_tool(text: str, tool: str, arguments: dict[str, Any]) -> None:
    assert wishes(text) == [Wish(tool, arguments)]


def test_a_message_may_ask_for_several() -> None:
    assert [wish.tool for wish in wishes("现在几点了？顺便算一下 3*7")] == ["current_time", "calculator"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "你好",
        "我有三个苹果",
        "会议几点开始？",
        "我加班到几点",
        "这件事什么时间做",
        "what is the time complexity of quicksort?",
        "what is your name?",
        "I need 3-5 days",
        "the 2/3 majority",
        "call 138-1234-5678?",
        "Born 2024-05-01?",
        "open 24/7?",
        "3 people in Paris",
        "what day is it tomorrow?",
        "what was the date yesterday",
        "明天星期几",
        "昨天几号",
        "pick a number between 1 and 100000000",
        "pick a number between 9 and 2",
        "我一斤都不想减",
        "((((((((",
        "= = =",
    ],
)
def test_a_message_asks_for_none(text: str) -> None:
    assert wishes(text) == []


def test_the_embedded_tools_take_every_wish() -> None:
    tools = BuiltinTools().specs()
    for text in ("东京现在几点？", "what is 1+1?", "5 km to miles", "抛个硬币"):
        (wish,) = wishes(text)
        tool = offered(wish, tools)
        assert tool is not None
        assert arguments_for(wish, tool) == wish.arguments


def test_arguments_go_by_the_names_of_the_schema() -> None:
    schema = {"type": "object", "properties": {"amount": {}, "from": {}, "to": {}}}
    tool = ToolSpec("mcp/units/unit_convert", "", schema)
    (wish,) = wishes("5 km to miles")
    assert offered(wish, [tool]) is tool
    assert arguments_for(wish, tool) == {"amount": 5, "from": "km", "to": "miles"}


def test_an_argument_without_a_place_is_left_out() -> None:
    (wish,) = wishes("东京现在几点？")
    assert arguments_for(wish, ToolSpec("current_time", "", {"type": "object"})) == {}


@pytest.mark.parametrize(
    "text", ["1" * 1000, "\t" * 1000, "1," * 500, "9千" * 500 + "加一", "从" * 1000 + "选", "一" * 1000]
)
def test_hostile_text_is_read_at_once(text: str) -> None:
    began = time.process_time()
    wishes(text)
    assert time.process_time() - began < 0.15


@pytest.mark.parametrize("text", ["1+" * 20_000, "(" * 20_000, "几点" * 20_000, "1 km " * 20_000])
def test_of_a_pasted_text_only_the_beginning_is_read(text: str) -> None:
    assert all(len(str(wish.arguments)) <= READ_CHARS + 100 for wish in wishes(text))
