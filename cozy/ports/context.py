"""Knowledge, profile and memory as a turn asks for them: bounded in time, and never an error raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from cozy.errors import EngineError
from cozy.ports.knowledge import Passage
from cozy.ports.memory import MemoryItem
from cozy.ports.profile import ProfileFact
from cozy.turn import UserId

EngineKind = Literal["knowledge", "profile", "memory"]
CacheHit = Literal["", "l1", "l2", "stale"]

EMBEDDED = "embedded"
"""The name of the engines in Cozy's own database."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine serves, by its name in the configuration."""

    knowledge: str = EMBEDDED
    profile: str = EMBEDDED
    memory: str = EMBEDDED

    def of(self, kind: EngineKind) -> str:
        return {"knowledge": self.knowledge, "profile": self.profile, "memory": self.memory}[kind]


@dataclass(frozen=True, slots=True)
class Question:
    """What a turn wants to know of one engine."""

    user_id: UserId
    engine: str = EMBEDDED
    """By its name in the configuration."""
    query: str = ""
    """`knowledge` and `memory`: what the passages and memories are to fit."""
    top_k: int = 5
    """`knowledge` and `memory`: how many, at most."""
    max_tokens: int | None = None
    """`profile`: about how much of it."""
    datasets: tuple[str, ...] = ()
    """`knowledge`: where to search; none means all that the user may read."""
    stale_s: float = 0.0
    """An answer of up to this age will do where the engine is late or away."""
    prefetch: bool = False
    """Ask it again when what the user told has been written, so that the next turn need not wait."""
    until: float | None = None
    """By when an answer is wanted, by anyio's clock; None: in the time that all of a turn may take."""


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """How a question to an engine went, for the turn's record."""

    engine: EngineKind
    """`knowledge`, `profile` or `memory`."""
    provider: str
    """The engine's name in the configuration."""
    outcome: str
    """`ok`, `empty`, or the code of what went wrong; with `cache` `stale` an old answer made that good."""
    seconds: float
    """How long the turn waited."""
    cache: CacheHit = ""
    """Where the answer was kept; empty: the engine gave it."""
    items: int = 0
    """How many it brought."""
    reason: str = ""
    """What went wrong, in a sentence."""

    def facts(self) -> dict[str, Any]:
        """All but the reason, which may quote the engine: what is kept and logged, and everybody may know."""
        return {
            "engine": self.engine,
            "provider": self.provider,
            "outcome": self.outcome,
            "ms": round(self.seconds * 1000, 2),
            "cache": self.cache,
            "items": self.items,
        }


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Found(Generic[T_co]):
    """What a question brought: items, or the error that kept them away."""

    items: Sequence[T_co]
    record: EngineRecord
    error: EngineError | None = None


class Context(Protocol):
    """The engines of an installation. Nothing is raised: what goes wrong stands in what is given."""

    @property
    def timeout_s(self) -> float:
        """How long all that a turn asks may take together."""
        ...

    async def knowledge(self, question: Question) -> Found[Passage]: ...

    async def profile(self, question: Question) -> Found[ProfileFact]: ...

    async def memory(self, question: Question) -> Found[MemoryItem]: ...
