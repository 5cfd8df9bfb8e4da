"""A user's own API keys."""

from __future__ import annotations

from uuid import uuid4

import httpx2
import pytest

from tests.interfaces.http.serving import Served


async def test_a_key_is_told_once_and_is_good_until_it_is_revoked(
    house: Served, ann: httpx2.AsyncClient
) -> None:
    made = await ann.post("/v1/users/me/keys", json={"name": "laptop", "scopes": ["chat"]})
    key = made.json()
    assert made.status_code == 201
    assert key["key"].startswith(key["prefix"])
    listed = (await ann.get("/v1/users/me/keys")).json()
    assert [one["id"] for one in listed["keys"]] == [key["id"]]
    assert "key" not in listed["keys"][0]
    async with house.http(key["key"]) as client:
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.get("/v1/users/me")).status_code == 403
        assert (await ann.delete(f"/v1/users/me/keys/{key['id']}")).status_code == 200
        assert (await client.get("/v1/models")).status_code == 401
    assert (await ann.get("/v1/users/me/keys")).json()["keys"][0]["revoked_at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"scopes": ["admin"]}, 403, id="more than its owner may"),
        pytest.param({"scopes": ["everything"]}, 422, id="no such scope"),
        pytest.param({"scopes": []}, 422, id="no scope"),
        pytest.param({"name": ""}, 422, id="no name"),
        pytest.param({"expires_at": "2001-01-01T00:00:00Z"}, 422, id="over already"),
        pytest.param({"expires_at": "9999-12-31T23:59:59-14:00"}, 422, id="beyond the calendar"),
        pytest.param({"expires_at": "soon"}, 422, id="no moment"),
    ],
)
async def test_a_key_that_cannot_be(ben: httpx2.AsyncClient, change: dict[str, object], status: int) -> None:
    response = await ben.post("/v1/users/me/keys", json={"name": "x", **change})
    assert response.status_code == status, response.json()
    assert isinstance(response.json()["detail"], str)
    assert (await ben.get("/v1/users/me/keys")).json() == {"keys": [], "total": 0}


async def test_a_key_ends_when_it_was_said_to(ann: httpx2.AsyncClient) -> None:
    wanted = {"name": "short", "expires_at": "2031-05-01T12:00:00+08:00"}
    made = (await ann.post("/v1/users/me/keys", json=wanted)).json()
    assert made["expires_at"] == "2031-05-01T04:00:00+00:00"


async def test_what_is_no_keys_id_is_refused(ann: httpx2.AsyncClient) -> None:
    assert (await ann.delete("/v1/users/me/keys/latest")).status_code == 400
    assert (await ann.delete(f"/v1/users/me/keys/{uuid4()}")).status_code == 404
