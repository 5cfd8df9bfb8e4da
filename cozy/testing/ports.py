"""Ports of a fixture, where the scripted ones are not enough: real ones that fail, and one that listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from cozy.adapters.sql_store import SqlStore
from cozy.errors import StorageError
from cozy.ports.knowledge import Knowledge, Passage
from cozy.ports.llm import LLM, Chunk, LLMRequest, ModelCard
from cozy.ports.store import TurnRecord
from cozy.testing.fixture import KnowledgeSpec, StoreTrouble
from cozy.turn import Message, SessionId, TurnId, UserId


@dataclass(slots=True)
class ListeningLLM:
    """Fills LLM with another one, and tells of each request before it is sent."""

    inner: LLM
    heard: Callable[[LLMRequest], None]

    def card(self, model: str) -> ModelCard:
        return self.inner.card(model)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncGenerator[AsyncIterator[Chunk]]:
        self.heard(request)
        async with self.inner.stream(request) as chunks:
            yield chunks


@dataclass(slots=True)
class DocumentKnowledge:
    """Fills Knowledge with the embedded one, behind the delay and the fault of a script."""

    real: Knowledge
    script: KnowledgeSpec
    searches: int = 0

    async def search(
        self, query: str, *, user_id: UserId, datasets: Sequence[str], top_k: int
    ) -> Sequence[Passage]:
        self.searches += 1
        await self.script.act("knowledge", self.searches - 1)
        return await self.real.search(query, user_id=user_id, datasets=datasets, top_k=top_k)


@dataclass(slots=True)
class Trouble:
    """What a fixture lets happen in the storage, as often as it says."""

    spec: StoreTrouble | None
    before: int = 0

    async def happen(self) -> None:
        """Raise, never come back, or do nothing."""
        self.before += 1
        if self.spec is None or (self.spec.times is not None and self.before > self.spec.times):
            return
        if self.spec.kind == "stall":
            await anyio.sleep_forever()
        raise StorageError(self.spec.message)


@dataclass(frozen=True)
class FixtureStore(SqlStore):
    """The real store, with trouble and with a summary."""

    when_read: Trouble = field(default_factory=lambda: Trouble(None))
    when_saved: Trouble = field(default_factory=lambda: Trouble(None))
    kept_summary: str = ""

    async def history(
        self,
        user_id: UserId,
        session_id: SessionId,
        *,
        limit: int,
        without: TurnId | None = None,
        before: TurnId | None = None,
    ) -> Sequence[Message]:
        await self.when_read.happen()
        return await super().history(user_id, session_id, limit=limit, without=without, before=before)

    async def summary(self, user_id: UserId, session_id: SessionId) -> str:
        return self.kept_summary or await super().summary(user_id, session_id)

    async def save_turn(self, record: TurnRecord) -> None:
        await self.when_saved.happen()
        await super().save_turn(record)
