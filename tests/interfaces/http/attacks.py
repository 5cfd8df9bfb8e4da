"""Every route, how one user would reach for what is another's through it, and whom these are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast
from uuid import uuid4

import httpx2

from cozy.ports.identity import UserChange
from cozy.ports.sessions import Words
from tests.interfaces.http.serving import PASSWORD, Served

SAID = [{"role": "user", "content": "tea?"}]
RESULT = {"role": "tool", "tool_call_id": "{call_id}", "content": "rain"}


@dataclass(frozen=True, slots=True)
class Attack:
    """A request; `{session_id}` and its like in it are ids of whom it is aimed at."""

    kind: Literal["names", "own", "shared", "admin"]
    """It names a thing of somebody's, does something of the caller's own, has nothing to do with users, or is
    for admins alone."""
    status: int
    """Of its answer to a login: for `names`, where the thing is not the caller's."""
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    path: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parts of the path that are no ids of whom it is aimed at."""
    key_status: int | None = None
    """Of its answer to an API key, where that is another one."""
    owner_status: int = 200
    """Of `names`, where the thing is the caller's."""


def names(body: Mapping[str, Any] | None = None, **rest: Any) -> Attack:
    return Attack("names", rest.pop("status", 404), body, **rest)


def own(body: Mapping[str, Any] | None = None, **rest: Any) -> Attack:
    return Attack("own", rest.pop("status", 200), body, **rest)


def by_login(body: Mapping[str, Any] | None = None, **rest: Any) -> Attack:
    """What nobody does with a key."""
    return own(body, key_status=403, **rest)


def shared(body: Mapping[str, Any] | None = None, **rest: Any) -> Attack:
    return Attack("shared", rest.pop("status", 200), body, **rest)


ADMIN = Attack("admin", 403, {})
LATER = shared({}, status=501)
_NEW_SESSION = own({"title": "mine", "personality_id": "mia"}, status=201)
_NEW_MEMORY = (
    own({"content": "I like rain", "user_id": "{user_id}"}, status=201),
    names({"content": "attacked", "user_id": "{user_id}"}, owner_status=201),
)
_SEARCH = (own({"query": "tea", "user_id": "{user_id}"}), names({"query": "tea", "user_id": "{user_id}"}))
_FORGET = (names(query={"user_id": "{user_id}"}), names(query={"user_id": "{own_id}"}), names())
_FORGET_SESSION = (names(owner_status=501), names(path={"user_id": "me"}, owner_status=501))
_REGISTER = own({"username": "{fresh}", "password": PASSWORD}, status=201)
_LOGIN = own({"username": "{name}", "password": PASSWORD})
_REFRESH = own({"refresh_token": "{refresh}"})
_RENAME = names({"title": "attacked", "archived": True})
_BIO = {"bio": "attacked"}

ATTACKS: Mapping[str, tuple[Attack, ...]] = {
    "POST /v1/chat/completions": (
        names({"model": "mia", "messages": SAID, "cozy": {"session_id": "{session_id}"}}),
        names({"messages": [RESULT], "cozy": {"session_id": "{session_id}"}}, owner_status=400),
        names({"personality_id": "mia", "session_id": "{session_id}", "messages": SAID}),
        names({"session_id": "{session_id}", "messages": SAID, "stream": True}, status=200),
        own({"model": "mia", "messages": SAID, "user": "{user_id}", "metadata": {"user_id": "{user_id}"}}),
        own({"messages": SAID, "user_id": "{user_id}"}, status=400),
        own({"messages": SAID, "cozy": {"user_id": "{user_id}"}}, status=400),
        own({"personality_id": "mia", "messages": SAID, "user_id": "{user_id}"}),
    ),
    "GET /v1/models": (shared(),),
    "GET /v1/models/{id}": (shared(path={"id": "mia"}),),
    # users
    "POST /v1/users/register": (_REGISTER,),
    "POST /v1/auth/register": (_REGISTER,),
    "POST /v1/users/login": (_LOGIN,),
    "POST /v1/auth/login": (_LOGIN,),
    "POST /v1/users/refresh": (_REFRESH,),
    "POST /v1/auth/refresh": (_REFRESH,),
    "POST /v1/users/logout": (by_login({}),),
    "POST /v1/auth/logout": (by_login({}),),
    "PUT /v1/users/me/password": (by_login({"old_password": PASSWORD, "new_password": PASSWORD}),),
    "POST /v1/users/me/second-factor": (by_login({}),),
    "POST /v1/users/me/second-factor/confirm": (by_login({"code": "000000"}, status=400),),
    "DELETE /v1/users/me/second-factor": (by_login({"password": PASSWORD}),),
    "GET /v1/users/me/preferences": (own(),),
    "PUT /v1/users/me/preferences": (own({"auto_tts": True}),),
    "GET /v1/users/me/keys": (own(),),
    "POST /v1/users/me/keys": (by_login({"name": "mine"}, status=201),),
    "DELETE /v1/users/me/keys/{key_id}": (names(key_status=403),),
    "GET /v1/users/me": (own(),),
    "PUT /v1/users/me": (own(_BIO),),
    "GET /v1/users/me/profile": (own(),),
    "GET /v1/users/me/stats": (own(),),
    "GET /v1/users/{user_id}": (names(),),
    "PUT /v1/users/{user_id}": (names(_BIO),),
    "GET /v1/users/{user_id}/profile": (names(),),
    "PUT /v1/users/{user_id}/profile": (names(_BIO),),
    # sessions
    **{
        f"{method} {place}{path}": (attack,)
        for place in ("/v1/sessions", "/v1/chat/sessions")
        for method, path, attack in (
            ("POST", "", _NEW_SESSION),
            ("GET", "", own(query={"archived": "all", "page_size": "100"})),
            ("GET", "/{session_id}", names()),
            ("GET", "/{session_id}/messages", names()),
            ("PUT", "/{session_id}", _RENAME),
            ("POST", "/{session_id}/archive", names()),
            ("POST", "/{session_id}/unarchive", names()),
            ("DELETE", "/{session_id}", names()),
        )
    },
    "POST /v1/chat/voice-call-messages": (names({"session_id": "{session_id}", "messages": SAID}),),
    # what there is for everybody
    "GET /v1/personalities": (shared(),),
    "POST /v1/personalities": (ADMIN,),
    "GET /v1/personalities/{id}": (shared(path={"id": "mia"}),),
    "PUT /v1/personalities/{id}": (Attack("admin", 403, {}, path={"id": "mia"}),),
    "POST /v1/personalities/reload": (ADMIN,),
    "POST /v1/admin/users/{user_id}/erasure": (ADMIN,),
    "GET /v1/admin/users/{user_id}/erasure": (ADMIN,),
    "GET /v1/tools": (shared(),),
    "POST /v1/tools/refresh": (ADMIN,),
    "POST /v1/tools/execute": (own({"tool_name": "calculator", "parameters": {"expression": "6*7"}}),),
    # memories
    "GET /v1/memories": (own(), own(query={"query": "tea", "limit": "100"})),
    "POST /v1/memories": _NEW_MEMORY,
    "DELETE /v1/memories": (own({}),),
    "POST /v1/memories/search": _SEARCH,
    "GET /v1/memories/stats/{user_id}": (names(),),
    "GET /v1/memories/health": (own(),),
    "DELETE /v1/memories/session/{user_id}/{session_id}": _FORGET_SESSION,
    "PUT /v1/memories/{memory_id}": (names({"content": "attacked"}),),
    "DELETE /v1/memories/{memory_id}": _FORGET,
    "POST /v1/memory/": _NEW_MEMORY,
    "POST /v1/memory": _NEW_MEMORY,
    "POST /v1/memory/search": _SEARCH,
    "GET /v1/memory/stats/{user_id}": (names(),),
    "GET /v1/memory/health": (own(),),
    "DELETE /v1/memory/session/{user_id}/{session_id}": _FORGET_SESSION,
    "DELETE /v1/memory/{memory_id}": _FORGET,
    # voice
    "GET /v1/config/openai-config": (shared(),),
    "GET /v1/config/realtime-config": (shared(),),
    "POST /v1/config/realtime-token": (LATER,),
    **{
        f"POST /v1/audio/{path}": (LATER,)
        for path in ("transcriptions", "speech", "stt", "tts", "speech/stream", "tts/stream")
    },
    "POST /v1/realtime/calls": (LATER,),
    "POST /v1/realtime/webrtc/session": (LATER,),
    # operators
    **{
        f"GET {path}": (shared(),)
        for path in ("/", "/v1/health", "/v1/chat/engines", "/health/live", "/health/ready", "/health")
    },
    "GET /metrics": (shared(),),
    "GET /openapi.json": (shared(),),
    "GET /docs": (shared(),),
}

CHAT = "/v1/chat/completions"
NAMED = re.compile(r"\{(\w+)\}")


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


def client_of_many(house: Served) -> httpx2.AsyncClient:
    """For all tests of a module, who bring their credentials with them: to make one takes longer than to ask.

    It lets a connection go long before the server does, which might else be in the moment of asking.
    """
    return httpx2.AsyncClient(base_url=house.url, timeout=60, limits=httpx2.Limits(keepalive_expiry=1))


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


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
