"""Tools: which there are for the caller, and running one without a model."""

from __future__ import annotations

from fnmatch import fnmatchcase
from time import perf_counter
from typing import Any, Literal
from uuid import uuid4

import anyio
from pydantic import Field

from cozy.engine.tool_call import call_tool
from cozy.errors import CozyError, ToolError
from cozy.interfaces.http.cozychat.routes import Given, Taken, route
from cozy.interfaces.http.endpoint import Call
from cozy.interfaces.http.service import Service
from cozy.ports.identity import Caller
from cozy.ports.tools import ToolCaller, ToolSpec, on_record
from cozy.turn import TurnId

_MCP = "mcp/"
NOTED_WITHIN_S = 5.0


class ToolQuery(Taken):
    type: Literal["builtin", "mcp", "all"] = "all"


class ToolItem(Given):
    name: str
    type: Literal["builtin", "mcp"]
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    enabled: bool = True
    server: str | None = None
    """Of `mcp`: who runs it."""


class ToolList(Given):
    tools: list[ToolItem]
    total: int


class ToolCall(Taken):
    tool_name: str = Field(max_length=256)
    parameters: dict[str, Any] = Field(default_factory=dict)
    personality_id: str | None = Field(default=None, max_length=64)


class ToolOutcome(Given):
    tool_name: str
    result: str
    """What a model would read."""
    execution_time: float
    """Seconds."""
    success: Literal[True] = True


@route("GET", "/v1/tools", access="chat", query=ToolQuery, gives=ToolList)
async def list_(call: Call[None, ToolQuery]) -> ToolList:
    """List the tools that the caller may use."""
    items = [_item(spec) for spec in _allowed(call.service, call.caller)]
    wanted = [item for item in items if call.query.type in ("all", item.type)]
    return ToolList(tools=wanted, total=len(wanted))


@route("POST", "/v1/tools/refresh", access="admin", gives=ToolList)
async def refresh(call: Call[None, None]) -> ToolList:
    """List every tool there is now, whoever may use it. No tool server is configured whose list could have
    changed: the tools are Cozy's own."""
    await call.note("admin.tools_refreshed")
    items = [_item(spec) for spec in call.service.engine.ports.tools.specs()]
    return ToolList(tools=items, total=len(items))


@route("POST", "/v1/tools/execute", access="chat", body=ToolCall, gives=ToolOutcome)
async def execute(call: Call[ToolCall, None]) -> ToolOutcome:
    """Run one tool. A tool that the caller may not use answers as one that does not exist."""
    wanted, caller, service = call.body, call.caller, call.service
    if not any(spec.name == wanted.tool_name for spec in _allowed(service, caller)):
        await call.note("tool.denied", tool=on_record(wanted.tool_name))
        raise ToolError(f"there is no tool `{wanted.tool_name}`")
    asked_by = ToolCaller(caller.user_id, None, TurnId(uuid4()), wanted.personality_id or "")
    began, outcome, seconds = perf_counter(), "interrupted", 0.0
    try:
        result = await call_tool(service.engine.ports.tools, wanted.tool_name, wanted.parameters, asked_by)
        outcome = "ok"
    except CozyError as error:
        outcome = error.code
        raise
    finally:
        seconds = perf_counter() - began
        facts = {"tool": wanted.tool_name, "outcome": outcome, "ms": round(seconds * 1000, 1)}
        with anyio.move_on_after(NOTED_WITHIN_S, shield=True):  # also of one that is cut off
            await call.note("tool.executed", **facts)
    return ToolOutcome(tool_name=wanted.tool_name, result=result.content, execution_time=seconds)


def _allowed(service: Service, caller: Caller) -> list[ToolSpec]:
    policy = service.settings.tools
    return [
        spec
        for spec in service.engine.ports.tools.specs()
        if (not policy.allow or _fits(spec.name, policy.allow))
        and (caller.role == "admin" or not _fits(spec.name, policy.admins_only))
    ]


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _item(spec: ToolSpec) -> ToolItem:
    is_mcp = spec.name.startswith(_MCP)
    return ToolItem(
        name=spec.name,
        type="mcp" if is_mcp else "builtin",
        description=spec.description,
        parameters={"type": "object", "properties": {}, **spec.parameters},
        server=spec.name.split("/")[1] if is_mcp else None,
    )


ENDPOINTS = (list_, refresh, execute)
