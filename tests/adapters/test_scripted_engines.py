"""Knowledge, memory, profile and tools from a script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import anyio
import pytest
import strictyaml
from pydantic import ValidationError

from cozy.adapters.scripted import ScriptError
from cozy.adapters.scripted_engines import (
    LONG_AGO,
    ScriptedKnowledge,
    ScriptedMemories,
    ScriptedProfiles,
    ScriptedToolbox,
    Search,
)
from cozy.errors import EngineTimeout, EngineUnavailable, NotFound, ToolError
from cozy.ports.knowledge import Passage
from cozy.ports.memory import Exchange, MemoryItem
from cozy.ports.profile import ProfileFact
from cozy.ports.tools import ToolCaller, ToolResult, ToolSpec
from cozy.turn import Message, TurnId, UserId

ADA = UserId(UUID(int=1))
CALLER = ToolCaller(ADA, None, TurnId(UUID(int=2)), "mia")
EXCHANGE = Exchange(TurnId(UUID(int=2)), ADA, None, "mia", "fake/a", (Message("user", "我叫小明"),))


async def test_knowledge_finds_what_its_script_says() -> None:
    data = strictyaml.load(
        """\
passages:
  - text: 多喝水。
    source: 水.md
    dataset: health
    score: 0.9
  - text: 早睡。
    source:
delay_ms: 0
"""
    ).data
    knowledge = ScriptedKnowledge(data)
    water = Passage("passage-1", "多喝水。", "水.md", "health", 0.9)
    sleep = Passage("passage-2", "早睡。", "script", "default", 1.0)
    assert await knowledge.search("水", user_id=ADA, datasets=(), top_k=5) == [water, sleep]
    assert await knowledge.search("水", user_id=ADA, datasets=(), top_k=1) == [water]
    assert await knowledge.search("水", user_id=ADA, datasets=["default"], top_k=5) == [sleep]
    assert knowledge.searches[2] == Search("水", ADA, 5, ("default",))


async def test_memories_are_what_their_script_says() -> None:
    memories = ScriptedMemories({"items": ["用户喜欢茶", {"text": "用户住在北京", "score": "0.5"}]})
    tea = MemoryItem("memory-1", "用户喜欢茶", LONG_AGO, 1.0)
    assert await memories.search("茶", user_id=ADA, top_k=1) == [tea]
    assert memories.searches == [Search("茶", ADA, 1)]
    assert await memories.learn(EXCHANGE) == 0
    assert memories.learned == [EXCHANGE]
    await memories.edit(ADA, "memory-2", "用户住在上海")
    assert await memories.forget(ADA, "memory-1") == 1
    assert [item.text for item in await memories.items(ADA)] == ["用户住在上海"]
    assert await memories.forget(ADA) == 1
    with pytest.raises(NotFound):
        await memories.forget(ADA, "memory-1")


async def test_a_profile_is_what_its_script_says() -> None:
    profiles = ScriptedProfiles(
        {
            "facts": [
                {"sub_topic": "name", "content": "小明"},
                {"topic": "work", "sub_topic": "job", "content": "医生"},
            ]
        }
    )
    name = ProfileFact("fact-1", "basic_info", "name", "小明", LONG_AGO)
    assert (await profiles.facts(ADA))[0] == name
    assert profiles.asked == [ADA]
    assert await profiles.learn(EXCHANGE) == 0
    assert profiles.learned == [EXCHANGE]
    await profiles.edit(ADA, "fact-2", "护士")
    assert await profiles.forget(ADA, "fact-1") == 1
    assert [fact.content for fact in await profiles.facts(ADA)] == ["护士"]
    assert await profiles.forget(ADA) == 1
    with pytest.raises(NotFound):
        await profiles.edit(ADA, "fact-1", "x")


TOOLS = """\
tools:
  - name: weather
    description: 天气
    parameters: '{"type": "object", "required": ["city"]}'
    timeout_s: 2
    side_effects: yes
    result: 晴
  - name: dice
    results:
      - content: 3
      - content: no more
        is_error: true
      - fault:
          kind: ToolError
          message: broken
"""


async def test_tools_give_what_their_script_says_in_turn() -> None:
    toolbox = ScriptedToolbox(strictyaml.load(TOOLS).data)
    assert toolbox.specs() == [
        ToolSpec("weather", "天气", {"type": "object", "required": ["city"]}, 2.0, side_effects=True),
        ToolSpec("dice", "A tool of the script.", {"type": "object"}),
    ]
    for _ in range(2):
        assert await toolbox.call("weather", {"city": "京都"}, CALLER) == ToolResult("晴")
    assert await toolbox.call("dice", {}, CALLER) == ToolResult("3")
    assert await toolbox.call("dice", {}, CALLER) == ToolResult("no more", is_error=True)
    with pytest.raises(ScriptError, match="too few calls for the results of `dice`"):
        toolbox.finish()
    for _ in range(2):
        with pytest.raises(ToolError, match="broken"):
            await toolbox.call("dice", {}, CALLER)
    toolbox.finish()
    assert [(run.name, dict(run.arguments)) for run in toolbox.calls][:2] == [
        ("weather", {"city": "京都"}),
        ("weather", {"city": "京都"}),
    ]


async def test_a_tool_that_is_not_there_is_named() -> None:
    toolbox = ScriptedToolbox({"tools": [{"name": "weather"}]})
    with pytest.raises(ToolError, match="did you mean `weather`"):
        await toolbox.call("wether", {}, CALLER)
    assert await toolbox.call("weather", {}, CALLER) == ToolResult("")


Ask = Callable[[dict[str, Any]], Awaitable[object]]
ENGINES: dict[str, Ask] = {
    "knowledge": lambda data: ScriptedKnowledge(data).search("x", user_id=ADA, datasets=(), top_k=1),
    "memory": lambda data: ScriptedMemories(data).search("x", user_id=ADA, top_k=1),
    "memory listing": lambda data: ScriptedMemories(data).items(ADA),
    "profile": lambda data: ScriptedProfiles(data).facts(ADA),
    "tool": lambda data: ScriptedToolbox({"tools": [{"name": "t", "results": [data]}]}).call("t", {}, CALLER),
    "memory learning": lambda data: ScriptedMemories({"learn_fault": data.get("fault")}).learn(EXCHANGE),
    "profile learning": lambda data: ScriptedProfiles({"learn_fault": data.get("fault")}).learn(EXCHANGE),
}


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_engine_fails_where_the_script_says(engine: str) -> None:
    with pytest.raises(EngineTimeout, match="太慢"):
        await ENGINES[engine]({"fault": {"kind": "EngineTimeout", "message": "太慢"}})
    with pytest.raises(EngineUnavailable):
        await ENGINES[engine]({"fault": {"kind": "cut"}})


async def test_an_engine_may_work_after_some_failures() -> None:
    fault = {
        "fault": {"kind": "EngineUnavailable", "times": "2"},
        "learn_fault": {"kind": "cut", "times": "1"},
    }
    memories = ScriptedMemories({**fault, "items": ["茶"]})
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            await memories.search("x", user_id=ADA, top_k=1)
    assert [item.text for item in await memories.search("x", user_id=ADA, top_k=1)] == ["茶"]
    for engine in (memories, ScriptedProfiles({"learn_fault": fault["learn_fault"]})):
        with pytest.raises(EngineUnavailable):
            await engine.learn(EXCHANGE)
        assert await engine.learn(EXCHANGE) == 0


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_engine_hangs_where_the_script_says(engine: str) -> None:
    with anyio.move_on_after(0.01) as scope:
        await ENGINES[engine]({"fault": {"kind": "stall"}})
    assert scope.cancelled_caught


@pytest.mark.parametrize("engine", ["knowledge", "memory", "profile", "tool"])
async def test_an_engine_is_as_slow_as_the_script_says(engine: str) -> None:
    began = anyio.current_time()
    await ENGINES[engine]({"delay_ms": "10"})
    assert anyio.current_time() - began >= 0.0099


@pytest.mark.parametrize(
    ("engine", "data"),
    [
        (ScriptedKnowledge, {"passages": [{"source": "x"}]}),
        (ScriptedKnowledge, {"passages": [{"text": "x", "score": "2"}]}),
        (ScriptedKnowledge, {"fault": {"kind": "ToolError"}}),
        (ScriptedMemories, {"facts": []}),
        (ScriptedProfiles, {"facts": ["x"]}),
        (ScriptedToolbox, {"tools": [{"name": "x", "result": "a", "results": [{"content": "b"}]}]}),
        (ScriptedToolbox, {"tools": [{"name": "x", "parameters": "{"}]}),
    ],
)
def test_a_script_that_means_nothing_is_refused(engine: Callable[[Any], object], data: object) -> None:
    with pytest.raises(ValidationError):
        engine(data)
