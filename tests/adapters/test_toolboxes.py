from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.adapters.toolboxes import Toolboxes
from cozy.errors import ConfigError, ToolError
from cozy.ports.tools import ToolCaller, ToolResult, ToolSpec
from cozy.turn import TurnId, UserId

CALLER = ToolCaller(UserId(UUID(int=1)), None, TurnId(UUID(int=2)), "default")


class Growing:
    """A toolbox whose tools come and go, as those of a server do; it answers with its own name."""

    def __init__(self, title: str, *names: str) -> None:
        self.title = title
        self.names = list(names)

    def specs(self) -> Sequence[ToolSpec]:
        return [ToolSpec(name, "", {"type": "object"}) for name in self.names]

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        return ToolResult(self.title)


async def test_each_tool_is_run_by_the_box_it_comes_from() -> None:
    both = Toolboxes(BuiltinTools(), Growing("weather", "mcp/weather/forecast"))
    assert [spec.name for spec in both.specs()] == [
        "calculator",
        "current_time",
        "random_choice",
        "unit_convert",
        "mcp/weather/forecast",
    ]
    assert (await both.call("calculator", {"expression": "1+1"}, CALLER)).content == "2"
    assert (await both.call("mcp/weather/forecast", {}, CALLER)).content == "weather"


def test_two_tools_of_one_name_stop_the_start() -> None:
    with pytest.raises(ConfigError, match="`a`, `b`"):
        Toolboxes(Growing("first", "a", "b"), Growing("second", "b", "a", "c"))


async def test_of_two_that_come_to_share_a_name_the_earlier_keeps_it() -> None:
    first, second = Growing("first", "a"), Growing("second", "b")
    both = Toolboxes(first, second)
    second.names.append("a")
    second.names.append("c")
    assert [spec.name for spec in both.specs()] == ["a", "b", "c"]
    assert (await both.call("a", {}, CALLER)).content == "first"
    assert (await both.call("c", {}, CALLER)).content == "second"


async def test_an_unknown_tool_is_answered_with_the_nearest() -> None:
    with pytest.raises(ToolError) as caught:
        await Toolboxes(Growing("first", "forecast")).call("forcast", {}, CALLER)
    assert caught.value.hint == "did you mean `forecast`?"
