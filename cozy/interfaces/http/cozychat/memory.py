"""What Cozy remembers of its caller: read, searched, mended and forgotten by them alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cozy.errors import InvalidRequest, NotFound, NotImplementedYet
from cozy.interfaces.http.cozychat.routes import (
    Done,
    Given,
    Moment,
    Taken,
    also,
    own_id,
    route,
    session_in,
)
from cozy.interfaces.http.endpoint import Call
from cozy.ports.memory import MemoryItem
from cozy.turn import UserId

MOST_FOUND = 100


class NewMemory(Taken):
    content: str = Field(min_length=1, max_length=4000)
    user_id: str | None = None
    """Only ever the caller's own."""


class MadeMemory(Given):
    memory_id: str


class MemoryQuery(Taken):
    query: str = Field(default="", max_length=2000)
    """What is looked for; empty: the newest."""
    limit: int = Field(default=20, ge=1, le=MOST_FOUND)


class MemorySearch(Taken):
    query: str = Field(max_length=2000)
    limit: int = Field(default=5, ge=1, le=MOST_FOUND)
    user_id: str | None = None
    """Only ever the caller's own."""


class OwnerQuery(Taken):
    user_id: str | None = None
    """Only ever the caller's own."""


class Memory(Given):
    id: str
    user_id: str
    content: str
    memory_type: Literal["user"] = "user"
    created_at: Moment


class MemoryList(Given):
    memories: list[Memory]
    total: int


class FoundMemory(Given):
    memory: Memory
    similarity: float | None
    """How well it fits, at most 1; None where nothing was looked for."""
    distance: float | None


class FoundMemories(Given):
    results: list[FoundMemory]
    total_count: int


class MemoryChange(Taken):
    content: str = Field(min_length=1, max_length=4000)


class MemoryStats(Given):
    user_id: str
    total_memories: int
    newest_at: Moment | None


class Forgotten(Done):
    deleted: int


class MemoryHealth(Given):
    status: Literal["ok"] = "ok"


@route("GET", "/v1/memories", query=MemoryQuery, gives=MemoryList)
async def list_(call: Call[None, MemoryQuery]) -> MemoryList:
    """List what is remembered of the caller, the newest or what fits `query` best."""
    user_id, query = call.caller.user_id, call.query
    memories = call.service.engine.ports.memories
    if query.query.strip():
        found = await memories.search(query.query, user_id=user_id, top_k=query.limit)
        return MemoryList(memories=[_memory(item, user_id) for item in found], total=len(found))
    items = await memories.items(user_id)
    return MemoryList(memories=[_memory(item, user_id) for item in items[: query.limit]], total=len(items))


@route("POST", "/v1/memories", body=NewMemory, gives=MadeMemory, status=201, errors=(404,))
async def create(call: Call[NewMemory, None]) -> MadeMemory:
    """Have something remembered of the caller."""
    _own(call, call.body.user_id)
    item = await call.service.engine.ports.memories.add(call.caller.user_id, _content(call.body.content))
    return MadeMemory(memory_id=item.id)


@route("POST", "/v1/memories/search", body=MemorySearch, gives=FoundMemories, errors=(404,))
async def search(call: Call[MemorySearch, None]) -> FoundMemories:
    """Find what is remembered of the caller, best first."""
    _own(call, call.body.user_id)
    user_id = call.caller.user_id
    found = await call.service.engine.ports.memories.search(
        call.body.query, user_id=user_id, top_k=call.body.limit
    )
    results = [
        FoundMemory(
            memory=_memory(item, user_id),
            similarity=item.score,
            distance=None if item.score is None else max(0.0, 1 - item.score),
        )
        for item in found
    ]
    return FoundMemories(results=results, total_count=len(results))


@route("PUT", "/v1/memories/{memory_id}", body=MemoryChange, gives=Done)
async def change(call: Call[MemoryChange, None]) -> Done:
    """Say better what is remembered."""
    memories = call.service.engine.ports.memories
    await memories.edit(call.caller.user_id, call.path("memory_id"), _content(call.body.content))
    return Done(message="changed")


@route("DELETE", "/v1/memories", gives=Forgotten)
async def forget_all(call: Call[None, None]) -> Forgotten:
    """Forget everything that is remembered of the caller."""
    gone = await call.service.engine.ports.memories.forget(call.caller.user_id)
    return Forgotten(message="forgotten", deleted=gone)


@route("DELETE", "/v1/memories/{memory_id}", query=OwnerQuery, gives=Forgotten)
async def forget(call: Call[None, OwnerQuery]) -> Forgotten:
    """Forget one thing."""
    _own(call, call.query.user_id)
    gone = await call.service.engine.ports.memories.forget(call.caller.user_id, call.path("memory_id"))
    return Forgotten(message="forgotten", deleted=gone)


@route("GET", "/v1/memories/stats/{user_id}", gives=MemoryStats)
async def stats(call: Call[None, None]) -> MemoryStats:
    """Count what is remembered of the caller."""
    user_id = own_id(call)
    items = await call.service.engine.ports.memories.items(user_id)
    newest = max((item.created_at for item in items), default=None)
    return MemoryStats(user_id=str(user_id), total_memories=len(items), newest_at=newest)


@route("DELETE", "/v1/memories/session/{user_id}/{session_id}", errors=(501,))
async def forget_session(call: Call[None, None]) -> None:
    """Refuse: what was learned is kept by what it says, not by where it was said."""
    user_id = own_id(call)
    await call.service.engine.ports.store.session(user_id, session_in(call))
    raise NotImplementedYet("forgetting by session")


@route("GET", "/v1/memories/health", gives=MemoryHealth)
async def health(call: Call[None, None]) -> MemoryHealth:
    """Tell that memories can be read."""
    await call.service.engine.ports.memories.search("", user_id=call.caller.user_id, top_k=1)
    return MemoryHealth()


def _memory(item: MemoryItem, user_id: UserId) -> Memory:
    return Memory(id=item.id, user_id=str(user_id), content=item.text, created_at=item.created_at)


def _own(call: Call[Any, Any], named: str | None) -> None:
    """A client may say whose memories it means, as long as they are the caller's own."""
    if named not in (None, "", "me", str(call.caller.user_id)):
        raise NotFound("user", named[:100])


def _content(text: str) -> str:
    if not text.strip():
        raise InvalidRequest("`content`: there is nothing in it", param="content")
    return text


ENDPOINTS = (
    list_,
    create,
    forget_all,
    search,
    stats,
    health,
    forget_session,
    change,
    forget,
    # as the original names them
    also(create, "/v1/memory/"),
    also(create, "/v1/memory"),
    also(search, "/v1/memory/search"),
    also(stats, "/v1/memory/stats/{user_id}"),
    also(health, "/v1/memory/health"),
    also(forget_session, "/v1/memory/session/{user_id}/{session_id}"),
    also(forget, "/v1/memory/{memory_id}"),
)
