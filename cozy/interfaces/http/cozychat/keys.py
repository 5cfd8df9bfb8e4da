"""A user's own API keys, for OpenAI's clients."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cozy.interfaces.http.cozychat.routes import Done, Given, Moment, Taken, TakenMoment, route, uuid_of
from cozy.interfaces.http.cozychat.users import logged_in
from cozy.interfaces.http.endpoint import Call
from cozy.ports.identity import ApiKey, Scope


class NewKey(Taken):
    name: str = Field(max_length=400)
    """For people, to tell keys apart."""
    scopes: list[Scope] = Field(default=["chat", "account"], min_length=1)
    expires_at: TakenMoment | None = None


class KeyGiven(Given):
    id: str
    name: str
    prefix: str
    """How the key begins."""
    scopes: list[Scope]
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None


class MadeKey(KeyGiven):
    key: str = Field(repr=False)
    """Told this once."""


class KeyList(Given):
    keys: list[KeyGiven]
    total: int


@route("GET", "/v1/users/me/keys", gives=KeyList)
async def list_(call: Call[None, None]) -> KeyList:
    """List one's API keys, newest first, revoked ones too."""
    keys = await call.service.identity.keys(call.caller.user_id)
    return KeyList(keys=[KeyGiven(**_fields(key)) for key in keys], total=len(keys))


@route("POST", "/v1/users/me/keys", body=NewKey, gives=MadeKey, status=201)
async def create(call: Call[NewKey, None]) -> MadeKey:
    """Make an API key. It is told this once."""
    caller, wanted = logged_in(call), call.body
    key, words = await call.service.identity.create_key(
        caller.user_id, wanted.name, scopes=wanted.scopes, expires_at=wanted.expires_at
    )
    await call.note("key.created", key=str(key.id), scopes=list(key.scopes))
    return MadeKey(**_fields(key), key=words)


@route("DELETE", "/v1/users/me/keys/{key_id}", gives=Done)
async def revoke(call: Call[None, None]) -> Done:
    """Revoke an API key: it is not good any more."""
    caller = logged_in(call)
    key_id = uuid_of(call.path("key_id"), "key_id")
    await call.service.identity.revoke_key(caller.user_id, key_id)
    await call.note("key.revoked", key=str(key_id))
    return Done(message="the key is revoked")


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


ENDPOINTS = (list_, create, revoke)
