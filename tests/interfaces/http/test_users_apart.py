"""Two users attack each other's ids over every route: another's id is as one that does not exist, and nobody
can say that they are somebody else."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import anyio
import httpx2
import pytest

from tests.interfaces.http.attacks import (
    ATTACKS,
    CHAT,
    SAID,
    Attack,
    Person,
    bearer,
    client_of_many,
    hints,
    person,
    sent,
)
from tests.interfaces.http.conftest import PERSONALITIES, TALK, UNLIMITED
from tests.interfaces.http.serving import Served, served
from tests.upstream import Answer, Hold, Upstream, calls, chunk, says, sse

VARYING = re.compile(r'chatcmpl-[0-9a-f]{32}|"created":\d+|"last_used_at":("[^"]*"|null)')
OF_THE_MOMENT = ("x-request-id", "date", "server-timing", "content-length")
RECALLING = TALK.replace(
    "  budget:",
    "  memory:\n    type: fetch_context\n    source: memory\n"
    "  profile:\n    type: fetch_context\n    source: profile\n  budget:",
)


@pytest.fixture(scope="module")
async def house(
    module_upstream: Upstream, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A server whose turns are told what is remembered."""
    folder = tmp_path_factory.mktemp("apart")
    async with served(
        folder,
        f"sqlite:///{shutil.copy(sqlite_template, folder / 'cozy.db')}",
        upstream=module_upstream,
        personalities=PERSONALITIES,
        pipelines={"talk": RECALLING},
        auth={"registrations_per_hour": 0},
        limits=UNLIMITED,
    ) as running:
        yield running


@pytest.fixture(scope="module")
async def client(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of_many(house) as opened:
        yield opened


@pytest.fixture(scope="module")
async def paths(client: httpx2.AsyncClient) -> Mapping[str, Any]:
    """All that the server says it has."""
    return (await client.get("/openapi.json")).json()["paths"]


@pytest.fixture(scope="module")
async def eve(house: Served) -> Person:
    """Somebody whom no test changes."""
    return await person(house, "eve")


@dataclass
class Victim:
    """Whom everybody attacks: each attack has to leave what the one before has left."""

    person: Person
    left: list[Any]


@pytest.fixture(scope="module")
async def adam(house: Served) -> Person:
    """An attacker who was there before his victim."""
    return await person(house, "adam")


@pytest.fixture(scope="module")
async def dora(house: Served, client: httpx2.AsyncClient, adam: Person) -> Victim:
    dora = await person(house, "dora")
    return Victim(dora, await state(house, client, dora))


@pytest.fixture
async def ann(house: Served) -> Person:
    return await person(house, "ann")


@pytest.fixture
async def ben(house: Served) -> Person:
    return await person(house, "ben")


@pytest.fixture
def nobody() -> Person:
    return Person(
        f"zoe{uuid4().hex[:8]}", uuid4().hex, *(str(uuid4()) for _ in range(4)), call_id="call_0none"
    )


async def state(house: Served, client: httpx2.AsyncClient, victim: Person) -> list[Any]:
    """Everything of theirs that could have been changed, and whether they can still come in."""
    paths = ["users/me", "users/me/profile", "users/me/stats", f"sessions/{victim.session_id}"]
    paths += ["memories?limit=100", "sessions?archived=all&page_size=100"]
    found: list[Any] = [
        (await client.get(f"/v1/{path}", headers=bearer(victim.key))).json() for path in paths
    ]
    assert victim.mark in str(found)
    found.append((await client.get("/v1/models/mia", headers=bearer(victim.other_token))).status_code)
    user = await house.identity.find_user(victim.name)
    keys = await house.identity.keys(user.id)
    return [*found, user.role, user.has_second_factor, [replace(key, last_used_at=None) for key in keys]]


def told(response: httpx2.Response, target: Person) -> tuple[int, dict[str, str], str]:
    """All of an answer but what is of the moment."""
    headers = {name: value for name, value in response.headers.items() if name not in OF_THE_MOMENT}
    text = response.text.replace(response.headers["x-request-id"], "request")
    return response.status_code, headers, VARYING.sub("", target.blur(text))


def holds(response: httpx2.Response, victim: Person, named: bool) -> list[str]:
    """What of a victim's an answer gives away; not what stood in the question."""
    secrets = ("mark",) if named else ("mark", "session_id", "key_id", "memory_id")
    return [name for name in secrets if victim.ids[name] in response.text]


@asynccontextmanager
async def nothing_changes(house: Served, client: httpx2.AsyncClient, victim: Person) -> AsyncIterator[None]:
    before = await state(house, client, victim)
    yield
    assert await state(house, client, victim) == before


EVERY = [
    pytest.param(route, attack, id=f"{route} {n}" if n else route)
    for route, attacks in ATTACKS.items()
    for n, attack in enumerate(attacks)
]
NAMING = [case for case in EVERY if cast("Attack", case.values[1]).kind == "names"]


async def test_every_route_is_among_those_that_are_attacked(paths: Mapping[str, Any]) -> None:
    described = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    # a document does not tell of itself
    assert described | {"GET /openapi.json", "GET /docs"} == set(ATTACKS)


@pytest.mark.parametrize(("route", "attack"), EVERY)
async def test_nobody_reaches_what_is_anothers(
    house: Served,
    client: httpx2.AsyncClient,
    dora: Victim,
    adam: Person,
    ben: Person,
    nobody: Person,
    route: str,
    attack: Attack,
) -> None:
    names, victim = attack.kind == "names", dora.person
    for attacker, credential, other_status in ((ben, ben.token, None), (adam, adam.key, attack.key_status)):
        attacked = await sent(client, route, attack, victim, attacker, credential)
        assert attacked.status_code == (other_status or attack.status), attacked.text
        assert holds(attacked, victim, names) == []
        if names or route.startswith("GET /v1/users"):
            missing = await sent(client, route, attack, nobody, attacker, credential)
            assert told(attacked, victim) == told(missing, nobody)
    before, dora.left = dora.left, await state(house, client, victim)
    assert dora.left == before


@pytest.mark.parametrize(("route", "attack"), NAMING)
async def test_whose_it_is_is_let_in(
    client: httpx2.AsyncClient, ann: Person, route: str, attack: Attack
) -> None:
    response = await sent(client, route, attack, ann, ann, ann.token)
    assert response.status_code == attack.owner_status, response.text


@pytest.mark.parametrize(("route", "attack"), EVERY)
async def test_who_is_nobody_is_let_in_where_it_says_so_alone(
    client: httpx2.AsyncClient,
    paths: Mapping[str, Any],
    eve: Person,
    nobody: Person,
    route: str,
    attack: Attack,
) -> None:
    method, _, path = route.partition(" ")
    response = await sent(client, route, attack, eve, eve if route.endswith(("login", "refresh")) else nobody)
    if "security" in paths.get(path, {}).get(method.lower(), {}):
        is_told_in_the_chat = attack.body is not None and attack.body.get("stream")
        assert response.status_code == (200 if is_told_in_the_chat else 401)
        assert holds(response, eve, named=False) == []
    else:
        assert response.status_code == attack.status


async def test_lists_hold_ones_own_alone(client: httpx2.AsyncClient, ann: Person, ben: Person) -> None:
    paths = ["memories?limit=100", "memories?query=tea", "sessions?archived=all&page_size=100"]
    paths += ["users/me/keys", "users/me/stats"]
    texts = [(await client.get(f"/v1/{path}", headers=bearer(ben.token))).text for path in paths]
    assert all(value not in "".join(texts) for value in ann.ids.values())
    assert all(ben.mark in text for text in texts[:4])


async def test_a_deleted_session_is_as_one_that_never_was(
    client: httpx2.AsyncClient, ann: Person, nobody: Person
) -> None:
    gone = await client.delete(f"/v1/sessions/{ann.session_id}", headers=bearer(ann.token))
    assert gone.status_code == 200
    for case in NAMING:
        route, attack = cast("tuple[str, Attack]", case.values)
        if "{session_id}" in f"{route} {attack.body}" and "{user_id}" not in route:
            deleted = await sent(client, route, attack, ann, ann, ann.token)
            never = await sent(client, route, attack, nobody, ann, ann.token)
            assert told(deleted, ann) == told(never, nobody), route


# -- turns ---------------------------------------------------------------------------------------------

Asking = Callable[..., Awaitable[httpx2.Response]]


def asking(client: httpx2.AsyncClient, who: Person) -> Asking:
    async def ask(
        messages: Any = SAID, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        body = {"model": "mia", "messages": messages, **fields}
        return await client.post(CHAT, json=body, headers=bearer(who.token) | dict(headers or {}))

    return ask


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"user": "{user_id}"}, id="user"),
        pytest.param({"user": "{name}", "safety_identifier": "{name}"}, id="their name"),
        pytest.param({"metadata": {"user_id": "{user_id}"}}, id="metadata"),
        pytest.param({"personality_id": "mia", "user_id": "{user_id}"}, id="CozyChat's user_id"),
    ],
)
async def test_a_turn_is_told_and_kept_for_whoever_brings_the_credential(
    house: Served, client: httpx2.AsyncClient, ann: Person, ben: Person, up: Upstream, fields: dict[str, Any]
) -> None:
    flat = "personality_id" in fields
    place = {"session_id": ben.session_id} if flat else {"cozy": {"session_id": ben.session_id}}
    async with nothing_changes(house, client, ann):
        answer = await asking(client, ben)(headers=hints(ann)["headers"], **ann.fill(fields), **place)
        assert answer.status_code == 200, answer.text
    prompt = str(up.requests[-1].body["messages"])
    assert ben.name in prompt, "what is remembered of the caller is told"
    assert ann.mark not in prompt
    kept = await client.get(f"/v1/sessions/{ben.session_id}", headers=bearer(ben.token))
    assert [message["content"] for message in kept.json()["messages"]][-2:] == ["tea?", "Hi there"]


async def test_an_idempotency_key_is_its_users_own(
    client: httpx2.AsyncClient, ann: Person, ben: Person, up: Upstream
) -> None:
    ann_asks, ben_asks = asking(client, ann), asking(client, ben)
    key = {"idempotency-key": uuid4().hex}
    up.then(says("for ann alone"), says("for ben alone"))
    answers = [await ann_asks(headers=key), await ben_asks(headers=key), await ann_asks(headers=key)]
    said = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert said == ["for ann alone", "for ben alone", "for ann alone"]
    new = {"idempotency-key": uuid4().hex}
    assert (await ann_asks(headers=new)).status_code == 200
    assert (await ben_asks(headers=new, temperature=0)).status_code == 200
    assert (await ann_asks(headers=new, temperature=0)).status_code == 409, "hers alone is used up"


async def test_a_turn_under_way_is_nobody_elses_business(
    client: httpx2.AsyncClient, ann: Person, ben: Person, up: Upstream
) -> None:
    key = {"idempotency-key": uuid4().hex}
    up.then(Answer((sse(chunk("ann's")), Hold("end"), sse(chunk(finish="stop"), "[DONE]"))), says("ben's"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: asking(client, ann)(headers=key))
        await up.reached("end")
        other = await asking(client, ben)(headers=key)
        assert other.json()["choices"][0]["message"]["content"] == "ben's"
        up.open("end")


@pytest.mark.parametrize("retried", [False, True], ids=["asked", "asked again"])
async def test_rounds_of_tools_are_taken_up_by_their_user_alone(
    client: httpx2.AsyncClient, ann: Person, ben: Person, nobody: Person, up: Upstream, retried: bool
) -> None:
    weather = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    headers = {"x-stainless-retry-count": "1"} if retried else {}
    up.then(calls(("calculator", '{"expression": "6*7"}'), ("weather", "{}")))
    answer = await asking(client, ann)(tools=[weather])
    message = answer.json()["choices"][0]["message"]
    [call] = message["tool_calls"]

    async def resumed(who: Person, call_id: str, **fields: Any) -> tuple[int, str]:
        """What comes of it: the model is asked with this, or the client is told that."""
        messages = [
            *SAID,
            {**message, "tool_calls": [{**call, "id": call_id}]},
            {"role": "tool", "tool_call_id": call_id, "content": "rain"},
        ]
        answer = await asking(client, who)(messages, tools=[weather], headers=headers, **fields)
        text = answer.text.replace(answer.headers["x-request-id"], "request")
        if answer.status_code == 200:
            text = str([m for m in up.requests[-1].body["messages"] if m["role"] != "system"])
        return answer.status_code, text.replace(call_id, "call")

    assert await resumed(ben, call["id"]) == await resumed(ben, "call_of_nobody")
    ours = "'content': '42'"
    assert ours not in (await resumed(ben, call["id"]))[1]
    assert ours in (await resumed(ann, call["id"]))[1], "what our own tool gave"
    own, theirs, none = ({"cozy": {"session_id": one.session_id}} for one in (ben, ann, nobody))
    assert await resumed(ben, call["id"], **own) == await resumed(ben, "call_of_nobody", **own)
    refused, missing = await resumed(ben, call["id"], **theirs), await resumed(ben, call["id"], **none)
    assert (refused[0], ann.blur(refused[1])) == (missing[0], nobody.blur(missing[1]))
    assert missing[0] == 404


async def test_the_retry_of_anothers_request_is_not_found(
    client: httpx2.AsyncClient, ann: Person, ben: Person, nobody: Person, up: Upstream
) -> None:
    retry = {"x-stainless-retry-count": "1"}
    told_ann = await asking(client, ann)(cozy={"session_id": ann.session_id})
    assert told_ann.status_code == 200
    refused = await asking(client, ben)(headers=retry, cozy={"session_id": ann.session_id})
    missing = await asking(client, ben)(headers=retry, cozy={"session_id": nobody.session_id})
    assert told(refused, ann) == told(missing, nobody)
    assert refused.status_code == 404
    assert len(up.requests) == 1
