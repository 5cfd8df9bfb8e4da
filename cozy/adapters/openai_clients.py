"""OpenAI's SDK, one client for each server and key, over one pool of connections.

The SDK takes most of a second to import, so it is imported on first use, in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread

from cozy.adapters.model_servers import OpenAIServer
from cozy.errors import EngineInitError

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

MAX_CONNECTIONS = 200
KEEPALIVE_S = 90.0
"""A human reads and types for longer than the SDK's own 5 s; a new connection is a TLS handshake."""


class OpenAIClients:
    """The SDK's clients by (name, address, key). Made by `openai_clients`."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str, str | None], AsyncOpenAI] = {}
        self._http: httpx2.AsyncClient | None = None
        self._lock = anyio.Lock()

    async def client(self, server: OpenAIServer) -> AsyncOpenAI:
        """The client of a server, made on first use. Raises EngineInitError."""
        key = (server.name, server.base_url, server.api_key)
        client = self._clients.get(key)
        if client is None:
            async with self._lock:
                if self._http is None:
                    self._http = await anyio.to_thread.run_sync(_connections, abandon_on_cancel=True)
                client = self._clients.get(key) or _client(server, self._http)
                self._clients[key] = client
        return client

    async def aclose(self) -> None:
        self._clients.clear()
        if self._http is not None:
            await self._http.aclose()


@asynccontextmanager
async def openai_clients() -> AsyncGenerator[OpenAIClients]:
    """Clients whose connections close when the block is left."""
    clients = OpenAIClients()
    try:
        yield clients
    finally:
        with anyio.CancelScope(shield=True):
            await clients.aclose()


@cache
def outside_errors() -> tuple[type[Exception], ...]:
    """What the SDK and the layers below it raise when something outside goes wrong; the rest are bugs."""
    import aiohttp
    import httpx2
    import openai
    from aiohttp.http_exceptions import HttpProcessingError

    return (
        openai.OpenAIError,
        httpx2.HTTPError,
        httpx2.InvalidURL,
        httpx2.StreamError,
        # what the SDK's transport for aiohttp does not translate
        aiohttp.ClientError,
        HttpProcessingError,
        OSError,
        EOFError,
        UnicodeError,
    )


def _connections() -> httpx2.AsyncClient:
    """The pool of connections. See docs/decisions/http-client.md for the transport."""
    import httpx2
    import openai

    import_module("openai.resources.chat")  # what the first request would import
    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=50, keepalive_expiry=KEEPALIVE_S
    )
    return openai.DefaultAioHttpClient(limits=limits, follow_redirects=False)


def _client(server: OpenAIServer, http: httpx2.AsyncClient) -> AsyncOpenAI:
    import httpx2
    import openai

    headers: dict[str, Any] = {**server.headers}
    if server.kind != "openai":
        # the SDK takes these from the environment, for whatever server
        headers |= {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
    query = dict(parse_qsl(server.query))
    settings: dict[str, Any] = {
        # given none, the SDK would send OPENAI_API_KEY, to whatever server; those without keys ignore it
        "api_key": server.api_key or "none",
        "base_url": server.url,
        "default_headers": headers,
        "http_client": http,
        "max_retries": 0,  # there is one policy of retries: the engine's
        "timeout": httpx2.Timeout(server.read_timeout_s, connect=server.connect_timeout_s),
    }
    try:
        if server.kind == "azure" and "api-version" in query:
            return openai.AsyncAzureOpenAI(
                api_version=query.pop("api-version"), default_query=query, **settings
            )
        return openai.AsyncOpenAI(default_query=query, **settings)
    except Exception as error:
        raise EngineInitError(
            server.name,
            f"no client for {server.shown_url}: {error}",
            hint=f"check `base_url` of the provider `{server.name}`",
        ) from error
