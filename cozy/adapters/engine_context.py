"""The engines of an installation, as turns ask them: each behind its guard, what is kept of it before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import anyio
from pydantic import TypeAdapter

from cozy.adapters.breaker import Breaker, BreakerRules
from cozy.adapters.guard import Guard
from cozy.adapters.guarded_engines import GuardedKnowledge, GuardedMemories, GuardedProfiles, searched
from cozy.adapters.lookups import Asked, Lookups
from cozy.ports.context import EngineChoice, EngineKind, Found, Question
from cozy.ports.knowledge import Passage
from cozy.ports.memory import MemoryItem
from cozy.ports.profile import ProfileFact

TIMEOUT_S = 5.0
"""For one call of an embedded engine."""

PASSAGES = TypeAdapter(list[Passage])
FACTS = TypeAdapter(list[ProfileFact])
ITEMS = TypeAdapter(list[MemoryItem])

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EngineContext:
    """Fills `Context` with the engines of these names."""

    knowledges: Mapping[str, GuardedKnowledge]
    profiles: Mapping[str, GuardedProfiles]
    memories: Mapping[str, GuardedMemories]
    timeout_s: float = 2.0
    """For all that a turn asks, together."""
    probes: Mapping[str, Callable[[], Awaitable[None]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[None]]]
    )
    """Whether an engine outside is up, by its name; raises EngineError where it is not."""

    @staticmethod
    def of(knowledge: Any, profiles: Any, memories: Any, names: EngineChoice | None = None) -> EngineContext:
        """One each (`Knowledge`, `Profiles`, `Memories`), of these names; no answer of theirs is kept."""
        names = names or EngineChoice()
        return EngineContext(
            {names.knowledge: GuardedKnowledge(knowledge, Lookups(guard("knowledge", names), PASSAGES))},
            {names.profile: GuardedProfiles(profiles, Lookups(guard("profile", names), FACTS))},
            {names.memory: GuardedMemories(memories, Lookups(guard("memory", names), ITEMS))},
            timeout_s=60.0,
        )

    @property
    def guards(self) -> Sequence[Guard]:
        return [
            each.lookups.guard
            for engines in (self.knowledges, self.profiles, self.memories)
            for each in engines.values()
        ]

    async def knowledge(self, question: Question) -> Found[Passage]:
        guarded, q = self.knowledges[question.engine], _searched(question)

        def load() -> Awaitable[Sequence[Passage]]:
            return guarded.engine.search(q.query, user_id=q.user_id, datasets=q.datasets, top_k=q.top_k)

        parts = [q.query, q.top_k, sorted(q.datasets)]
        return await self._ask(guarded.lookups, q, load, parts)

    async def profile(self, question: Question) -> Found[ProfileFact]:
        guarded, q = self.profiles[question.engine], question

        def load() -> Awaitable[Sequence[ProfileFact]]:
            return guarded.engine.facts(q.user_id, max_tokens=q.max_tokens)

        return await self._ask(guarded.lookups, q, load, [q.max_tokens])

    async def memory(self, question: Question) -> Found[MemoryItem]:
        guarded, q = self.memories[question.engine], _searched(question)

        def load() -> Awaitable[Sequence[MemoryItem]]:
            return guarded.engine.search(q.query, user_id=q.user_id, top_k=q.top_k)

        return await self._ask(guarded.lookups, q, load, [q.query, q.top_k], kin=[q.top_k])

    async def _ask(
        self,
        lookups: Lookups[T],
        question: Question,
        load: Callable[[], Awaitable[Sequence[T]]],
        parts: Sequence[Any],
        kin: Sequence[Any] | None = None,
    ) -> Found[T]:
        asked = Asked(question.user_id, parts, load, question.stale_s, question.prefetch, kin)
        until = anyio.current_time() + self.timeout_s if question.until is None else question.until
        return await lookups.ask(asked, until=until)


def _searched(question: Question) -> Question:
    """The question with what is searched for in place of a very long text, which is not held on to."""
    query = searched(question.query)
    return question if query == question.query else replace(question, query=query)


def guard(kind: EngineKind, names: EngineChoice) -> Guard:
    return Guard(kind, names.of(kind), Breaker(BreakerRules()), timeout_s=TIMEOUT_S)
