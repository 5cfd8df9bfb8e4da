"""One call of a tool, without a turn around it: its arguments checked, its time bounded."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import anyio

from cozy.errors import CozyError, ToolError
from cozy.ports.tools import Toolbox, ToolCaller, ToolResult
from cozy.stages.tool_arguments import compile_tools

_log = logging.getLogger("cozy.tools")


async def call_tool(
    tools: Toolbox, name: str, arguments: Mapping[str, Any], caller: ToolCaller
) -> ToolResult:
    """What the tool gives, as a model would read it. Whether `caller` may use it is not asked here.

    Raises ToolError for a tool that there is not, arguments that do not fit, and whatever the tool fails of.
    """
    spec = next((spec for spec in tools.specs() if spec.name == name), None)
    if spec is None:
        raise ToolError(f"there is no tool `{name}`")
    [tool] = compile_tools([spec])
    checked = tool.check(json.dumps(dict(arguments), ensure_ascii=False))
    result: ToolResult | None = None
    with anyio.move_on_after(spec.timeout_s):
        try:
            result = await tools.call(name, checked, caller)
        except CozyError:
            raise
        except Exception:  # a bug of the tool's: its words are for the log
            _log.exception("tool %s failed", name, extra={"user_id": str(caller.user_id), "tool": name})
            raise ToolError(f"`{name}` is broken and gave no result") from None
    if result is None:
        raise ToolError(f"`{name}` did not answer within {spec.timeout_s:g} s")
    if result.is_error:
        raise ToolError(result.content)
    return result
