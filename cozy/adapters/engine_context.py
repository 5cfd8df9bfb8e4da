"""The engines of an installation, as turns ask them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from cozy.adapters.guard import Guard
from cozy.ports.context import EMBEDDED, Found, Question
from cozy.ports.knowledge import Knowledge, Passage
from cozy.ports.memory import Memories, MemoryItem
from cozy.ports.profile import ProfileFact, Profiles

MARGIN, LONGEST_MARGIN_S = 0.05, 0.02
"""Kept of a stage's time, so that a late engine is noticed here, where there may be an old answer."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """Fills `Context` with the engines of these names, each behind its guard."""

    knowledges: Mapping[str, tuple[Knowledge, Guard]]
    profiles: Mapping[str, tuple[Profiles, Guard]]
    memories: Mapping[str, tuple[Memories, Guard]]
    timeout_s: float = field(default=5.0)
    """For all that a turn asks, together."""

    @staticmethod
    def embedded(knowledge: Knowledge, profiles: Profiles, memories: Memories) -> EngineContext:
        """Of one engine each."""
        return EngineContext(
            {EMBEDDED: (knowledge, Guard("knowledge", EMBEDDED))},
            {EMBEDDED: (profiles, Guard("profile", EMBEDDED))},
            {EMBEDDED: (memories, Guard("memory", EMBEDDED))},
        )

    async def knowledge(self, question: Question) -> Found[Passage]:
        engine, guard = self.knowledges[question.engine]

        async def search() -> list[Passage]:
            found = await engine.search(
                question.query,
                user_id=question.user_id,
                datasets=question.datasets,
                top_k=question.top_k,
            )
            return list(found)

        return await guard.ask(search, until=self._until(question))

    async def profile(self, question: Question) -> Found[ProfileFact]:
        engine, guard = self.profiles[question.engine]

        async def facts() -> list[ProfileFact]:
            return list(await engine.facts(question.user_id, max_tokens=question.max_tokens))

        return await guard.ask(facts, until=self._until(question))

    async def memory(self, question: Question) -> Found[MemoryItem]:
        engine, guard = self.memories[question.engine]

        async def search() -> list[MemoryItem]:
            found = await engine.search(question.query, user_id=question.user_id, top_k=question.top_k)
            return list(found)

        return await guard.ask(search, until=self._until(question))

    def _until(self, question: Question) -> float:
        """The moment by which an answer is wanted, by anyio's clock."""
        now = anyio.current_time()
        began = now if question.began is None else question.began
        end = anyio.current_effective_deadline()
        margin = min(max(end - now, 0.0) * MARGIN, LONGEST_MARGIN_S)
        return min(began + self.timeout_s, end - margin)
