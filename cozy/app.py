"""The composition root: Settings → adapters → Ports → Engine, as one async context manager.

Only here are ports and what fills them known at once. Databases and model servers are imported when an
installation is opened: checking a file needs neither.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.dsl.check import CheckResult, check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from cozy.engine.backlog import Backlog
from cozy.engine.compile import compile_graph
from cozy.engine.engine import Engine, open_engine
from cozy.engine.graph import Graph
from cozy.engine.learning import learning, summarizing
from cozy.engine.library import Library
from cozy.engine.worker import Worker
from cozy.errors import EngineError, PersonalityError
from cozy.ports import Ports
from cozy.ports.context import EMBEDDED, EngineChoice
from cozy.ports.knowledge import KnowledgeBase
from cozy.ports.llm import LLM, ModelCard
from cozy.ports.memory import Memories
from cozy.ports.outbox import Outbox
from cozy.ports.profile import Profiles
from cozy.ports.store import Store
from cozy.ports.summary import Summaries
from cozy.ports.tools import Toolbox
from cozy.settings import BRINGS, ProviderSettings, RedisSettings, Settings, shipped

if TYPE_CHECKING:
    from cozy.adapters.engine_context import EngineContext
    from cozy.adapters.model_servers import OpenAIServer
    from cozy.adapters.openai_clients import OpenAIClients
    from cozy.adapters.shared_redis import SharedRedis
    from cozy.adapters.token_counter import TikTokenCounter
    from cozy.storage.database import Database

DRAIN_S = 10.0
"""How long leaving waits for jobs that turns have left; what is left then is done at the next start."""


@dataclass(frozen=True, slots=True)
class App:
    """A running installation."""

    settings: Settings
    engine: Engine
    database: Database
    store: Store
    knowledge: KnowledgeBase
    memories: Memories
    profiles: Profiles
    context: EngineContext
    tools: Toolbox
    worker: Worker
    backlog: Backlog
    models: ModelLoader
    redis: SharedRedis | None
    """What processes share beside the database, where it is configured."""

    async def reload(self) -> CheckResult:
        """Read every personality again. With errors the old ones stay; otherwise all are swapped at once,
        and turns under way end as they began."""

        def read() -> tuple[CheckResult, list[Graph]]:
            result = check_all(self.settings)
            return result, [] if result.errors else compile_all(result, self.settings, self.tools)

        result, graphs = await anyio.to_thread.run_sync(read)
        if not result.errors:
            self.engine.library.replace(graphs)
            await self.models.load(self.engine.library.models)
        return result


def check_all(settings: Settings, files: Sequence[Path] = ()) -> CheckResult:
    """Check every personality of the installation, or only `files`; needs no database and no network."""
    project = read_project(
        Sources(settings.paths.personalities, settings.paths.pipelines, tuple(files)), cache=cache_folder()
    )
    return check(project, world_of(settings))


def world_of(settings: Settings) -> World:
    """What the configuration offers and allows to personalities."""
    return World(
        default_model=settings.model.default,
        providers=frozenset({*settings.providers, "demo"}),
        allowed_models=settings.model.allow,
        tools=frozenset(spec.name for spec in BuiltinTools().specs()),
        allowed_tools=settings.tools.allow,
        engines={
            kind: frozenset(name for name, engine in settings.engines.items() if BRINGS[engine.kind] == kind)
            for kind in ("knowledge", "profile", "memory")
        },
        knowledge=settings.context.knowledge,
        engine_datasets={
            name: frozenset(engine.datasets)
            for name, engine in settings.engines.items()
            if BRINGS[engine.kind] == "knowledge"
        },
        shipped=(shipped("personalities"), shipped("pipelines")),
    )


def named_encodings(settings: Settings) -> dict[str, str]:
    """`provider/name` → the encoding that the configuration names for it."""
    return {
        f"{name}/{model}": card.encoding
        for name, provider in settings.providers.items()
        for model, card in provider.models.items()
        if card.encoding
    }


@dataclass(frozen=True, slots=True)
class ModelLoader:
    """Loads what the first request to a model would load."""

    providers: Mapping[str, LLM]
    tokens: TikTokenCounter

    async def load(self, models: Sequence[str]) -> None:
        """Encodings that are on this machine and clients of model servers; what is loaded stays so."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.tokens.load, *models)
            for name in {model.partition("/")[0] for model in models}:
                tasks.start_soon(self._prepare, self.providers[name])

    @staticmethod
    async def _prepare(provider: LLM) -> None:
        from cozy.adapters.openai_llm import OpenAILLM

        if isinstance(provider, OpenAILLM):
            with suppress(EngineError):  # a turn that needs it will tell
                await provider.prepare()


def cache_folder() -> Path:
    """Where parsed files are kept between starts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cozy"


def compile_all(result: CheckResult, settings: Settings, tools: Toolbox) -> list[Graph]:
    """A graph for each personality that passed."""
    specs = tools.specs()
    return [
        compile_graph(p, specs, settings.model.default, engines_of(settings)) for p in result.personalities
    ]


def engines_of(settings: Settings) -> EngineChoice:
    """The engines of personalities that name none."""
    chosen = settings.context
    return EngineChoice(chosen.knowledge, chosen.profile, chosen.memory)


def providers_of(
    settings: Settings, clients: OpenAIClients, environ: Mapping[str, str] = os.environ
) -> dict[str, LLM]:
    """Every provider that models may be named of."""
    from cozy.adapters.demo_llm import DemoLLM
    from cozy.adapters.openai_llm import OpenAILLM

    found: dict[str, LLM] = {"demo": DemoLLM()}
    for name, provider in settings.providers.items():
        found[name] = OpenAILLM(server_of(name, provider, environ), clients)
    return found


def server_of(name: str, provider: ProviderSettings, environ: Mapping[str, str]) -> OpenAIServer:
    """A provider's server, with its key out of the environment."""
    from cozy.adapters.model_cards import known_card
    from cozy.adapters.model_servers import OpenAIServer

    server = OpenAIServer(
        name=name,
        base_url=provider.base_url or "",
        api_key=environ.get(provider.api_key_env) if provider.api_key_env else None,
        key_variable=provider.api_key_env,
        flavour=provider.flavour,
        headers=provider.headers,
        connect_timeout_s=provider.connect_timeout_s,
        read_timeout_s=provider.read_timeout_s,
    )
    cards: dict[str, ModelCard] = {}
    for model, given in provider.models.items():
        known = known_card(server, f"{name}/{model}")
        cards[model] = ModelCard(
            name=known.name,
            context_tokens=given.context_tokens or known.context_tokens,
            encoding=given.encoding or known.encoding,
            price_in=given.price_in,
            price_cached=given.price_cached,
            price_out=given.price_out,
        )
    return replace(server, cards=cards)


@asynccontextmanager
async def open_app(settings: Settings, *, works: bool = True) -> AsyncGenerator[App]:
    """A running installation: database migrated (SQLite) or checked, personalities compiled, worker at work
    unless it is told not to be: then jobs are neither done nor dropped.

    When the block is left, turns end first, then the worker does what they have left. An error of the block
    comes out as it is. Raises ConfigError, StorageError, or PersonalityError with every diagnostic where a
    personality does not pass the check.
    """
    failure: BaseException | None = None
    try:
        async with _opened(settings, works=works) as app:
            yield app
    except BaseExceptionGroup as group:  # the task groups wrap what comes through them
        failure = _unwrapped(group)
    if failure is not None:
        raise failure  # out here, so that the group does not become its context


def _unwrapped(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in groups of one."""
    first, *others = group.exceptions
    if others:
        return group
    within = cast("BaseExceptionGroup[BaseException]", first)
    return _unwrapped(within) if isinstance(first, BaseExceptionGroup) else first


def engine_targets(settings: Settings) -> list[str]:
    """The targets of the jobs of every engine that may know something of users."""
    named = [(BRINGS[engine.kind], name) for name, engine in settings.engines.items()]
    engines = [("memory", EMBEDDED), ("profile", EMBEDDED), *named]
    return [f"{kind}/{name}" for kind, name in engines if kind != "knowledge"]


@asynccontextmanager
async def _opened(settings: Settings, *, works: bool) -> AsyncGenerator[App]:
    from cozy.adapters.encoding_files import EncodingFiles
    from cozy.adapters.llm_router import LLMRouter
    from cozy.adapters.openai_clients import openai_clients
    from cozy.adapters.sql_audit import SqlAudit
    from cozy.adapters.sql_effects import SqlEffects
    from cozy.adapters.token_counter import TikTokenCounter

    result = check_all(settings)
    if result.errors:
        raise PersonalityError(result.text(), hint="mend these, then run `cozy check`")
    async with AsyncExitStack() as stack:
        redis = await _redis(settings.redis, stack)
        clients = await stack.enter_async_context(openai_clients())
        providers = providers_of(settings, clients)
        llm = LLMRouter(providers)
        stored = await stack.enter_async_context(open_storage(settings, llm, redis))
        tools = BuiltinTools(timezone=settings.tools.timezone)
        tokens = TikTokenCounter(EncodingFiles(settings.paths.data), named_encodings(settings))
        models = ModelLoader(providers, tokens)
        library = Library(compile_all(result, settings, tools))
        worker = _worker(settings, stored)
        backlog = Backlog(stored.outbox, worker, settings.outbox)
        ports = Ports(
            llm=llm,
            tools=tools,
            profiles=stored.profiles,
            memories=stored.memories,
            context=stored.context,
            store=stored.store,
            tokens=tokens,
            effects=SqlEffects(stored.database),
            audit=SqlAudit(stored.database),
            jobs=backlog,
        )
        async with anyio.create_task_group() as tasks:
            if works:
                tasks.start_soon(worker.run)
            tasks.start_soon(models.load, library.models)  # takes a while; the first turn can do without
            async with open_engine(library, ports) as engine, anyio.create_task_group() as looking:
                if works:
                    looking.start_soon(backlog.run)
                yield App(
                    settings,
                    engine,
                    stored.database,
                    stored.store,
                    stored.knowledge,
                    stored.memories,
                    stored.profiles,
                    stored.context,
                    tools,
                    worker,
                    backlog,
                    models,
                    redis,
                )
                looking.cancel_scope.cancel()
            worker.leave()
            tasks.cancel_scope.deadline = anyio.current_time() + DRAIN_S


def _worker(settings: Settings, stored: Stored) -> Worker:
    """Who does the jobs that turns leave."""
    engines, workers = stored.context, settings.workers
    taught = learning(engines.memories, engines.profiles, default=engines_of(settings))
    return Worker(
        stored.outbox,
        {**taught, "summary": summarizing(stored.summaries)},
        lease_s=workers.lease_s,
        max_attempts=workers.max_attempts,
        job_timeout_s=workers.job_timeout_s,
    )


async def _redis(settings: RedisSettings, stack: AsyncExitStack) -> SharedRedis | None:
    if not settings.url:
        return None
    from cozy.adapters.redis_client import open_redis
    from cozy.adapters.shared_redis import SharedRedis

    return SharedRedis(await stack.enter_async_context(open_redis(settings.url)), settings.prefix)


@dataclass(frozen=True, slots=True)
class Stored:
    """The database, and what it fills; the engines are those that the configuration chooses."""

    database: Database
    store: Store
    outbox: Outbox
    knowledge: KnowledgeBase
    memories: Memories
    profiles: Profiles
    context: EngineContext
    """Every engine there is."""
    summaries: Summaries


@asynccontextmanager
async def open_storage(
    settings: Settings, llm: LLM, redis: SharedRedis | None = None
) -> AsyncGenerator[Stored]:
    """The database, brought up to date where it is SQLite's, and the engines: embedded in it, or outside.

    Raises StorageError.
    """
    from cozy.adapters.extraction import Extractor
    from cozy.adapters.installed_engines import EmbeddedEngines, open_engines
    from cozy.adapters.sql_knowledge import SqlKnowledge
    from cozy.adapters.sql_memory import SqlMemories
    from cozy.adapters.sql_profile import SqlProfiles
    from cozy.adapters.sql_store import SqlStore
    from cozy.adapters.sql_summaries import SqlSummaries
    from cozy.storage.database import open_database
    from cozy.storage.migrate import check_migrated, upgrade
    from cozy.storage.outbox import SqlOutbox

    url = settings.database.url
    if url.startswith("sqlite"):
        await upgrade(url)
    async with open_database(url) as database:
        await check_migrated(database)
        extractor = Extractor(llm)
        embedded = EmbeddedEngines(
            SqlKnowledge(database), SqlProfiles(database, extractor), SqlMemories(database, extractor)
        )
        async with open_engines(settings, database, embedded, redis, os.environ) as context:
            yield Stored(
                database,
                SqlStore(database),
                SqlOutbox(database),
                context.knowledges[settings.context.knowledge],
                context.memories[settings.context.memory],
                context.profiles[settings.context.profile],
                context,
                SqlSummaries(database, llm),
            )
