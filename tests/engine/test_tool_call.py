from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import anyio
import pytest

from cozy.engine.tool_call import call_tool
from cozy.errors import ToolError
from cozy.ports.tools import ToolCaller, ToolResult, ToolSpec
from cozy.turn import TurnId, UserId

pytestmark = pytest.mark.usefixtures("no_time")

CALLER = ToolCaller(UserId(uuid4()), None, TurnId(uuid4()), "")
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


class Box:
    """One tool, which says its text again, or does what a test has it do."""

    def __init__(self, timeout_s: float = 5) -> None:
        self._spec = ToolSpec("echo", "Says it again.", SCHEMA, timeout_s=timeout_s)

    def specs(self) -> Sequence[ToolSpec]:
        return [self._spec]

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        match arguments["text"]:
            case "break":
                raise RuntimeError("secret inside")
            case "refuse":
                raise ToolError("not today")
            case "fail":
                return ToolResult("it did not work", is_error=True)
            case "hang":
                await anyio.sleep_forever()
        return ToolResult(arguments["text"])


async def test_a_tool_gives_what_a_model_would_read() -> None:
    assert await call_tool(Box(), "echo", {"text": "茶"}, CALLER) == ToolResult("茶")


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        pytest.param("other", {}, "no tool `other`", id="there is no such tool"),
        pytest.param("echo", {}, "`text` is missing", id="an argument is missing"),
        pytest.param("echo", {"text": 5}, "must be string", id="an argument of another type"),
        pytest.param("echo", {"text": "refuse"}, "not today", id="the tool refuses"),
        pytest.param("echo", {"text": "fail"}, "it did not work", id="the tool fails"),
        pytest.param("echo", {"text": "break"}, "is broken", id="the tool has a bug"),
    ],
)
async def test_what_goes_wrong_is_a_tools_error(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        await call_tool(Box(), name, arguments, CALLER)
    assert "secret" not in str(caught.value)


async def test_a_tool_that_hangs_is_not_waited_for() -> None:
    with pytest.raises(ToolError, match=r"within 0\.05 s"):
        await call_tool(Box(timeout_s=0.05), "echo", {"text": "hang"}, CALLER)
