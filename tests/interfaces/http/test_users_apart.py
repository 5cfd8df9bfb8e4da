"""Two users attack each other's ids over every route: another's id is as one that does not exist, and nobody
can say that they are somebody else."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import anyio
import httpx2
import pytest

from cozy.ports.identity import UserChange
from cozy.ports.sessions import Words
from tests.interfaces.http.attacks import ATTACKS, SAID, Attack
from tests.interfaces.http.conftest import PERSONALITIES, TALK, UNLIMITED
from tests.interfaces.http.serving import PASSWORD, Served, served
from tests.upstream import Answer, Hold, Upstream, calls, chunk, says, sse

CHAT = "/v1/chat/completions"
NAMED = re.compile(r"\{(\w+)\}")
VARYING = re.compile(r'chatcmpl-[0-9a-f]{32}|"created":\d+|"last_used_at":("[^"]*"|null)')
OF_THE_MOMENT = ("x-request-id", "date", "server-timing", "content-length")
RECALLING = TALK.replace(
    "  budget:",
    "  memory:\n    type: fetch_context\n    source: memory\n"
    "  profile:\n    type: fetch_context\n    source: profile\n  budget:",
)


@dataclass(frozen=True, slots=True)
class Person:
    """A user with one of everything, or nobody whose ids look the same."""

    name: str
    mark: str
    """Stands in all that they have, and nowhere else."""
    user_id: str
    session_id: str
    key_id: str
    memory_id: str
    call_id: str
    token: str = ""
    other_token: str = ""
    """Of another login."""
    key: str = ""
    own_id: str = ""
    """Of the user who attacks."""
    refreshes: Iterator[str] = field(default_factory=lambda: iter(()))

    @property
    def refresh(self) -> str:
        """A refresh token: good once."""
        return next(self.refreshes)

    @property
    def fresh(self) -> str:
        """A name that nobody has."""
        return f"new{uuid4().hex[:12]}"

    @property
    def ids(self) -> Mapping[str, str]:
        names = ("name", "mark", "user_id", "session_id", "key_id", "memory_id", "call_id")
        return {name: getattr(self, name) for name in names}

    def fill(self, template: Any) -> Any:
        """A part of an attack, aimed at this person."""
        if isinstance(template, str):
            return NAMED.sub(lambda match: getattr(self, match[1]), template)
        if isinstance(template, Mapping):
            return {name: self.fill(value) for name, value in cast("Mapping[str, Any]", template).items()}
        return [self.fill(item) for item in template] if isinstance(template, list) else template

    def blur(self, text: str) -> str:
        """`text` without the ids, which are all that may differ."""
        for name, value in self.ids.items():
            text = text.replace(value, name)
        return text


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
    """One for everybody, who bring their credentials with them: to make one takes longer than to ask."""
    async with house.http() as opened:
        yield opened


@pytest.fixture(scope="module")
async def paths(client: httpx2.AsyncClient) -> Mapping[str, Any]:
    """All that the server says it has."""
    return (await client.get("/openapi.json")).json()["paths"]


@pytest.fixture(scope="module")
async def eve(house: Served) -> Person:
    """Somebody whom no test changes."""
    return await person(house, "eve")


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


async def person(house: Served, name: str) -> Person:
    """Somebody new, who has a mark on everything."""
    name, mark = name + uuid4().hex[:8], uuid4().hex
    user = await house.user(name)
    logins = [await house.identity.login(name, PASSWORD) for _ in range(4)]
    made, words = await house.identity.create_key(user.id, mark)
    said = [Words("user", f"my diary: {mark}"), Words("assistant", mark)]
    session = await house.service.sessions.create(user.id, "mia", title=mark, first=said)
    memory = await house.service.engine.ports.memories.add(user.id, f"{name} likes tea {mark}")
    await house.identity.change_user(user.id, UserChange(mark, {"bio": mark}, {"theme": "pink"}))
    return Person(
        name=name,
        mark=mark,
        user_id=str(user.id),
        session_id=str(session.id),
        key_id=str(made.id),
        memory_id=memory.id,
        call_id=f"call_{mark[:6]}",
        token=logins[0].access,
        other_token=logins[1].access,
        key=words,
        refreshes=iter([one.refresh for one in logins[2:]]),
    )


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


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


def hints(victim: Person) -> dict[str, Any]:
    """Ways of saying that one is somebody else, for a request without a body of its own."""
    id_, name = victim.user_id, victim.name
    headers = dict.fromkeys(
        ("x-user-id", "x-user", "x-cozy-user", "x-forwarded-user", "x-auth-request-user", "remote-user"), id_
    )
    headers |= {"x-username": name, "cookie": f"user_id={id_}; user={name}", "from": name}
    query = dict.fromkeys(("user", "user_id", "owner", "owner_id", "cozy.user_id", "metadata.user_id"), id_)
    return {"headers": headers, "params": query | {"username": name, "as": name}}


def said_by(victim: Person) -> dict[str, Any]:
    """The same, in a body that takes what it does not know."""
    id_ = victim.user_id
    told = dict.fromkeys(("user", "user_id", "owner", "owner_id", "id"), id_)
    return {**told, "cozy": {"user_id": id_}, "metadata": {"user_id": id_}}


async def sent(
    client: httpx2.AsyncClient,
    route: str,
    attack: Attack,
    target: Person,
    attacker: Person,
    credential: str | None = None,
) -> httpx2.Response:
    """The attack, aimed at `target`."""
    method, _, path = route.partition(" ")
    aimed, more = replace(target, own_id=attacker.user_id), hints(target)
    if attack.kind == "names":
        body, more["params"] = aimed.fill(attack.body), aimed.fill(attack.query)
    elif path == CHAT:  # it takes no field that it does not know
        body = aimed.fill(attack.body)
    else:  # what the route needs is the attacker's own, and the rest says whose else
        mine = attacker.fill(attack.body)
        body = mine if mine is None else said_by(target) | mine
        more["params"] |= attack.query
    place = NAMED.sub(lambda match: attack.path.get(match[1]) or getattr(aimed, match[1]), path)
    more["headers"] |= bearer(credential) if credential else {}
    return await client.request(method, place, json=body, **more)


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
    ann: Person,
    ben: Person,
    nobody: Person,
    route: str,
    attack: Attack,
) -> None:
    names = attack.kind == "names"
    for attacker, victim in ((ben, ann), (ann, ben)):
        async with nothing_changes(house, client, victim):
            for credential in (attacker.token, attacker.key):
                by_key = credential == attacker.key
                attacked = await sent(client, route, attack, victim, attacker, credential)
                status = attack.key_status if by_key and attack.key_status else attack.status
                assert attacked.status_code == status, attacked.text
                assert holds(attacked, victim, names) == []
                if names or route.startswith("GET /v1/users"):
                    missing = await sent(client, route, attack, nobody, attacker, credential)
                    assert told(attacked, victim) == told(missing, nobody)


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
    assert "42" not in (await resumed(ben, call["id"]))[1]
    assert "42" in (await resumed(ann, call["id"]))[1], "what our own tool gave"
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
