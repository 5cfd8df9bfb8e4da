"""The composition root of `cozy serve`: an installation with all that its HTTP interface needs beside."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import anyio.to_thread

from cozy.adapters.argon2_passwords import Argon2Passwords
from cozy.adapters.health_checks import (
    database_check,
    engine_check,
    model_server_check,
    personalities_check,
    redis_check,
)
from cozy.adapters.identity import open_identity
from cozy.adapters.memory_limits import MemoryLimits
from cozy.adapters.sql_erasure import SqlErasures
from cozy.adapters.sql_requests import SqlRequests
from cozy.adapters.sql_sessions import SqlSessions
from cozy.adapters.sql_signals import SqlSignals
from cozy.app import App, engine_targets, open_app, server_of
from cozy.engine.watcher import Reloader, stamps
from cozy.interfaces.http.app import Extension
from cozy.interfaces.http.service import Service
from cozy.ports.identity import IdentityAdmin
from cozy.ports.limits import RateLimiter
from cozy.ports.operations import HealthCheck
from cozy.ports.realtime import RealtimeTokens
from cozy.settings import DEMO_MODEL, Settings
from cozy.storage.outbox import SqlOutbox


@asynccontextmanager
async def open_service(
    settings: Settings, *, passwords: Argon2Passwords | None = None
) -> AsyncGenerator[Service]:
    """A running installation for HTTP; personalities are read again when files change or another process did.

    Raises what `open_app` and `open_identity` raise.
    """
    folders = (*settings.paths.personalities, *settings.paths.pipelines)
    before = await anyio.to_thread.run_sync(stamps, folders)
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(open_app(settings))
        limits, checks = _limits(app)
        identity: IdentityAdmin = await stack.enter_async_context(
            open_identity(app.database, settings.auth, limits, redis=settings.redis, passwords=passwords)
        )
        reloader = Reloader(app.reload, SqlSignals(app.database), folders, before)
        following = await stack.enter_async_context(anyio.create_task_group())
        following.start_soon(reloader.follow_signals)
        if settings.server.watch:
            following.start_soon(reloader.follow_files)
        yield Service(
            settings=settings,
            engine=app.engine,
            sessions=SqlSessions(app.database),
            requests=SqlRequests(app.database),
            identity=identity,
            limits=limits,
            reload=reloader.reload,
            reloads=reloader.state,
            worker=app.worker,
            backlog=app.backlog,
            outbox=SqlOutbox(app.database),
            erasures=SqlErasures(app.database, engine_targets(settings)),
            realtime=await _realtime(settings, stack, os.environ),
            breakers=app.context.guards,
            checks=(
                database_check(app.database),
                personalities_check(reloader.state),
                *checks,
                *(engine_check(guard, app.context.probes.get(guard.name)) for guard in app.context.guards),
                *_models(app),
            ),
        )
        following.cancel_scope.cancel()


def extensions() -> tuple[Extension, ...]:
    """The APIs beside OpenAI's."""
    from cozy.interfaces.http import cozychat

    return (Extension(cozychat.ENDPOINTS, (cozychat.DIALECT,)),)


async def _realtime(
    settings: Settings, stack: AsyncExitStack, environ: Mapping[str, str]
) -> RealtimeTokens | None:
    """Who lends tokens for voice calls: OpenAI, where its key is known."""
    provider = settings.providers["openai"]
    if not provider.api_key_env or not environ.get(provider.api_key_env):
        return None
    from cozy.adapters.openai_clients import openai_clients
    from cozy.adapters.openai_realtime import OpenAIRealtime

    clients = await stack.enter_async_context(openai_clients())
    return OpenAIRealtime(server_of("openai", provider, environ), clients)


def _limits(app: App) -> tuple[RateLimiter, list[HealthCheck]]:
    """Who counts requests: Redis where there is one, else this process."""
    if app.redis is None:
        return MemoryLimits(), []
    from cozy.adapters.redis_limits import RedisLimits

    return RedisLimits(app.redis), [redis_check(app.redis)]


def _models(app: App) -> list[HealthCheck]:
    """The server of the default model."""
    default = app.settings.model.default
    name = default.partition("/")[0]
    provider = app.settings.providers.get(name)
    if default == DEMO_MODEL or provider is None or not provider.base_url:
        return []
    return [model_server_check(name, provider.base_url)]
