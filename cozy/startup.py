"""What is looked at before the server listens: everything that would make it fail later.

A composition room beside `app.py`: it knows adapters, and nobody imports it but the command line.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import anyio.to_thread

from cozy.app import check_all, open_storage
from cozy.configuration import Loaded
from cozy.errors import CozyError, StorageError
from cozy.ports.identity import User
from cozy.settings import DEMO_MODEL, Settings

Verdict = Literal["ok", "warning", "error", "not looked at"]

LOCAL = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"})  # noqa: S104  nothing is bound
"""This machine, as an address to ask and as one to listen at."""
_NAMED_BY_PERSONALITIES = (
    "paths.personalities",
    "paths.pipelines",
    "model.default",
    "model.allow",
    "providers",
    "tools.allow",
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with an installation; no secret stands in it."""

    problems: list[str] = field(default_factory=list[str])
    """With any, the server does not start."""
    warnings: list[str] = field(default_factory=list[str])
    parts: dict[str, Verdict] = field(default_factory=dict[str, "Verdict"])
    """What was looked at, and how it is: `configuration`, `personalities`, `database` …"""


async def findings(loaded: Loaded, environ: Mapping[str, str] = os.environ) -> Findings:
    """Everything that is wrong at once, not only the first: with the configuration, and with what it names.

    What hangs on a value that is wrong is not looked at.
    """
    settings = loaded.settings
    found = Findings([str(problem) for problem in loaded.problems], list(loaded.warnings))
    found.parts["configuration"] = _verdict(found, 0, 0)
    looks: list[tuple[str, tuple[str, ...], Callable[[], Awaitable[None]]]] = [
        ("personalities", _NAMED_BY_PERSONALITIES, lambda: _personalities(settings, found)),
        ("database", ("database.url", "paths.data"), lambda: _database(settings.database.url)),
        ("signing keys", (), lambda: _signing_keys(environ)),
        ("time zone", ("tools.timezone",), lambda: _timezone(settings.tools.timezone)),
        ("redis", ("redis.url",), lambda: _redis(settings, found)),
        ("default model", ("model.default",), lambda: _model(settings, environ, found)),
        ("engines", ("engines", "context"), lambda: _engines(settings, environ, found)),
    ]
    for part, hangs_on, look in looks:
        if loaded.is_wrong(*hangs_on):
            found.parts[part] = "not looked at"
            continue
        problems, warnings = len(found.problems), len(found.warnings)
        try:
            await look()
        except CozyError as error:
            found.problems.append(str(error))
        found.parts[part] = _verdict(found, problems, warnings)
    return found


def _verdict(found: Findings, problems: int, warnings: int) -> Verdict:
    """Of a part before which there were so many problems and warnings."""
    if len(found.problems) > problems:
        return "error"
    return "warning" if len(found.warnings) > warnings else "ok"


async def _personalities(settings: Settings, found: Findings) -> None:
    checked = await anyio.to_thread.run_sync(check_all, settings)
    if checked.errors:
        found.problems.append(f"personalities have errors\n{checked.text()}")


async def _database(url: str) -> None:
    """Raises StorageError where it cannot be used. A SQLite file need not be there, nor be up to date."""
    from cozy.storage.database import parse_url
    from cozy.storage.migrate import current, is_known, unfit

    parsed = parse_url(url)
    embedded = parsed.get_backend_name() == "sqlite"
    if embedded and not await anyio.to_thread.run_sync(_is_writable, Path(parsed.database or "")):
        raise StorageError(
            "the database cannot be written to", hint="check the owner and mode of its file and folder"
        )
    have, _ = await current(url)
    if embedded and (have is None or is_known(have)):  # the start brings it up to date
        return
    if problem := unfit(have):
        raise problem


def _is_writable(path: Path) -> bool:
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    return os.access(nearest, os.W_OK)


async def _timezone(name: str) -> None:
    from cozy.adapters.builtin_tools import BuiltinTools

    BuiltinTools(timezone=name)


async def _signing_keys(environ: Mapping[str, str]) -> None:
    from cozy.adapters.signing_keys import check_environment

    check_environment(environ)


async def _redis(settings: Settings, found: Findings) -> None:
    if not settings.redis.url:
        if settings.server.workers > 1:
            found.warnings.append(
                f"without `redis.url` each of the {settings.server.workers} processes counts requests for "
                "itself: together they let through that many times the limits"
            )
        return
    from cozy.adapters.redis_client import REDIS_ERRORS, ping

    try:
        await ping(settings.redis.url)
    except REDIS_ERRORS as error:
        found.warnings.append(
            f"redis does not answer ({type(error).__name__}): "
            "until it does, each process counts and caches for itself"
        )


async def _model(settings: Settings, environ: Mapping[str, str], found: Findings) -> None:
    default = settings.model.default
    provider = settings.providers.get(default.partition("/")[0])
    if default == DEMO_MODEL:
        found.warnings.append("no model server is configured: the demo model answers")
    elif provider and provider.api_key_env and not environ.get(provider.api_key_env):
        found.warnings.append(f"`{provider.api_key_env}` is not set: `{default}` may refuse to answer")
    if provider and provider.base_url:
        _warn_of_oneself(f"providers.{default.partition('/')[0]}", provider.base_url, settings, found)


async def _engines(settings: Settings, environ: Mapping[str, str], found: Findings) -> None:
    for name, engine in settings.engines.items():
        _warn_of_oneself(f"engines.{name}", engine.url or "", settings, found)
        # with a key, there need be no account
        if engine.api_key_env and environ.get(engine.api_key_env, "").strip():
            continue
        for variable in filter(None, (engine.api_key_env, engine.password_env)):
            if not environ.get(variable, "").strip():
                found.warnings.append(f"`{variable}` is not set: the engine `{name}` may refuse to answer")


def _warn_of_oneself(section: str, url: str, settings: Settings, found: Findings) -> None:
    """Tell of what would be asked where Cozy itself listens: the port is vLLM's and Cognee's, too."""
    server, asked = settings.server, urlsplit(url)
    port = asked.port or (443 if asked.scheme == "https" else 80)
    hosts = {server.host} if server.host not in LOCAL else LOCAL
    if port == server.port and asked.hostname in hosts:
        place = f"{asked.hostname}:{port}"
        found.warnings.append(
            f"`{section}` is at {place}, where `cozy serve` itself listens: give one of them another port"
        )


async def first_admin(settings: Settings) -> tuple[User, str] | None:
    """An admin and a key, where the installation has none yet. Raises StorageError."""
    from cozy.adapters.demo_llm import DemoLLM
    from cozy.adapters.identity import open_identity
    from cozy.adapters.memory_limits import MemoryLimits

    async with (
        open_storage(settings, DemoLLM()) as stored,
        open_identity(stored.database, settings.auth, MemoryLimits()) as identity,
    ):
        return await identity.first_admin()
