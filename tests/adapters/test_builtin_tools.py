from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.errors import ConfigError, ToolError
from cozy.ports.tools import Toolbox, ToolCaller
from cozy.stages.tool_arguments import compile_tools
from cozy.turn import TurnId, UserId

SUNDAY = datetime(2026, 11, 22, 4, 35, 8, tzinfo=UTC)


def caller(language: str | None = None) -> ToolCaller:
    return ToolCaller(UserId(UUID(int=1)), None, TurnId(UUID(int=2)), "default", language)


def toolbox(**settings: Any) -> BuiltinTools:
    return BuiltinTools(**{"timezone": "Asia/Shanghai", "now": lambda: SUNDAY, **settings})


async def answer(tools: BuiltinTools, name: str, language: str | None = None, /, **arguments: Any) -> str:
    """What the model reads; the arguments pass the tool's own schema first, as in a turn."""
    check = {tool.spec.name: tool.check for tool in compile_tools(tools.specs())}[name]
    return (await tools.call(name, check(json.dumps(arguments)), caller(language))).content


@pytest.fixture
def in_shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        yield
    time.tzset()


async def test_the_calculator_gives_the_bare_result() -> None:
    assert await answer(toolbox(), "calculator", expression="0.1+0.2") == "0.3"
    assert await answer(toolbox(), "calculator", "zh-CN", expression="（１＋２）×３") == "9"


@pytest.mark.parametrize(
    ("language", "timezone", "expected"),
    [
        (None, None, "2026-11-22 12:35:08, Sunday (Asia/Shanghai, UTC+08:00)"),
        ("en", "New York", "2026-11-21 23:35:08, Saturday (America/New_York, UTC-05:00)"),
        ("en", "UTC+8", "2026-11-22 12:35:08, Sunday (UTC+08:00)"),
        ("zh-CN", None, "2026年11月22日 星期日 12:35:08（Asia/Shanghai，UTC+08:00）"),
        ("ZH", "伦敦", "2026年11月22日 星期日 04:35:08（Europe/London，UTC+00:00）"),
        ("zh", "  ", "2026年11月22日 星期日 12:35:08（Asia/Shanghai，UTC+08:00）"),
    ],
)
async def test_the_time_is_told_with_weekday_and_offset(
    language: str | None, timezone: str | None, expected: str
) -> None:
    arguments = {} if timezone is None else {"timezone": timezone}
    assert await answer(toolbox(), "current_time", language, **arguments) == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "2026-11-22 12:35:08, Sunday (local time, UTC+08:00)"),
        ("zh", "2026年11月22日 星期日 12:35:08（当地时间，UTC+08:00）"),
    ],
)
async def test_without_a_configured_zone_it_is_the_machine_s(
    in_shanghai: None, language: str, expected: str
) -> None:
    assert await answer(toolbox(timezone="local"), "current_time", language) == expected


async def test_the_clock_is_the_real_one_if_none_is_given() -> None:
    told = await answer(BuiltinTools(timezone="UTC"), "current_time")
    moment = datetime.fromisoformat(told[:19]).replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60


def test_a_configured_zone_that_does_not_exist_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="no time zone `Mars/Olympus`"):
        BuiltinTools(timezone="Mars/Olympus")


async def test_chance_is_the_one_that_is_given() -> None:
    options = ["红烧肉", "麻婆豆腐", "清蒸鱼"]
    picks = [
        await answer(toolbox(chance=random.Random(7)), "random_choice", "zh", options=options, count=2)
        for _ in range(2)
    ]
    assert picks[0] == picks[1]
    assert set(picks[0].split("、")) < set(options)


async def test_every_option_comes_up_and_none_twice_in_one_draw() -> None:
    tools = toolbox()
    seen = {await answer(tools, "random_choice", options=["a", "b"]) for _ in range(200)}
    assert seen == {"a", "b"}
    drawn = await answer(tools, "random_choice", options=["a", "b", "c"], count=3)
    assert sorted(drawn.split(", ")) == ["a", "b", "c"]


async def test_more_than_there_is_cannot_be_drawn() -> None:
    with pytest.raises(ToolError, match="`count` is 3, but there are only 2 options"):
        await answer(toolbox(), "random_choice", options=["a", "b"], count=3)


@pytest.mark.parametrize(
    ("language", "arguments", "expected"),
    [
        ("zh", {"value": 3, "from_unit": "斤", "to_unit": "公斤"}, "3 斤 = 1.5 公斤"),
        ("en", {"value": 5, "from_unit": "miles", "to_unit": "km"}, "5 mi = 8.04672 km"),
        ("en", {"value": 0.1, "from_unit": "m", "to_unit": "cm"}, "0.1 m = 10 cm"),
        ("en", {"value": 1, "from_unit": "kg", "to_unit": "lb"}, "1 kg ≈ 2.204622622 lb"),
        ("zh", {"value": 98.6, "from_unit": "华氏度", "to_unit": "摄氏度"}, "98.6 华氏度 = 37 摄氏度"),
        ("en", {"value": 1e300, "from_unit": "km", "to_unit": "m"}, "1e+300 km = 1e+303 m"),
    ],
)
async def test_a_conversion_says_both_sides(language: str, arguments: dict[str, Any], expected: str) -> None:
    assert await answer(toolbox(), "unit_convert", language, **arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("calculator", {"expression": "9**9**9"}),
        ("current_time", {"timezone": "nowhere"}),
        ("unit_convert", {"value": 1, "from_unit": "kg", "to_unit": "m"}),
        ("unit_convert", {"value": True, "from_unit": "kg", "to_unit": "g"}),
        ("random_choice", {"options": []}),
        ("random_choice", {"options": ["a"], "count": 0}),
        ("calculator", {"expression": "1", "precision": 3}),
    ],
)
async def test_what_a_tool_cannot_do_is_a_tool_error(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolError):
        await answer(toolbox(), name, **arguments)


async def test_a_number_beyond_all_floats_is_a_tool_error() -> None:
    tools = toolbox()
    check = {tool.spec.name: tool.check for tool in compile_tools(tools.specs())}["unit_convert"]
    arguments = check('{"value": 1e999, "from_unit": "km", "to_unit": "m"}')
    with pytest.raises(ToolError, match="too large"):
        await tools.call("unit_convert", arguments, caller())


async def test_an_unknown_tool_is_answered_with_the_nearest() -> None:
    with pytest.raises(ToolError) as caught:
        await toolbox().call("calculater", {}, caller())
    assert caught.value.hint == "did you mean `calculator`?"


def test_each_schema_is_closed_and_explains_itself() -> None:
    tools: Toolbox = toolbox()
    assert [spec.name for spec in tools.specs()] == [
        "calculator",
        "current_time",
        "random_choice",
        "unit_convert",
    ]
    for spec in tools.specs():
        assert spec.description
        assert spec.parameters["additionalProperties"] is False
        json.dumps(spec.parameters)
