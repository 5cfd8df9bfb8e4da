"""How the service does, in the few words that this API has for it; `/health` has more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import cozy
from cozy.interfaces.http.cozychat.routes import Given, Moment, route
from cozy.interfaces.http.endpoint import Call
from cozy.interfaces.http.health import checked, overall
from cozy.ports.operations import Condition
from cozy.settings import Settings


class Root(Given):
    message: str
    version: str
    docs: str
    health: str


class ShortHealth(Given):
    status: Condition
    version: str
    environment: Literal["production"] = "production"
    timestamp: Moment
    database: Literal["connected", "disconnected"]


class Engines(Given):
    engines: list[str]
    default_engine: str
    descriptions: dict[str, str]


@route("GET", "/", access="anyone", gives=Root)
async def root(_call: Call[None, None]) -> Root:
    """Tell what answers here, and where to read on."""
    return Root(message="Cozy", version=cozy.__version__, docs="/docs", health="/v1/health")


@route("GET", "/v1/health", access="anyone", gives=ShortHealth)
async def health(call: Call[None, None]) -> ShortHealth:
    """Tell how the service does."""
    found = await checked(call.service)
    away = any(h.name == "database" and h.condition == "down" for h in found)
    return ShortHealth(
        status=overall(found),
        version=cozy.__version__,
        timestamp=datetime.now(UTC),
        database="disconnected" if away else "connected",
    )


@route("GET", "/v1/chat/engines", access="chat", gives=Engines)
async def engines(call: Call[None, None]) -> Engines:
    """List the model servers that personalities are answered by."""
    settings = call.service.settings
    models = [name for graph in call.service.engine.library for name in graph.persona.model.names]
    names = sorted({name.partition("/")[0] for name in [settings.model.default, *models]})
    return Engines(
        engines=names,
        default_engine=settings.model.default.partition("/")[0],
        descriptions={name: _description(name, settings) for name in names},
    )


def _description(name: str, settings: Settings) -> str:
    if name == "demo":
        return "a stand-in that needs no key and no network"
    provider = settings.providers.get(name)
    flavour = provider.flavour if provider else None
    return f"speaks OpenAI's API, as {flavour} does" if flavour else "speaks OpenAI's API"


ENDPOINTS = (root, health, engines)
