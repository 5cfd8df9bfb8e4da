"""Adapters as an installation opens them, in front of fake engines."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from cozy.adapters.cognee_knowledge import CogneeKnowledge
from cozy.adapters.mem0_memory import Mem0Memories, Mem0PlatformMemories
from cozy.adapters.memobase_profile import MemobaseProfiles
from cozy.adapters.outside_engines import open_outside_engines
from cozy.settings import EngineBrand, EngineSettings
from cozy.storage.database import Database
from tests.engines import fake_cognee, fake_mem0, fake_memobase
from tests.engines.server import FakeEngine

DATASETS = ("plants", "health", "spare")
ENVIRON = {
    "COGNEE_KEY": fake_cognee.KEY,
    "MEMOBASE_KEY": fake_memobase.KEY,
    "MEM0_KEY": fake_mem0.KEY,
    "PASSWORD": fake_mem0.PASSWORD,
}
ACCOUNT = {"api_key_env": None, "username": fake_mem0.EMAIL, "password_env": "PASSWORD"}
NAME = "house"
"""What the engine is called in the configuration."""


def settings(fake: FakeEngine, kind: EngineBrand, **changes: Any) -> EngineSettings:
    key = {"cognee": "COGNEE_KEY", "memobase": "MEMOBASE_KEY"}.get(kind, "MEM0_KEY")
    values: dict[str, Any] = {"kind": kind, "url": fake.url, "api_key_env": key, "timeout_s": 5}
    if kind == "cognee":
        values["datasets"] = DATASETS
    return EngineSettings(**values | changes)


@asynccontextmanager
async def cognee(fake: FakeEngine, database: Database, **changes: Any) -> AsyncGenerator[CogneeKnowledge]:
    engines = {NAME: settings(fake, "cognee", **changes)}
    async with open_outside_engines(engines, ENVIRON, database) as opened:
        yield opened.knowledges[NAME]


@asynccontextmanager
async def memobase(fake: FakeEngine, database: Database, **changes: Any) -> AsyncGenerator[MemobaseProfiles]:
    engines = {NAME: settings(fake, "memobase", **changes)}
    async with open_outside_engines(engines, ENVIRON, database) as opened:
        yield opened.profiles[NAME]


@asynccontextmanager
async def mem0(
    fake: FakeEngine, database: Database, kind: EngineBrand = "mem0", **changes: Any
) -> AsyncGenerator[Mem0Memories | Mem0PlatformMemories]:
    engines = {NAME: settings(fake, kind, **changes)}
    async with open_outside_engines(engines, ENVIRON, database) as opened:
        yield opened.memories[NAME]
