"""A stage's place in a turn, without an engine around it: what it says and notes is kept for the test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import anyio

from cozy.adapters.engine_context import EngineContext
from cozy.errors import CozyError, EngineError, StorageError
from cozy.events import Event, StageDegraded, TextDelta
from cozy.ports import Ports
from cozy.ports.context import EngineRecord
from cozy.ports.effects import Effect
from cozy.ports.llm import LLMRequest, ModelCard
from cozy.ports.operations import AuditEvent
from cozy.ports.store import Job
from cozy.stages.base import About, ModelChoice, NodeInfo, Persona
from cozy.stages.offer import Offer, offer_of
from cozy.stages.prompting import default_context
from cozy.stages.templates import Template
from cozy.turn import Message, SessionId, Turn, TurnId, UserId
from cozy.usage import Usage

ADA = UserId(UUID(int=1))
MAIN = SessionId(UUID(int=2))
FIRST = TurnId(UUID(int=3))


class Characters:
    """Counts a token a character, so that a test can count along."""

    def __init__(self) -> None:
        self.learned: list[tuple[str, int, Usage]] = []

    def count(self, text: str, model: str) -> int:
        return len(text)

    def learn(self, model: str, estimated: int, usage: Usage) -> None:
        self.learned.append((model, estimated, usage))


class Known:
    """Fills Effects: what a turn did before, and what it does now."""

    def __init__(self, *effects: Effect, broken: Collection[str] = ()) -> None:
        self.effects, self.broken = effects, broken
        self.asked: list[Turn] = []
        self.begun: list[Effect] = []
        self.ended: list[Effect] = []

    async def before(self, turn: Turn) -> Sequence[Effect]:
        self.asked.append(turn)
        return self.effects

    async def begin(self, turn: Turn, effect: Effect) -> None:
        self._fail("begin")
        self.begun.append(effect)

    async def end(self, effect: Effect) -> None:
        self._fail("end")
        self.ended.append(effect)

    def _fail(self, what: str) -> None:
        if what in self.broken:
            raise StorageError("the disk is full")


class Trail:
    """Fills Audit."""

    def __init__(self, error: CozyError | None = None) -> None:
        self.error = error
        self.events: list[AuditEvent] = []

    async def record(self, *events: AuditEvent) -> None:
        if self.error:
            raise self.error
        self.events.extend(events)


@dataclass(frozen=True)
class Window:
    """Models that nobody asks; only the size of their window is of interest."""

    tokens: int

    def card(self, model: str) -> ModelCard:
        return ModelCard(model, self.tokens)


def ports(**given: Any) -> Ports:
    """Ports of which only the given ones, counting and what keeps records are there."""
    engines = [given.get(name) for name in ("knowledge", "profiles", "memories")]
    nobody: Any = None
    there = {"context": EngineContext.of(*engines), "tokens": Characters(), "effects": Known()}
    there |= {"audit": Trail()} | {name: value for name, value in given.items() if name != "knowledge"}
    return Ports(**dict.fromkeys(("llm", "tools", "profiles", "memories", "store"), nobody) | there)


def persona(
    prompt: str = "You are Mia.",
    *,
    context: str | None = None,
    voice_prompt: str = "",
    language: str = "en",
    **facts: Any,
) -> Persona:
    given: dict[str, Any] = {
        "about": About("mia", "Mia", "", language),
        "prompt": Template(prompt, "mia.yaml: prompt"),
        "context": Template(default_context(language) if context is None else context, "mia.yaml: context"),
        "voice_prompt": Template(voice_prompt, "mia.yaml: voice.prompt") if voice_prompt else None,
        "welcome": Template("", "mia.yaml: welcome"),
        "client_system": "append",
        "model": ModelChoice(("test/big",)),
    }
    return Persona(**given | facts)


def turn(text: str = "tea?", **facts: Any) -> Turn:
    given = {"user_id": ADA, "personality_id": "mia", "session_id": MAIN, "id": FIRST}
    return Turn(**{"text": text} | given | facts)


@dataclass
class Seat:
    """Fills StageContext."""

    turn: Turn = field(default_factory=turn)
    persona: Persona = field(default_factory=persona)
    ports: Ports = field(default_factory=ports)
    node: NodeInfo = field(default_factory=lambda: NodeInfo("here"))
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values of earlier stages, by their ids."""
    degraded: Sequence[StageDegraded] = ()
    jobs: Callable[[Any], Sequence[Job]] = lambda reply: ()
    events: list[Event] = field(default_factory=list[Event])
    marks: list[str] = field(default_factory=list[str])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    kept: list[Message] = field(default_factory=list[Message])
    requests: list[tuple[LLMRequest, Usage]] = field(default_factory=list[tuple[LLMRequest, Usage]])
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    engine_errors: list[EngineError] = field(default_factory=list[EngineError])
    engine_records: list[EngineRecord] = field(default_factory=list[EngineRecord])

    @property
    def variables(self) -> Mapping[str, Any]:
        return {
            "personality": self.persona.about,
            "message": self.turn.text,
            "turn": self.turn,
            "channel": self.turn.channel,
            "language": self.turn.language or self.persona.about.language,
            **self.values,
        }

    @property
    def tools(self) -> Offer:
        return offer_of(self.persona, self.turn)

    @property
    def engines(self) -> Sequence[tuple[str, EngineRecord]]:
        return [(self.node.id, record) for record in self.engine_records]

    @property
    def usage(self) -> Usage:
        return sum((usage for _, usage in self.requests), Usage())

    @property
    def spoken(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    async def emit(self, event: Event) -> None:
        self.events.append(event)

    def mark(self, name: str, start: float, end: float) -> None:
        assert start <= end
        self.marks.append(name)

    def keep(self, *messages: Message) -> None:
        self.kept.extend(messages)

    def note(self, **facts: Any) -> None:
        self.notes.update(facts)

    def asked(self, request: LLMRequest, usage: Usage) -> None:
        self.requests.append((request, usage))

    def called(self, tool: str, outcome: str) -> None:
        self.calls.append((tool, outcome))

    def own_deadline(self, context_s: float) -> float:
        return min(anyio.current_effective_deadline(), anyio.current_time() + context_s)

    def engine_answered(self, record: EngineRecord) -> None:
        self.engine_records.append(record)

    def engine_failed(self, error: EngineError) -> None:
        self.engine_errors.append(error)
