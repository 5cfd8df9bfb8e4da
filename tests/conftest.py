"""Fixtures that any test may ask for."""

from __future__ import annotations

import gc
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from hypothesis import settings
from redis import Redis

from cozy.storage import migrate
from cozy.storage.database import Database, open_database
from tests.clock import LoopClock, no_waiting
from tests.databases import PostgresServer, postgres_server
from tests.redis_server import some_redis

# the same examples in every run, however long one takes on a busy machine, as where Hypothesis sees `CI`;
# `--hypothesis-profile default` has it look for others
settings.load_profile("ci")
gc.disable()  # while modules are loaded and tests are found: nearly all of it stays


def pytest_collection_finish() -> None:
    gc.freeze()  # what is there now is not looked through again and again
    gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def loop_clock() -> AsyncIterator[LoopClock]:
    with LoopClock().wound() as clock:
        yield clock


@pytest.fixture
async def no_time() -> AsyncIterator[None]:
    """For what happens within the loop alone: nothing takes any time but what waits for some."""
    with no_waiting():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file without a row."""
    path = tmp_path_factory.mktemp("sqlite") / "cozy.db"
    anyio.run(migrate.upgrade, f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'cozy.db')}"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database; the test runs once on each kind."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables, on each kind; the SQLite file does not exist yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'data' / 'cozy.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database(migrated=False) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as database:
        yield database


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server that others use too: keys begin with `redis_prefix`."""
    with some_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    """What begins with it is gone afterwards."""
    prefix = f"cozy-test-{uuid4().hex}"
    yield prefix
    with Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{prefix}*", count=10_000):
            client.delete(key)
