"""Two users attack each other's ids over every route: another's id is as one that does not exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from cozy.interfaces.http.cozychat import ENDPOINTS
from cozy.interfaces.http.endpoint import Endpoint
from cozy.ports.sessions import Words
from cozy.turn import SessionId
from tests.interfaces.http.serving import Served

NAMED = re.compile(r"\{(\w+)\}")
ATTACKED = [e for e in ENDPOINTS if NAMED.search(e.path) and "/personalities/" not in e.path]
BODIES: dict[str, dict[str, Any]] = {
    "ProfileChange": {"bio": "attacked"},
    "SessionChange": {"title": "attacked", "archived": True},
    "MemoryChange": {"content": "attacked"},
}


@dataclass(frozen=True, slots=True)
class Ids:
    """What a path may name; all of one user, or of nobody."""

    user_id: str
    session_id: str
    key_id: str
    memory_id: str

    def fill(self, path: str) -> str:
        return NAMED.sub(lambda match: getattr(self, match[1]), path)

    def blur(self, text: str) -> str:
        """`text` without the ids, which are all that may differ."""
        for name in ("user_id", "session_id", "key_id", "memory_id"):
            text = text.replace(getattr(self, name), name)
        return text


@pytest.fixture
def unknown() -> Ids:
    return Ids(*(str(uuid4()) for _ in range(4)))


@pytest.fixture
async def theirs(house: Served, ann: httpx2.AsyncClient) -> Ids:
    """Ann's own ids, of things that are there."""
    user = await house.user("ann")
    session = await house.service.sessions.create(user.id, "mia", title="private")
    memory = await house.service.engine.ports.memories.add(user.id, "Ann likes tea")
    made = await ann.post("/v1/users/me/keys", json={"name": "private"})
    return Ids(str(user.id), str(session.id), made.json()["id"], memory.id)


async def state(ann: httpx2.AsyncClient, ids: Ids) -> list[Any]:
    """Everything of Ann's that could have been changed."""
    paths = ["/v1/users/me", "/v1/users/me/profile", "/v1/users/me/keys", "/v1/memories"]
    return [(await ann.get(path)).json() for path in (*paths, f"/v1/sessions/{ids.session_id}")]


def told(response: httpx2.Response, ids: Ids) -> tuple[int, str]:
    text = response.text.replace(response.headers["x-request-id"], "request")
    return response.status_code, ids.blur(text)


@pytest.mark.parametrize("declared", ATTACKED, ids=lambda e: f"{e.method} {e.path}")
async def test_anothers_id_is_as_one_that_does_not_exist(
    ann: httpx2.AsyncClient, ben: httpx2.AsyncClient, theirs: Ids, unknown: Ids, declared: Endpoint
) -> None:
    before = await state(ann, theirs)
    sent = BODIES[declared.body.__name__] if declared.body else None

    async def attack(ids: Ids) -> tuple[int, str]:
        response = await ben.request(declared.method, ids.fill(declared.path), json=sent)
        return told(response, ids)

    attacked, missing = await attack(theirs), await attack(unknown)
    assert attacked == missing
    assert missing[0] == 404
    assert await state(ann, theirs) == before


@pytest.mark.parametrize("declared", ATTACKED, ids=lambda e: f"{e.method} {e.path}")
async def test_the_owner_is_let_in(ann: httpx2.AsyncClient, theirs: Ids, declared: Endpoint) -> None:
    sent = BODIES[declared.body.__name__] if declared.body else None
    response = await ann.request(declared.method, theirs.fill(declared.path), json=sent)
    assert response.status_code in (200, 501), response.text


@pytest.mark.parametrize("declared", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")
async def test_who_is_nobody_is_let_in_where_it_says_so_alone(
    nobody: httpx2.AsyncClient, unknown: Ids, declared: Endpoint
) -> None:
    path = (
        NAMED.sub("x", declared.path) if "/personalities/" in declared.path else unknown.fill(declared.path)
    )
    response = await nobody.request(declared.method, path)
    if declared.access != "anyone":
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "AUTH_REQUIRED"
        assert response.json()["detail"] == response.json()["message"]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        pytest.param("/v1/chat/voice-call-messages", {"session_id": "{session_id}"}, id="voice call"),
        pytest.param("/v1/memories", {"content": "attacked", "user_id": "{user_id}"}, id="remember"),
        pytest.param("/v1/memories/search", {"query": "tea", "user_id": "{user_id}"}, id="search"),
    ],
)
async def test_ids_in_bodies_are_no_better(
    house: Served,
    ann: httpx2.AsyncClient,
    ben: httpx2.AsyncClient,
    theirs: Ids,
    unknown: Ids,
    path: str,
    sent: dict[str, str],
) -> None:
    before = await state(ann, theirs)

    async def attack(ids: Ids) -> tuple[int, str]:
        body: dict[str, Any] = {name: ids.fill(value) for name, value in sent.items()}
        body["messages"] = [{"role": "user", "content": "attacked"}]
        return told(await ben.post(path, json=body), ids)

    attacked = await attack(theirs)
    assert attacked == await attack(unknown)
    assert attacked[0] == 404
    assert await state(ann, theirs) == before


async def test_lists_hold_ones_own_alone(house: Served, ben: httpx2.AsyncClient, theirs: Ids) -> None:
    texts = [
        (await ben.get(path)).text
        for path in (
            "/v1/sessions?archived=all&page_size=100",
            "/v1/memories?limit=100",
            "/v1/memories?query=tea",
            "/v1/users/me/keys",
            "/v1/users/me/stats",
        )
    ]
    for name in ("user_id", "session_id", "key_id", "memory_id"):
        assert getattr(theirs, name) not in "".join(texts)


async def test_a_deleted_session_is_as_one_that_never_was(
    house: Served, ann: httpx2.AsyncClient, theirs: Ids, unknown: Ids
) -> None:
    user = await house.user("ann")
    await house.service.sessions.append(user.id, SessionId(UUID(theirs.session_id)), [Words("user", "hi")])
    assert (await ann.delete(f"/v1/sessions/{theirs.session_id}")).status_code == 200
    for declared in ATTACKED:
        if "session_id" not in declared.path or "memor" in declared.path:
            continue
        sent = BODIES[declared.body.__name__] if declared.body else None
        gone = await ann.request(declared.method, theirs.fill(declared.path), json=sent)
        never = await ann.request(declared.method, unknown.fill(declared.path), json=sent)
        assert told(gone, theirs) == told(never, unknown)
