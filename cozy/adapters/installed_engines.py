"""Every engine of an installation behind its guard: those in the database, and those outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from cozy.adapters.answer_cache import AnswerCache
from cozy.adapters.breaker import Breaker, BreakerRules
from cozy.adapters.engine_context import FACTS, ITEMS, PASSAGES, TIMEOUT_S, EngineContext
from cozy.adapters.guard import Guard
from cozy.adapters.guarded_engines import GuardedKnowledge, GuardedMemories, GuardedProfiles
from cozy.adapters.lookups import Lookups, Shelf
from cozy.adapters.shared_redis import SharedRedis
from cozy.adapters.sql_generations import SqlGenerations
from cozy.ports.context import EMBEDDED, EngineKind
from cozy.ports.knowledge import KnowledgeBase
from cozy.ports.memory import Memories
from cozy.ports.profile import Profiles
from cozy.settings import Settings
from cozy.storage.database import Database

if TYPE_CHECKING:
    from cozy.adapters.outside_engines import OutsideEngines


EMBEDDED_LEARN_S = 600.0
"""How long an embedded engine may take to learn: a model reads what was said, or a book is taken in. A job's
own time is shorter."""


@dataclass(frozen=True, slots=True)
class EmbeddedEngines:
    """Those in Cozy's own database."""

    knowledge: KnowledgeBase
    profiles: Profiles
    memories: Memories


@asynccontextmanager
async def open_engines(
    settings: Settings,
    database: Database,
    embedded: EmbeddedEngines,
    redis: SharedRedis | None,
    environ: Mapping[str, str],
) -> AsyncGenerator[EngineContext]:
    """All of them. Questions that nobody waits for any more are left when the block is; an error of the block
    comes out as it is."""
    failure: Exception | None = None
    async with _outside(settings, environ, database) as outside, anyio.create_task_group() as tasks:
        try:
            yield _guarded(embedded, outside, _Fitting(settings, database, redis, tasks))
        except Exception as error:  # a task group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _outside(
    settings: Settings, environ: Mapping[str, str], database: Database
) -> AsyncGenerator[OutsideEngines | None]:
    if not settings.engines:
        yield None
        return

    from cozy.adapters.outside_engines import open_outside_engines

    async with open_outside_engines(settings.engines, environ, database) as outside:
        yield outside


def _guarded(embedded: EmbeddedEngines, outside: OutsideEngines | None, fitting: _Fitting) -> EngineContext:
    documents = Lookups(fitting.guard("knowledge"), PASSAGES)
    facts = Lookups(fitting.guard("profile"), FACTS)
    items = Lookups(fitting.guard("memory"), ITEMS)
    knowledges = {EMBEDDED: GuardedKnowledge(embedded.knowledge, documents, EMBEDDED_LEARN_S)}
    profiles = {EMBEDDED: GuardedProfiles(embedded.profiles, facts, EMBEDDED_LEARN_S)}
    memories = {EMBEDDED: GuardedMemories(embedded.memories, items, EMBEDDED_LEARN_S)}
    timeout_s = fitting.settings.context.timeout_s
    if outside is None:
        return EngineContext(knowledges, profiles, memories, timeout_s)
    for name, knowledge in outside.knowledges.items():
        guard, shelf, learn_s = fitting.of("knowledge", name)
        knowledges[name] = GuardedKnowledge(knowledge, Lookups(guard, PASSAGES, shelf, shared=True), learn_s)
    for name, profile in outside.profiles.items():
        guard, shelf, learn_s = fitting.of("profile", name)
        profiles[name] = GuardedProfiles(profile, Lookups(guard, FACTS, shelf), learn_s)
    for name, memory in outside.memories.items():
        guard, shelf, learn_s = fitting.of("memory", name)
        memories[name] = GuardedMemories(memory, Lookups(guard, ITEMS, shelf), learn_s)
    return EngineContext(knowledges, profiles, memories, timeout_s, outside.checks)


class _Fitting:
    """What stands around each engine, as the configuration has it."""

    def __init__(
        self, settings: Settings, database: Database, redis: SharedRedis | None, tasks: TaskGroup
    ) -> None:
        self.settings = settings
        self._tasks = tasks
        self._generations = SqlGenerations(database)
        self._cache = AnswerCache(settings.context.cache_bytes, redis)

    def guard(self, kind: EngineKind, name: str = EMBEDDED, timeout_s: float = TIMEOUT_S) -> Guard:
        context = self.settings.context
        rules = BreakerRules(
            context.breaker_failures,
            context.breaker_window_s,
            context.breaker_open_s,
            context.breaker_longest_s,
        )
        return Guard(kind, name, Breaker(rules), timeout_s=timeout_s)

    def of(self, kind: EngineKind, name: str) -> tuple[Guard, Shelf, float]:
        """Of an engine outside: its guard, where its answers are kept, how long it may take to learn."""
        engine, context = self.settings.engines[name], self.settings.context
        guard = self.guard(kind, name, engine.timeout_s)
        ttl_s = {
            "knowledge": context.knowledge_ttl_s,
            "profile": context.profile_ttl_s,
            "memory": context.memory_ttl_s,
        }[kind]
        shelf = Shelf(
            self._cache,
            self._generations,
            self._tasks,
            ttl_s,
            context.empty_ttl_s,
            engine.version,  # not of the whole configuration: folders and ports are each machine's own
        )
        return guard, shelf, engine.learn_timeout_s
