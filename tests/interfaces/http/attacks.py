"""Every route, and how one user would reach for what is another's through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.interfaces.http.serving import PASSWORD

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
