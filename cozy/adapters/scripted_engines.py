"""Knowledge, memory, profile and tools that answer from a script; see `cozy/adapters/scripted.py`.

Each takes its script as data, keeps what it was asked, and can be slow, fail, or hang.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeVar

import anyio
from pydantic import BeforeValidator, Field, model_validator

from cozy.adapters.scripted import EngineFault, Fault, Milliseconds, Part, ScriptError
from cozy.errors import NotFound, ToolError, did_you_mean
from cozy.ports.knowledge import Passage
from cozy.ports.memory import Exchange, MemoryItem
from cozy.ports.profile import ProfileFact
from cozy.ports.tools import ToolCaller, ToolResult, ToolSpec
from cozy.turn import UserId

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""When everything scripted was written."""


class Behaviour(Part):
    """How long an engine takes, and how it goes wrong."""

    delay_ms: Milliseconds = 0
    fault: EngineFault | None = None

    async def act(self, engine: str, before: int = 0) -> None:
        """Take the time, and fail where the script says; `before`: how often it was asked already."""
        await _act(engine, before, self.delay_ms, self.fault)


async def _act(engine: str, before: int, delay_ms: float, fault: Fault | None) -> None:
    await anyio.sleep(delay_ms / 1000)
    if fault is not None and (fault.times is None or before < fault.times):
        await fault.happen(engine)


class KnowledgePassage(Part):
    text: str
    source: str = "script"
    dataset: str = "default"
    score: float = Field(default=1.0, ge=0, le=1)


class KnowledgeScript(Behaviour):
    """What a search finds."""

    passages: tuple[KnowledgePassage, ...] = ()
    """Best first."""


def _as_text(value: Any) -> Any:
    """A text alone is an entry that holds it."""
    return {"text": value} if isinstance(value, str) else value


class ScriptedMemory(Part):
    text: str
    score: float = Field(default=1.0, ge=0, le=1)


class MemoryScript(Behaviour):
    """What is remembered."""

    items: tuple[Annotated[ScriptedMemory, BeforeValidator(_as_text)], ...] = ()
    """Best first; an item may be its text alone."""
    learn_fault: EngineFault | None = None


class ScriptedFact(Part):
    sub_topic: str
    content: str
    topic: str = "basic_info"


class ProfileScript(Behaviour):
    """Who the user is."""

    facts: tuple[ScriptedFact, ...] = ()
    learn_fault: EngineFault | None = None


def _schema(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


JsonSchema = Annotated[Mapping[str, Any], BeforeValidator(_schema)]
"""A schema of arguments, as JSON text or as a mapping."""


class ScriptedResult(Part):
    """What one call of a tool gives."""

    content: str = ""
    is_error: bool = False
    delay_ms: Milliseconds = 0
    fault: Fault | None = None


class ScriptedTool(Part):
    name: str
    description: str = "A tool of the script."
    parameters: JsonSchema = Field(default_factory=lambda: {"type": "object"})
    timeout_s: float = Field(default=10.0, gt=0)
    side_effects: bool = False
    result: str | None = None
    """What every call gives; in place of `results`."""
    results: tuple[ScriptedResult, ...] = ()
    """What the calls give in turn; the last one again for those that follow."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.result is not None and self.results:
            raise ValueError("a scripted tool has `result` or `results`, not both")
        return self

    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.parameters, self.timeout_s, self.side_effects)


class ToolScript(Part):
    """The tools there are."""

    tools: tuple[ScriptedTool, ...] = ()


S = TypeVar("S", bound=Part)


def _read(kind: type[S], script: S | Mapping[str, Any] | None) -> S:
    """The script, or the one that this data holds."""
    return script if isinstance(script, kind) else kind.model_validate({} if script is None else script)


@dataclass(frozen=True, slots=True)
class Search:
    """What an engine was asked."""

    query: str
    user_id: UserId
    top_k: int
    datasets: tuple[str, ...] = ()


class ScriptedKnowledge:
    """Fills `Knowledge`; the query is kept, not understood."""

    def __init__(self, script: KnowledgeScript | Mapping[str, Any] | None = None) -> None:
        self.script = _read(KnowledgeScript, script)
        self.searches: list[Search] = []

    async def search(
        self, query: str, *, user_id: UserId, datasets: Sequence[str], top_k: int
    ) -> Sequence[Passage]:
        self.searches.append(Search(query, user_id, top_k, tuple(datasets)))
        await self.script.act("knowledge", len(self.searches) - 1)
        found = [
            Passage(f"passage-{place}", p.text, p.source, p.dataset, p.score)
            for place, p in enumerate(self.script.passages, 1)
            if not datasets or p.dataset in datasets
        ]
        return found[:top_k]


class ScriptedMemories:
    """Fills `Memories`. What it learns it keeps in `learned`, and remembers no more than its script."""

    def __init__(self, script: MemoryScript | Mapping[str, Any] | None = None) -> None:
        self.script = _read(MemoryScript, script)
        self.searches: list[Search] = []
        self.learned: list[Exchange] = []
        self._lessons = 0
        self._items = [
            MemoryItem(f"memory-{place}", item.text, LONG_AGO, item.score)
            for place, item in enumerate(self.script.items, 1)
        ]

    async def search(self, query: str, *, user_id: UserId, top_k: int) -> Sequence[MemoryItem]:
        self.searches.append(Search(query, user_id, top_k))
        await self.script.act("memory", len(self.searches) - 1)
        return self._items[:top_k]

    async def learn(self, exchange: Exchange) -> int:
        self._lessons += 1
        await _act("memory", self._lessons - 1, 0, self.script.learn_fault)
        self.learned.append(exchange)
        return 0

    async def add(self, user_id: UserId, text: str) -> MemoryItem:
        await self.script.act("memory")
        self._items.append(item := MemoryItem(f"memory-{len(self._items) + 1}", text, LONG_AGO))
        return item

    async def items(self, user_id: UserId) -> Sequence[MemoryItem]:
        await self.script.act("memory")
        return list(self._items)

    async def edit(self, user_id: UserId, item_id: str, text: str) -> None:
        place = _place(item_id, [item.id for item in self._items], "memory")
        self._items[place] = MemoryItem(item_id, text, LONG_AGO, self._items[place].score)

    async def forget(self, user_id: UserId, item_id: str | None = None) -> int:
        if item_id is not None:
            del self._items[_place(item_id, [item.id for item in self._items], "memory")]
            return 1
        gone = len(self._items)
        self._items.clear()
        return gone


class ScriptedProfiles:
    """Fills `Profiles`, as ScriptedMemories does `Memories`."""

    def __init__(self, script: ProfileScript | Mapping[str, Any] | None = None) -> None:
        self.script = _read(ProfileScript, script)
        self.asked: list[UserId] = []
        self.learned: list[Exchange] = []
        self._lessons = 0
        self._facts = [
            ProfileFact(f"fact-{place}", fact.topic, fact.sub_topic, fact.content, LONG_AGO)
            for place, fact in enumerate(self.script.facts, 1)
        ]

    async def facts(self, user_id: UserId, *, max_tokens: int | None = None) -> Sequence[ProfileFact]:
        self.asked.append(user_id)
        await self.script.act("profile", len(self.asked) - 1)
        return list(self._facts)

    async def learn(self, exchange: Exchange) -> int:
        self._lessons += 1
        await _act("profile", self._lessons - 1, 0, self.script.learn_fault)
        self.learned.append(exchange)
        return 0

    async def edit(self, user_id: UserId, fact_id: str, content: str) -> None:
        place = _place(fact_id, [fact.id for fact in self._facts], "fact")
        fact = self._facts[place]
        self._facts[place] = ProfileFact(fact_id, fact.topic, fact.sub_topic, content, LONG_AGO)

    async def forget(self, user_id: UserId, fact_id: str | None = None) -> int:
        if fact_id is not None:
            del self._facts[_place(fact_id, [fact.id for fact in self._facts], "fact")]
            return 1
        gone = len(self._facts)
        self._facts.clear()
        return gone


@dataclass(frozen=True, slots=True)
class ToolRun:
    """A call that came."""

    name: str
    arguments: Mapping[str, Any]
    caller: ToolCaller


class ScriptedToolbox:
    """Fills `Toolbox`."""

    def __init__(self, script: ToolScript | Mapping[str, Any] | None = None) -> None:
        self.script = _read(ToolScript, script)
        self.calls: list[ToolRun] = []
        self._tools = {tool.name: tool for tool in self.script.tools}

    def specs(self) -> Sequence[ToolSpec]:
        return [tool.spec() for tool in self._tools.values()]

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool `{name}`", hint=did_you_mean(name, self._tools))
        before = sum(run.name == name for run in self.calls)
        self.calls.append(ToolRun(name, arguments, caller))
        results = tool.results or (ScriptedResult(content=tool.result or ""),)
        result = results[min(before, len(results) - 1)]
        await _act(name, before, result.delay_ms, result.fault)
        return ToolResult(result.content, result.is_error)

    def finish(self) -> None:
        """Raise ScriptError if results had no call."""
        runs = [run.name for run in self.calls]
        unused = [f"`{t.name}`" for t in self._tools.values() if len(t.results) > max(1, runs.count(t.name))]
        if unused:
            raise ScriptError(f"too few calls for the results of {', '.join(unused)}")


def _place(wanted: str, ids: Sequence[str], kind: str) -> int:
    if wanted not in ids:
        raise NotFound(kind, wanted, known=ids)
    return ids.index(wanted)
