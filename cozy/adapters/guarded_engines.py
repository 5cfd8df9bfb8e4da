"""The three ports behind their guards: for whoever reads or changes what engines know, outside of turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cozy.adapters.lookups import Lookups
from cozy.adapters.sql_generations import EVERYBODY
from cozy.ports.knowledge import Document, KnowledgeBase, Passage
from cozy.ports.memory import Exchange, Memories, MemoryItem
from cozy.ports.profile import ProfileFact, Profiles
from cozy.turn import UserId

LONGEST_QUERY = 2000
"""Characters: embedders take some thousand tokens, and fail with more."""


def searched(query: str) -> str:
    """What engines are to search for: of a very long text its beginning and its end."""
    if len(query) <= LONGEST_QUERY:
        return query
    half = LONGEST_QUERY // 2
    return query[:half] + query[-half:]


@dataclass(frozen=True, slots=True)
class GuardedKnowledge:
    """Fills `KnowledgeBase`."""

    engine: KnowledgeBase
    lookups: Lookups[Passage]
    learn_timeout_s: float | None = None

    async def search(
        self, query: str, *, user_id: UserId, datasets: Sequence[str], top_k: int
    ) -> Sequence[Passage]:
        return await self.lookups.call(
            lambda: self.engine.search(searched(query), user_id=user_id, datasets=datasets, top_k=top_k)
        )

    async def add(self, *, dataset: str, name: str, text: str) -> Document:
        return await self.lookups.learn(
            EVERYBODY,
            lambda: self.engine.add(dataset=dataset, name=name, text=text),
            timeout_s=self.learn_timeout_s,
        )

    async def documents(self, dataset: str | None = None) -> Sequence[Document]:
        return await self.lookups.call(lambda: self.engine.documents(dataset))

    async def datasets(self) -> Sequence[str]:
        return await self.lookups.call(self.engine.datasets)

    async def remove(self, *, dataset: str, name: str | None = None) -> int:
        return await self.lookups.change(EVERYBODY, lambda: self.engine.remove(dataset=dataset, name=name))


@dataclass(frozen=True, slots=True)
class GuardedProfiles:
    """Fills `Profiles`."""

    engine: Profiles
    lookups: Lookups[ProfileFact]
    learn_timeout_s: float | None = None

    async def facts(self, user_id: UserId, *, max_tokens: int | None = None) -> Sequence[ProfileFact]:
        return await self.lookups.call(lambda: self.engine.facts(user_id, max_tokens=max_tokens))

    async def learn(self, exchange: Exchange) -> int:
        return await self.lookups.learn(
            exchange.user_id, lambda: self.engine.learn(exchange), timeout_s=self.learn_timeout_s
        )

    async def edit(self, user_id: UserId, fact_id: str, content: str) -> None:
        await self.lookups.change(user_id, lambda: self.engine.edit(user_id, fact_id, content))

    async def forget(self, user_id: UserId, fact_id: str | None = None) -> int:
        forget = self.lookups.forget if fact_id is None else self.lookups.change
        return await forget(user_id, lambda: self.engine.forget(user_id, fact_id))


@dataclass(frozen=True, slots=True)
class GuardedMemories:
    """Fills `Memories`."""

    engine: Memories
    lookups: Lookups[MemoryItem]
    learn_timeout_s: float | None = None

    async def search(self, query: str, *, user_id: UserId, top_k: int) -> Sequence[MemoryItem]:
        return await self.lookups.call(
            lambda: self.engine.search(searched(query), user_id=user_id, top_k=top_k)
        )

    async def learn(self, exchange: Exchange) -> int:
        return await self.lookups.learn(
            exchange.user_id, lambda: self.engine.learn(exchange), timeout_s=self.learn_timeout_s
        )

    async def add(self, user_id: UserId, text: str) -> MemoryItem:
        return await self.lookups.learn(
            user_id, lambda: self.engine.add(user_id, text), timeout_s=self.learn_timeout_s
        )

    async def items(self, user_id: UserId) -> Sequence[MemoryItem]:
        return await self.lookups.call(lambda: self.engine.items(user_id))

    async def edit(self, user_id: UserId, item_id: str, text: str) -> None:
        await self.lookups.change(user_id, lambda: self.engine.edit(user_id, item_id, text))

    async def forget(self, user_id: UserId, item_id: str | None = None) -> int:
        forget = self.lookups.forget if item_id is None else self.lookups.change
        return await forget(user_id, lambda: self.engine.forget(user_id, item_id))
