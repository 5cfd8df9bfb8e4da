"""One server for all tests of a module that do not disturb each other."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.interfaces.http.serving import Served, served
from tests.upstream import Upstream, says, upstream

UNLIMITED: Mapping[str, Any] = {"per_address": 0, "per_user": 0, "per_key": 0}
"""For tests that ask faster than people do."""
TALK = """\
timeout: 20s
stages:
  history:
    type: fetch_context
    source: history
    limit: 20
  budget:
    type: budget
  prompt:
    type: render_prompt
  answer:
    type: llm
  tools:
    type: tool_loop
  save:
    type: persist
"""
"""A pipeline that leaves no jobs: the model's server is asked for answers alone."""


MODEL = "model:\n  name: house/fake\npipeline: talk\n"


def personality(name: str, rest: str = "") -> str:
    return f"id: {name}\nname: {name}\nprompt: You are {name}.\n{MODEL}{rest}"


PERSONALITIES: Mapping[str, str] = {
    "mia": personality("mia", "tools:\n  - calculator\n"),
    "plain": personality("plain"),
    "deaf": personality("deaf", "client_system: ignore\n"),
    "strict": personality("strict", "client_system: reject\n"),
}


MOST_CONNECTIONS = 8
KEEP_ALIVE_S = 20
"""Of `slow_house`."""


@pytest.fixture(scope="module")
async def module_upstream() -> AsyncIterator[Upstream]:
    async with upstream(default=says("Hi", " there")) as server:
        yield server


@pytest.fixture(scope="module")
async def house(
    module_upstream: Upstream, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A server of the module's own, with a fresh SQLite file and quick pings."""
    folder = tmp_path_factory.mktemp("house")
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'cozy.db')}"
    async with served(
        folder,
        url,
        upstream=module_upstream,
        personalities=PERSONALITIES,
        pipelines={"talk": TALK},
        server={"models": ["house/*"], "ping_s": 0.2},
        auth={"registrations_per_hour": 0},
        limits=UNLIMITED,
    ) as server:
        yield server


@pytest.fixture
def up(module_upstream: Upstream) -> Upstream:
    """The model's server of `house`, with nothing asked and no script yet; it says "Hi there" by default."""
    module_upstream.forget()
    return module_upstream


@pytest.fixture(scope="module")
async def ada(house: Served) -> str:
    """The key of a user."""
    return await house.key("ada")


@pytest.fixture(scope="module")
async def slow_house(
    module_upstream: Upstream, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A server that waits for nobody: not for heads, not for bodies, not for readers."""
    folder = tmp_path_factory.mktemp("slow")
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'cozy.db')}"
    async with served(
        folder,
        url,
        upstream=module_upstream,
        personalities=PERSONALITIES,
        pipelines={"talk": TALK},
        keep_alive_s=KEEP_ALIVE_S,
        server={
            "head_timeout_s": 0.4,
            "body_timeout_s": 0.3,
            "write_timeout_s": 0.5,
            "max_connections": MOST_CONNECTIONS,
        },
        limits=UNLIMITED,
    ) as server:
        yield server
