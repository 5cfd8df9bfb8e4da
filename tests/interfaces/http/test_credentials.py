"""What keys and tokens are good for, over every route, and when they are good for nothing any more."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from itertools import combinations
from typing import get_args
from uuid import UUID

import anyio
import httpx2
import pytest
from sqlalchemy import delete

from cozy.adapters.caller_cache import FRESH_S
from cozy.ports.identity import Scope
from cozy.storage.database import open_database
from cozy.storage.migrate import model_metadata
from cozy.storage.schema import utc_now
from cozy.turn import UserId
from tests.interfaces.http.attacks import ATTACKS, Person, bearer, client_of_many, person, sent
from tests.interfaces.http.serving import PASSWORD, Served

OF_SCOPE: Mapping[str, re.Pattern[str]] = {
    "chat": re.compile(
        r"POST /v1/chat/completions|GET /v1/chat/engines|GET /v1/models.*|(GET|POST) /v1/config/.*|"
        r"POST /v1/audio/.*|GET /v1/personalities.*|GET /v1/tools|POST /v1/tools/execute"
    ),
    "account": re.compile(
        r"\w+ /v1/users/(?!register|login|refresh).+|POST /v1/auth/logout|\w+ /v1/(chat/)?sessions.*|"
        r"POST /v1/chat/voice-call-messages|\w+ /v1/memor(y|ies).*"
    ),
    "admin": re.compile(r"(POST|PUT) /v1/personalities.*|POST /v1/tools/refresh|\w+ /v1/admin/.+"),
    "": re.compile(
        r"POST /v1/(users|auth)/(register|login|refresh)|POST /v1/realtime/.*|"
        r"GET /(v1/health|health.*|metrics|docs|openapi\.json)?"
    ),
}
"""As `cozy key create --help` tells it."""
CLOSED = [route for route in ATTACKS if not OF_SCOPE[""].fullmatch(route)]
GROUPS: list[tuple[Scope, ...]] = [
    group for size in (1, 2, 3) for group in combinations(get_args(Scope), size)
]


@pytest.fixture(scope="module")
async def client(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of_many(house) as opened:
        yield opened


@pytest.fixture
async def ann(house: Served) -> Person:
    return await person(house, "ann")


@pytest.fixture
async def root(house: Served) -> Person:
    """An admin, who is not the last one."""
    await house.user("root", admin=True)
    found = await person(house, "boss")
    await house.identity.set_role(UserId(UUID(found.user_id)), "admin")
    return found


def scope_of(route: str) -> str:
    [scope] = [scope for scope, routes in OF_SCOPE.items() if routes.fullmatch(route)]
    return scope


async def refusals(
    client: httpx2.AsyncClient, who: Person, credential: str, routes: Sequence[str] = CLOSED
) -> Mapping[str, str]:
    """route → the code of the error where its answer is one."""
    found: dict[str, str] = {}
    for route in routes:
        response = await sent(client, route, ATTACKS[route][0], who, who, credential)
        if response.status_code >= 400:
            found[route] = response.json()["error"]["code"]
            if "what needs" not in response.text and found[route] == "AUTH_FORBIDDEN":
                found[route] = "a login is wanted"
    return found


def test_every_route_is_of_one_scope_or_of_none() -> None:
    assert {scope_of(route) for route in ATTACKS} == OF_SCOPE.keys()


@pytest.mark.parametrize("scopes", GROUPS, ids="+".join)
async def test_a_key_opens_what_its_scopes_say_and_nothing_else(
    house: Served, client: httpx2.AsyncClient, root: Person, scopes: tuple[Scope, ...]
) -> None:
    _, key = await house.identity.create_key(UserId(UUID(root.user_id)), "some", scopes=scopes)
    refused = {
        route for route, code in (await refusals(client, root, key)).items() if code == "AUTH_FORBIDDEN"
    }
    assert refused == {route for route in CLOSED if scope_of(route) not in scopes}


async def test_a_plain_users_key_cannot_be_made_for_more_than_they_may(
    house: Served, client: httpx2.AsyncClient, ann: Person
) -> None:
    wanted = {"name": "more", "scopes": ["chat", "admin"]}
    made = await client.post("/v1/users/me/keys", json=wanted, headers=bearer(ann.token))
    assert (made.status_code, made.json()["error"]["code"]) == (403, "AUTH_FORBIDDEN")
    by_key = await client.post("/v1/users/me/keys", json={"name": "mine"}, headers=bearer(ann.key))
    assert by_key.status_code == 403, "a key makes no keys"


# -- when they end -------------------------------------------------------------------------------------

Ending = Callable[[Served, Person], Awaitable[None]]


async def revoked(house: Served, who: Person) -> None:
    await house.identity.revoke_key(UserId(UUID(who.user_id)), UUID(who.key_id))


async def disabled(house: Served, who: Person) -> None:
    await house.identity.set_active(UserId(UUID(who.user_id)), False)


async def password_changed(house: Served, who: Person) -> None:
    await house.identity.set_password(UserId(UUID(who.user_id)), PASSWORD)


async def deleted(house: Served, who: Person) -> None:
    """By hand, in the database: Cozy itself closes accounts, and keeps them."""
    user_id = UUID(who.user_id)
    async with open_database(house.service.settings.database.url) as database:
        for table in reversed(model_metadata().sorted_tables):
            owner = table.c.id if table.name == "users" else table.c.get("user_id")
            if owner is not None:
                statement = delete(table).where(owner == user_id)
                await database.write(lambda connection, gone=statement: connection.execute(gone))
    await anyio.sleep(FRESH_S)


@pytest.mark.parametrize(
    ("end", "of_key", "of_token"),
    [
        pytest.param(revoked, "AUTH_INVALID_TOKEN", None, id="a key that was revoked"),
        pytest.param(disabled, "AUTH_ACCOUNT_DISABLED", "AUTH_ACCOUNT_DISABLED", id="a closed account"),
        pytest.param(password_changed, None, "AUTH_INVALID_TOKEN", id="another password"),
        pytest.param(deleted, "AUTH_INVALID_TOKEN", "AUTH_INVALID_TOKEN", id="a user who is gone"),
    ],
)
async def test_what_has_ended_is_refused_on_every_route(
    house: Served,
    client: httpx2.AsyncClient,
    ann: Person,
    end: Ending,
    of_key: str | None,
    of_token: str | None,
) -> None:
    for credential in (ann.key, ann.token):
        me = await client.get("/v1/users/me", headers=bearer(credential))
        assert me.status_code == 200, "it is known, and kept in mind"
    await end(house, ann)
    for credential, code in ((ann.key, of_key), (ann.token, of_token)):
        if code is None:
            me = await client.get("/v1/users/me", headers=bearer(credential))
            assert me.status_code == 200
        else:
            assert await refusals(client, ann, credential) == dict.fromkeys(CLOSED, code)
    if of_token is not None:
        for path in ("/v1/users/refresh", "/v1/auth/refresh"):
            told = await client.post(path, json={"refresh_token": ann.refresh})
            assert told.json()["error"]["code"] == of_token


async def test_a_key_ends_at_its_time_on_every_route(
    house: Served, client: httpx2.AsyncClient, ann: Person
) -> None:
    status, life_s = 0, 0.5
    while status != 200:  # on a busy machine it may have ended before it is used
        life_s *= 2
        assert life_s < 60
        until = utc_now() + timedelta(seconds=life_s)
        _, key = await house.identity.create_key(UserId(UUID(ann.user_id)), "short", expires_at=until)
        status = (await client.get("/v1/users/me", headers=bearer(key))).status_code
    await anyio.sleep((until - utc_now()).total_seconds() + 0.05)
    assert await refusals(client, ann, key) == dict.fromkeys(CLOSED, "AUTH_INVALID_TOKEN")


async def test_an_admin_who_is_none_any_more_is_a_user_at_once(
    house: Served, client: httpx2.AsyncClient, root: Person
) -> None:
    user_id = UserId(UUID(root.user_id))
    _, key = await house.identity.create_key(user_id, "all", scopes=get_args(Scope))
    admins = [route for route in CLOSED if scope_of(route) == "admin"]
    for credential in (key, root.token):
        assert "AUTH_FORBIDDEN" not in (await refusals(client, root, credential, admins)).values()
    await house.identity.set_role(user_id, "user")
    for credential in (key, root.token):
        assert await refusals(client, root, credential, admins) == dict.fromkeys(admins, "AUTH_FORBIDDEN")
        me = await client.get("/v1/users/me", headers=bearer(credential))
        assert (me.status_code, me.json()["role"]) == (200, "user")
