"""Two users of one server, who speak to it as CozyChat's front end does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.interfaces.http.serving import Served


@pytest.fixture
async def ann(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.http(await house.token("ann")) as client:
        yield client


@pytest.fixture
async def ben(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.http(await house.token("ben")) as client:
        yield client


@pytest.fixture
async def admin(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.http(await house.token("root", admin=True)) as client:
        yield client


@pytest.fixture
async def nobody(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.http() as client:
        yield client
