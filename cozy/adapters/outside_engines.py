"""The engines outside that are configured, opened together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from cozy.adapters.cognee_knowledge import CogneeKnowledge
from cozy.adapters.engine_http import Ask, Credentials, EngineHttp, engine_http
from cozy.adapters.engine_logins import Account, Key, Tokens, bad_login
from cozy.adapters.engine_values import text_of
from cozy.adapters.mem0_memory import Mem0Memories, Mem0PlatformMemories
from cozy.adapters.memobase_profile import MemobaseProfiles
from cozy.adapters.sql_engine_writes import SqlEngineWrites
from cozy.settings import ENGINE_URLS, EngineBrand, EngineSettings
from cozy.storage.database import Database


@dataclass(frozen=True, slots=True)
class OutsideEngines:
    """By the name in the configuration; none has anything around it. Each has `check()` too."""

    knowledges: dict[str, CogneeKnowledge] = field(default_factory=dict[str, CogneeKnowledge])
    profiles: dict[str, MemobaseProfiles] = field(default_factory=dict[str, MemobaseProfiles])
    memories: dict[str, Mem0Memories | Mem0PlatformMemories] = field(
        default_factory=dict[str, Mem0Memories | Mem0PlatformMemories]
    )

    @property
    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Whether each is up; a check raises EngineError where it is not."""
        engines = {**self.knowledges, **self.profiles, **self.memories}
        return {name: engine.check for name, engine in engines.items()}


@asynccontextmanager
async def open_outside_engines(
    engines: Mapping[str, EngineSettings], environ: Mapping[str, str], database: Database
) -> AsyncGenerator[OutsideEngines]:
    """Adapters whose connections close when the block is left. Nothing is asked of an engine yet."""
    opened = OutsideEngines()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for name, settings in engines.items():
            url = settings.url or ENGINE_URLS[settings.kind]
            http = await stack.enter_async_context(engine_http(name, settings, url))
            credentials = _credentials(http, environ, tasks)
            if credentials is not None:
                http.authenticate(credentials)
            writes = SqlEngineWrites(database, name)
            match settings.kind:
                case "cognee":
                    opened.knowledges[name] = CogneeKnowledge(http)
                case "memobase":
                    opened.profiles[name] = MemobaseProfiles(http, writes)
                case "mem0":
                    opened.memories[name] = Mem0Memories(http, writes)
                case "mem0_platform":
                    opened.memories[name] = Mem0PlatformMemories(http, writes)
        try:
            yield opened
        finally:
            tasks.cancel_scope.cancel()


_KEY_HEADERS: Mapping[EngineBrand, tuple[str, str]] = {
    "cognee": ("x-api-key", "{}"),
    "memobase": ("authorization", "Bearer {}"),
    "mem0": ("x-api-key", "{}"),
    "mem0_platform": ("authorization", "Token {}"),
}


def _credentials(http: EngineHttp, environ: Mapping[str, str], tasks: TaskGroup) -> Credentials | None:
    """What the configuration names, where the environment has it."""
    settings = http.settings
    if settings.api_key_env and (key := environ.get(settings.api_key_env, "").strip()):
        header, form = _KEY_HEADERS[settings.kind]
        return Key(header, form.format(key), key)
    if settings.username and settings.password_env and (word := environ.get(settings.password_env)):
        login = _cognee_login if settings.kind == "cognee" else _mem0_login
        username = settings.username
        return Account(http.name, tasks, word, lambda tokens: login(http, username, word, tokens))
    return None


async def _cognee_login(http: EngineHttp, username: str, password: str, tokens: Tokens | None) -> Tokens:
    del tokens  # a new login is all there is
    form = {"username": username, "password": password}
    answer = await http.answer(Ask("POST", "/api/v1/auth/login", form=form), authenticated=False)
    if answer.status == 400 and "LOGIN_BAD_CREDENTIALS" in str(answer.fields().get("detail")):
        raise bad_login(http.name)
    return Tokens(text_of(http, http.read(answer), "access_token"))


async def _mem0_login(http: EngineHttp, username: str, password: str, tokens: Tokens | None) -> Tokens:
    if tokens is not None and tokens.refresh:  # it is good once; with another answer there is the password
        body = {"refresh_token": tokens.refresh}
        answer = await http.answer(Ask("POST", "/auth/refresh", body=body), authenticated=False)
        if answer.is_good:
            return _mem0_tokens(http, http.read(answer))
    body = {"email": username, "password": password}
    answer = await http.answer(Ask("POST", "/auth/login", body=body), authenticated=False)
    if answer.status == 401:
        raise bad_login(http.name)
    return _mem0_tokens(http, http.read(answer))


def _mem0_tokens(http: EngineHttp, told: object) -> Tokens:
    return Tokens(text_of(http, told, "access_token"), text_of(http, told, "refresh_token"))
