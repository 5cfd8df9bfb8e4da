"""Mem0 as its own server and as the hosted platform: recorded bodies, and memories that are what was said."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

from tests.engines.server import FakeEngine, Reply, Request, overlap, recorded, running

KEY = "m0-admin-key-of-the-tests"
EMAIL, PASSWORD = "cozy@example.org", "a password of the tests"
SOMEBODY_ELSE = "00000000-0000-4000-8000-00000000e15e"
STRANGERS_SECRET = "The user hides gold under the bridge"


@dataclass
class Memory:
    id: str
    text: str
    user_id: str
    metadata: Any
    created_at: datetime

    def fields(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "memory": self.text,
            "user_id": self.user_id,
            "metadata": self.metadata,
            "created_at": self.created_at.isoformat(),
        }


class _Fake(FakeEngine):
    folder = "mem0"

    def __init__(self) -> None:
        super().__init__()
        self.memories: dict[str, Memory] = {}
        self._clock = datetime.now(UTC)

    def keep(self, user_id: str, text: str, metadata: Any = None) -> Memory:
        self._clock += timedelta(milliseconds=1)
        memory = Memory(str(uuid4()), text, user_id, metadata, self._clock)
        self.memories[memory.id] = memory
        return memory

    def of(self, user_id: str) -> list[Memory]:
        return [memory for memory in self.memories.values() if memory.user_id == user_id]

    def body(self, name: str, /, **values: Any) -> bytes:
        return recorded(f"{self.folder}/{name}", **values)

    def _learn(self, body: Mapping[str, Any]) -> list[Memory]:
        """What the user said is what is extracted; a repeat is nothing new."""
        told = [message["content"] for message in body["messages"] if message["role"] == "user"]
        known = {memory.text for memory in self.of(body["user_id"])}
        return [
            self.keep(body["user_id"], text, body.get("metadata"))
            for text in dict.fromkeys(told)
            if text not in known or not body.get("infer", True)
        ]

    def _found(self, body: Mapping[str, Any]) -> list[bytes]:
        user_id = SOMEBODY_ELSE if self.fault == "another_user" else body["filters"]["user_id"]
        memories = self.of(user_id)
        if self.fault == "another_user":
            memories = [Memory(str(uuid4()), STRANGERS_SECRET, SOMEBODY_ELSE, None, self._clock)]
        scored = [(overlap(body["query"], memory.text), memory) for memory in memories]
        best = sorted(scored, key=lambda pair: -pair[0])
        if self.fault != "another_user":
            best = [pair for pair in best if pair[0] >= body.get("threshold", 0.1)]
        return [
            self.body("search_item", score=round(score, 4), **memory.fields())
            for score, memory in best[: body.get("top_k", 20)]
        ]

    def _listed(self, user_id: str) -> list[bytes]:
        memories = self.of(user_id)
        if self.fault == "another_user":
            memories = [Memory(str(uuid4()), STRANGERS_SECRET, SOMEBODY_ELSE, None, self._clock)]
        return [self.body("listing_item", **memory.fields()) for memory in memories]

    def _one(self, method: str, key: str, request: Request) -> Reply:
        memory = self.memories.get(key)
        if method == "GET":
            if memory is None:
                return self._absent()
            found = memory.fields() | ({"user_id": SOMEBODY_ELSE} if self.fault == "another_user" else {})
            return Reply(self.body("listing_item", **found))
        if memory is None:
            return Reply(self.body("not_found"), 404)
        if method == "PUT":
            memory.text = request.json["text"]
            return Reply(self.body("updated"))
        del self.memories[key]
        return Reply(self.body("deleted"))

    def _absent(self) -> Reply:
        return Reply(self.body("not_found"), 404)


class FakeMem0(_Fake):
    """The server of one's own. With `KEY`, or an account that logs in; the account is no admin."""

    logins = ("/auth/login", "/auth/refresh")
    errors: ClassVar[Mapping[str, bytes]] = {
        "401": recorded("mem0/invalid_key"),
        "403": recorded("mem0/not_admin"),
        "429": recorded("mem0/rate_limited"),
        "500": recorded("mem0/internal"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.behind = ""
        """A `code` of a 502 that every call gets."""
        self.is_open = False
        """It was started with AUTH_DISABLED."""
        self.tokens: set[str] = set()
        self.refreshes: set[str] = set()
        self.login_limit: int | None = None

    def expire(self) -> None:
        """No token that was given out is good any more."""
        self.tokens.clear()

    def answer(self, request: Request) -> Reply:
        path, method = request.path, request.method
        if path == "/auth/setup-status":
            return Reply(self.body("setup_status"))
        if path in FakeMem0.logins:
            return self._login(request)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if self.behind:
            detail = "The model provider failed at http://10.1.2.3:4000/v1"
            return Reply(self.body("behind", detail=detail, code=self.behind), 502)
        match method, path.split("/")[1:]:
            case "POST", ["memories"]:
                return self._add(request)
            case "POST", ["search"]:
                body = request.json
                if not body.get("filters", {}).get("user_id") or not body["query"].strip():
                    return Reply(self.body("no_scope"), 400)
                return Reply(self.body("search", results=self._found(body)))
            case "GET", ["memories"]:
                listed = self._listed(request.query["user_id"])[: int(request.query.get("top_k", 20))]
                return Reply(self.body("search", results=listed))
            case "DELETE", ["memories"]:
                if request.headers.get("x-api-key") != KEY:
                    return Reply(self.body("not_admin"), 403)
                for memory in self.of(request.query["user_id"]):
                    del self.memories[memory.id]
                return Reply(self.body("all_deleted"))
            case _, ["memories", key]:
                try:
                    UUID(key)
                except ValueError:
                    return Reply(self.body("behind", detail="An error occurred", code="unknown"), 502)
                return self._one(method, key, request)
        return Reply(self.body("no_route"), 404)

    def _absent(self) -> Reply:
        return Reply(b"null")

    def _add(self, request: Request) -> Reply:
        body = request.json
        if not any(body.get(name) for name in ("user_id", "agent_id", "run_id")):
            return Reply(self.body("no_scope"), 400)
        name = "added" if body.get("infer", True) else "added_verbatim"
        added = [self.body(name, id=memory.id, memory=memory.text) for memory in self._learn(body)]
        return Reply(self.body("search", results=added))

    def _refusal(self, request: Request) -> Reply | None:
        key, bearer = request.headers.get("x-api-key"), request.headers.get("authorization", "")
        if self.is_open or key == KEY or bearer.removeprefix("Bearer ") in self.tokens:
            return None
        name = (
            "invalid_key" if key else "invalid_token" if bearer.startswith("Bearer ") else "unauthenticated"
        )
        return Reply(self.body(name), 401)

    def _login(self, request: Request) -> Reply:
        body = request.json
        if self.login_limit is not None and self.asked["POST /auth/login"] > self.login_limit:
            return Reply(self.body("rate_limited"), 429)
        if request.path == "/auth/refresh":
            if body["refresh_token"] not in self.refreshes:
                return Reply(self.body("invalid_token"), 401)
            self.refreshes.discard(body["refresh_token"])  # one use
        elif (body["email"], body["password"]) != (EMAIL, PASSWORD):
            return Reply(self.body("bad_login"), 401)
        access, refresh = f"access-{uuid4().hex}", f"refresh-{uuid4().hex}"
        self.tokens.add(access)
        self.refreshes.add(refresh)
        return Reply(self.body("login", access=access, refresh=refresh))


class FakeMem0Platform(_Fake):
    """The hosted one: slashes at the end, `Token` before the key, adds that wait in a queue."""

    folder = "mem0_platform"
    errors: ClassVar[Mapping[str, bytes]] = {
        "401": recorded("mem0_platform/invalid_key"),
        "403": recorded("mem0_platform/forbidden"),
        "429": recorded("mem0_platform/rate_limited"),
        "500": recorded("mem0_platform/internal"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.looks = 1
        """How often an event is looked at before it is done."""
        self.fails = False
        """Events that are added now end in FAILED."""
        self.arrays = False
        """Lists come bare, as the deprecated paths give them."""
        self._events: dict[str, tuple[list[int], Mapping[str, Any] | None, bool]] = {}
        self._results: dict[str, list[bytes]] = {}

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Token {KEY}":
            return Reply(self.body("invalid_key"), 401)
        if not request.path.endswith("/"):
            return Reply(self.body("not_found"), 404)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["v1", "ping"]:
                return Reply(self.body("ping"))
            case "POST", ["v3", "memories", "add"]:
                return self._add(request.json)
            case "GET", ["v1", "event", event]:
                return self._event(event)
            case "POST", ["v3", "memories", "search"]:
                body = request.json
                if "user_id" in body or "user_id" not in body["filters"]:
                    return Reply(self.body("bad_request"), 400)
                return Reply(self._list(self._found(body)))
            case "POST", ["v3", "memories"]:
                return self._page(request)
            case "DELETE", ["v1", "memories"]:
                return self._forget(request.query["user_id"])
            case method, ["v1", "memories", key]:
                return self._one(method, key, request)
        return Reply(self.body("not_found"), 404)

    def _list(self, results: list[bytes]) -> bytes:
        bare = b"[" + b",".join(results) + b"]"
        return bare if self.arrays else b'{"results":' + bare + b"}"

    def _add(self, body: Mapping[str, Any]) -> Reply:
        if "user_id" not in body:
            return Reply(self.body("bad_request"), 400)
        event = str(uuid4())
        if body.get("infer", True):
            self._events[event] = ([self.looks], body, self.fails)
            return Reply(self.body("queued", event=event))
        (memory,) = self._learn(body)
        self._events[event] = ([self.looks], None, self.fails)
        return Reply(self.body("added_verbatim", event=event, id=memory.id, memory=memory.text))

    def _event(self, event: str) -> Reply:
        if event not in self._events:
            return Reply(self.body("event_not_found"), 404)
        left, body, fails = self._events[event]
        left[0] -= 1
        if left[0] >= 0:
            return Reply(self.body("event", event=event, status="RUNNING", results=[]))
        if fails:
            return Reply(self.body("event", event=event, status="FAILED", results=[]))
        if event not in self._results:
            learned = self._learn(body) if body else []
            self._results[event] = [recorded("mem0/added", id=m.id, memory=m.text) for m in learned]
        return Reply(self.body("event", event=event, status="SUCCEEDED", results=self._results[event]))

    def _page(self, request: Request) -> Reply:
        page, size = int(request.query["page"]), int(request.query["page_size"])
        listed = self._listed(request.json["filters"]["user_id"])
        part = listed[(page - 1) * size : page * size]
        if self.arrays:
            return Reply(self._list(listed))
        following = f"{self.url}/v3/memories/?page={page + 1}" if page * size < len(listed) else None
        return Reply(self.body("listing", count=len(listed), next=following, results=part))

    def _forget(self, user_id: str) -> Reply:
        for memory in self.of(user_id):
            del self.memories[memory.id]
        event = str(uuid4())
        self._events[event] = ([self.looks], None, self.fails)
        return Reply(self.body("deleting", event=event))


@asynccontextmanager
async def fake_mem0() -> AsyncGenerator[FakeMem0]:
    async with running(FakeMem0()) as fake:
        yield fake


@asynccontextmanager
async def fake_mem0_platform() -> AsyncGenerator[FakeMem0Platform]:
    async with running(FakeMem0Platform()) as fake:
        yield fake
