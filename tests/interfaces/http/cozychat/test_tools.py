"""Row 21, and running a tool without a model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from sqlalchemy import select

from cozy.adapters.scripted_engines import ScriptedToolbox
from cozy.interfaces.http.cozychat.tools import ToolCall, execute
from cozy.interfaces.http.endpoint import Call
from cozy.interfaces.http.exchange import Exchange
from cozy.storage.database import open_database
from cozy.storage.tables import audit_events
from tests.interfaces.http.serving import Served, served
from tests.stages.seat import Trail


async def test_a_voice_call_asks_for_the_tools_that_are_built_in(ann: httpx2.AsyncClient) -> None:
    body = (await ann.get("/v1/tools", params={"type": "builtin"})).json()
    tools = {tool["name"]: tool for tool in body["tools"]}
    assert body["total"] == len(tools) >= 4
    calculator = tools["calculator"]
    assert (calculator["type"], calculator["enabled"], calculator["server"]) == ("builtin", True, None)
    assert calculator["parameters"]["type"] == "object"
    assert "expression" in calculator["parameters"]["properties"]
    assert calculator["description"]
    assert (await ann.get("/v1/tools")).json() == body
    assert (await ann.get("/v1/tools", params={"type": "mcp"})).json() == {"tools": [], "total": 0}
    assert (await ann.get("/v1/tools", params={"type": "other"})).status_code == 422


async def test_a_tool_is_run(ann: httpx2.AsyncClient) -> None:
    call = {"tool_name": "calculator", "parameters": {"expression": "6*7"}}
    response = await ann.post("/v1/tools/execute", json=call)
    body = response.json()
    assert response.status_code == 200
    assert (body["tool_name"], body["success"]) == ("calculator", True)
    assert "42" in body["result"]
    assert 0 <= body["execution_time"] < 10


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [
        pytest.param({"tool_name": "nothing"}, 400, "no tool `nothing`", id="unknown"),
        pytest.param({"tool_name": "calculator"}, 400, "expression", id="no argument"),
        pytest.param(
            {"tool_name": "calculator", "parameters": {"expression": 5}}, 400, "string", id="other type"
        ),
        pytest.param({"tool_name": "calculator", "parameters": {"expression": "1/0"}}, 400, "", id="fails"),
        pytest.param({"parameters": {}}, 422, "tool_name", id="no name"),
        pytest.param({"tool_name": "calculator", "parameters": []}, 422, "parameters", id="no object"),
    ],
)
async def test_a_tool_that_cannot_be_run(
    ann: httpx2.AsyncClient, call: dict[str, Any], status: int, words: str
) -> None:
    response = await ann.post("/v1/tools/execute", json=call)
    assert response.status_code == status
    assert words in response.json()["detail"]


async def test_only_admins_refresh(ann: httpx2.AsyncClient, admin: httpx2.AsyncClient) -> None:
    assert (await ann.post("/v1/tools/refresh")).status_code == 403
    assert (await admin.post("/v1/tools/refresh")).json() == (await admin.get("/v1/tools")).json()


@pytest.fixture
async def strict(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Served]:
    """A server where few tools may be used, and one of them by admins alone."""
    tools = {"allow": ["calculator", "current_time"], "admins_only": ["current_*"]}
    async with served(tmp_path, sqlite_url, personalities={}, tools=tools) as house:
        yield house


async def test_a_tool_that_may_not_be_used_is_as_one_that_does_not_exist(
    strict: Served, sqlite_url: str
) -> None:
    async def names(client: httpx2.AsyncClient) -> set[str]:
        return {tool["name"] for tool in (await client.get("/v1/tools")).json()["tools"]}

    async with (
        strict.http(await strict.token("ann")) as ann,
        strict.http(await strict.token("root", admin=True)) as root,
    ):
        assert await names(ann) == {"calculator"}
        assert await names(root) == {"calculator", "current_time"}
        told = [
            (await ann.post("/v1/tools/execute", json={"tool_name": name})).json()["detail"]
            for name in ("current_time", "unit_convert", "nothing")
        ]
        assert told == [f"there is no tool `{n}`" for n in ("current_time", "unit_convert", "nothing")]
        ran = await root.post("/v1/tools/execute", json={"tool_name": "current_time", "parameters": {}})
        assert ran.status_code == 200


async def test_what_is_run_is_on_record_without_its_arguments(strict: Served, sqlite_url: str) -> None:
    async with strict.http(await strict.token("ann")) as ann:
        for call in (
            {"tool_name": "calculator", "parameters": {"expression": "40404*1"}},
            {"tool_name": "calculator", "parameters": {"expression": "40404/0"}},
            {"tool_name": "unit_convert", "parameters": {"secret": "40404"}},
            {"tool_name": "my number is 40404"},
        ):
            await ann.post("/v1/tools/execute", json=call)
    user = await strict.user("ann")
    wanted = select(audit_events).where(audit_events.c.user_id == user.id).order_by(audit_events.c.created_at)
    async with open_database(sqlite_url) as database:
        rows = await database.read(lambda connection: connection.execute(wanted).all())
    tools = [row for row in rows if row.event_type.startswith("tool.")]
    assert [(row.event_type, row.payload["tool"], row.payload.get("outcome")) for row in tools] == [
        ("tool.executed", "calculator", "ok"),
        ("tool.executed", "calculator", "TOOL_FAILED"),
        ("tool.denied", "unit_convert", None),
        ("tool.denied", "…", None),
    ]
    assert all(row.request_id for row in tools)
    assert "40404" not in str(rows)


async def test_a_run_that_is_cut_off_is_on_record_too(
    strict: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the server is stopped at once."""
    trail = Trail()
    slow = ScriptedToolbox({"tools": [{"name": "calculator", "results": [{"fault": {"kind": "stall"}}]}]})
    ports = replace(strict.service.engine.ports, tools=slow, audit=trail)
    monkeypatch.setattr(strict.service.engine, "ports", ports)
    caller = await strict.identity.authenticate(await strict.key("ann"))
    exchange = Exchange("req_1", "", user_id=caller.user_id)
    wanted = ToolCall(tool_name="calculator", parameters={})
    request: Any = None
    call = Call(request, strict.service, exchange, caller, wanted, None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(execute.handler, call)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    [event] = trail.events
    assert (event.type, event.payload["outcome"]) == ("tool.executed", "interrupted")
