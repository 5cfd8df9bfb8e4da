"""A real server on a loopback port, for tests that talk to it as clients do.

async with served(tmp_path, sqlite_url, upstream=server) as house:
    ada = await house.key("ada")
    async with house.http(ada) as client:
        await client.get("/v1/models")
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
from hypercorn.asyncio import serve
from openai import AsyncOpenAI

from cozy.adapters.argon2_passwords import Argon2Passwords
from cozy.cli.connections import KEEP_ALIVE_S, config_of, use_connections
from cozy.configuration import load_settings
from cozy.interfaces.http.app import open_http
from cozy.interfaces.http.metrics import Metrics
from cozy.interfaces.http.service import Service
from cozy.ports.identity import IdentityAdmin, Scope, User
from cozy.service import extensions, open_service
from cozy.settings import Settings
from tests.upstream import Upstream

MIA = """\
id: mia
name: Mia
prompt: You are Mia.
model:
  name: house/fake
tools:
  - calculator
"""
PASSWORD = "correct horse battery"
QUICK = Argon2Passwords(time_cost=1, memory_kib=64, lanes=1)
"""Hashing that costs a test nothing."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    service: Service
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def identity(self) -> IdentityAdmin:
        return cast("IdentityAdmin", self.service.identity)

    async def user(self, name: str, *, admin: bool = False) -> User:
        """A user of that name with the password `PASSWORD`, made on first sight."""
        for user in await self.identity.users(limit=1000):
            if user.username == name:
                return user
        return await self.identity.create_user(name, password=PASSWORD, role="admin" if admin else "user")

    async def key(self, name: str, *scopes: Scope, admin: bool = False) -> str:
        """An API key of that user."""
        user = await self.user(name, admin=admin)
        default: tuple[Scope, ...] = ("chat", "account", "admin") if admin else ("chat", "account")
        _, words = await self.identity.create_key(user.id, "test", scopes=scopes or default)
        return words

    async def token(self, name: str, *, admin: bool = False) -> str:
        """The access token of a login."""
        await self.user(name, admin=admin)
        return (await self.identity.login(name, PASSWORD)).access

    def http(self, credential: str | None = None, **headers: str) -> httpx2.AsyncClient:
        """A plain HTTP client."""
        sent = {**({"authorization": f"Bearer {credential}"} if credential else {}), **headers}
        return httpx2.AsyncClient(base_url=self.url, headers=sent, timeout=60)

    def openai(self, credential: str, **options: Any) -> AsyncOpenAI:
        """OpenAI's own client."""
        return AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=credential, **{"max_retries": 0, "timeout": 20, **options}
        )


@asynccontextmanager
async def served(
    folder: Path,
    database_url: str,
    *,
    upstream: Upstream | None = None,
    personalities: Mapping[str, str] | None = None,
    pipelines: Mapping[str, str] | None = None,
    keep_alive_s: float = KEEP_ALIVE_S,
    **sections: Mapping[str, Any],
) -> AsyncGenerator[Served]:
    """A server over a migrated database; `sections` are those of `cozy.toml`.

    Without `personalities` there is `mia`, whose model is the upstream's, beside the shipped ones.
    """
    settings = configured(folder, database_url, upstream, personalities, pipelines, sections)
    stop = anyio.Event()
    async with (
        open_service(settings, passwords=QUICK) as service,
        open_http(service, extensions(), metrics := Metrics()) as app,
        anyio.create_task_group() as tasks,
    ):
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = config_of(settings.server, listener.detach())
        config.errorlog = None
        config.graceful_timeout = 2
        config.keep_alive_timeout = keep_alive_s
        config.opened = metrics.connections.track_inprogress

        use_connections()

        async def run() -> None:
            await serve(app, config, shutdown_trigger=stop.wait)  # pyright: ignore[reportArgumentType]

        tasks.start_soon(run)
        try:
            yield Served(service, port)
        finally:
            stop.set()


def configured(
    folder: Path,
    database_url: str,
    upstream: Upstream | None,
    personalities: Mapping[str, str] | None,
    pipelines: Mapping[str, str] | None,
    sections: Mapping[str, Mapping[str, Any]],
) -> Settings:
    """The settings of a project in `folder`, written there as an author would."""
    tables: dict[str, Mapping[str, Any]] = {"database": {"url": database_url}, **sections}
    if upstream is not None:
        tables["providers.house"] = {"base_url": upstream.base_url, "default_model": "fake"}
    written = [f"[{name}]\n" + _lines(values) for name, values in tables.items()]
    (folder / "cozy.toml").write_text("\n".join(written), encoding="utf-8")
    mine = personalities if personalities is not None else ({"mia": MIA} if upstream is not None else {})
    for kind, files in (("personalities", mine), ("pipelines", pipelines or {})):
        (folder / kind).mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / kind / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_settings(folder, {})


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
