"""How the service does, in the original's words."""

from __future__ import annotations

from datetime import datetime

import httpx2

import cozy


async def test_the_service_tells_how_it_does(nobody: httpx2.AsyncClient) -> None:
    body = (await nobody.get("/v1/health")).json()
    assert datetime.fromisoformat(body.pop("timestamp")).tzinfo is not None
    assert body == {
        "status": "ok",
        "version": cozy.__version__,
        "environment": "production",
        "database": "connected",
    }


async def test_the_root_tells_where_to_read_on(nobody: httpx2.AsyncClient) -> None:
    body = (await nobody.get("/")).json()
    assert body == {
        "message": "Cozy",
        "version": cozy.__version__,
        "docs": "/docs",
        "health": "/v1/health",
    }
    for path in (body["docs"], body["health"]):
        assert (await nobody.get(path)).status_code == 200


async def test_engines_are_named_without_their_addresses(ann: httpx2.AsyncClient) -> None:
    response = await ann.get("/v1/chat/engines")
    body = response.json()
    assert "house" in body["engines"]
    assert body["default_engine"] in body["engines"]
    assert set(body["descriptions"]) == set(body["engines"])
    assert "127.0.0.1" not in response.text
