"""Memobase: recorded bodies, errors under HTTP 200, a buffer that has to be flushed, and profiles in which
each thing that the user said is a fact."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

from tests.engines.server import FakeEngine, Fault, Reply, Request, recorded, running

KEY = "sk-project-secret-of-the-tests"


def body(name: str, /, **values: Any) -> bytes:
    return recorded(f"memobase/{name}", **values)


def failed(errno: int, errmsg: str) -> Reply:
    return Reply(body("error", errno=errno, errmsg=errmsg))


@dataclass
class User:
    blobs: dict[str, Any] = field(default_factory=dict)
    buffer: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Its own id → the blob's, and its state."""
    profiles: list[dict[str, Any]] = field(default_factory=list)

    def ids(self, state: str) -> list[str]:
        return [key for key, (_, status) in self.buffer.items() if status == state]


class FakeMemobase(FakeEngine):
    """`another_user` is not among its faults: its profiles do not say whose they are."""

    errors: ClassVar[Mapping[str, bytes]] = {
        "401": body("unauthorized"),
        "403": body("forbidden"),
        "429": body("rate_limited"),
        "500": body("internal"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, User] = {}
        self.errno: tuple[int, str] | None = None
        """An error under HTTP 200 that every call gets."""
        self.model_is_down = False
        """A flush fails with errno 503, and its batch is left in the state `failed`."""
        self.overflows = False
        """An insert is processed at once, as one of more than 1024 tokens is."""
        self.loses_answers_to: set[str] = set()
        """Paths of which the next answer is lost after the work has been done."""
        self._clock = datetime.now(UTC)

    async def be(self, fault: Fault, *, only: str = "") -> None:
        if fault == "another_user":
            raise ValueError("Memobase's profiles do not say whose they are")
        await super().be(fault, only=only)

    def answer(self, request: Request) -> Reply:
        reply = self._answer(request)
        for part in list(self.loses_answers_to):
            if part in request.path and request.method == "POST":
                self.loses_answers_to.discard(part)
                return Reply(b"upstream timed out", 504, {"content-type": "text/plain"})
        return reply

    def _answer(self, request: Request) -> Reply:
        if request.path == "/api/v1/healthcheck":
            return Reply(body("nothing"))
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Reply(body("unauthorized"), 401)
        if self.errno is not None:
            return failed(*self.errno)
        parts = request.path.removeprefix("/api/v1/").split("/")
        uid = (
            request.json["id"] if parts == ["users"] else next((p for p in parts if len(p) == 36), parts[-1])
        )
        try:
            if UUID(uid).version not in (4, 5):
                return Reply(body("not_uuid", input=uid), 422)
        except ValueError:
            return Reply(body("not_uuid", input=uid), 422)
        match request.method, parts:
            case "POST", ["users"]:
                return self._create(uid)
            case "DELETE", ["users", _]:
                if self.users.pop(uid, None) is None:
                    return failed(404, f"User {uid} not found")
                return Reply(body("nothing"))
            case "POST", ["blobs", "insert", _]:
                return self._insert(uid, request)
            case "POST", ["users", "buffer", _, "chat"]:
                return self._flush(uid)
            case "GET", ["users", "buffer", "capacity", _, "chat"]:
                state = request.query.get("status", "processing")
                return Reply(body("ids", ids=self._user(uid).ids(state)))
            case "GET", ["users", "profile", _]:
                return self._profiles(uid, request)
            case _, ["users", "profile", _, fact]:
                return self._fact(uid, fact, request)
        return Reply(body("no_route"), 404)

    def _user(self, uid: str) -> User:
        """Of one that is not known: an empty one."""
        return self.users.get(uid, User())

    def _create(self, uid: str) -> Reply:
        if uid in self.users:
            return failed(
                500,
                "(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "
                f'"users_pkey" DETAIL: Key (id, project_id)=({uid}, __root__) already exists.',
            )
        self.users[uid] = User()
        return Reply(body("id", id=uid))

    def _insert(self, uid: str, request: Request) -> Reply:
        blob = request.json
        messages = blob["blob_data"]["messages"]
        if any(message["role"] not in ("user", "assistant") for message in messages):
            return failed(400, "Invalid role in messages")
        if uid not in self.users:
            return failed(
                500,
                '(psycopg2.errors.ForeignKeyViolation) insert or update on table "general_blobs" violates '
                f'foreign key constraint DETAIL: Key (user_id)=({uid}) is not present in table "users".',
            )
        user, blob_id = self.users[uid], str(uuid4())
        user.blobs[blob_id] = messages
        user.buffer[str(uuid4())] = (blob_id, "idle")
        if self.overflows:
            self._process(user)
        return Reply(body("blob", id=blob_id))

    def _flush(self, uid: str) -> Reply:
        user = self._user(uid)
        waiting = user.ids("idle")
        if not waiting:
            return Reply(body("nothing_to_flush"))
        if self.model_is_down:
            said = [user.blobs[user.buffer[key][0]][0]["content"] for key in waiting]
            for key in waiting:
                user.buffer[key] = (user.buffer[key][0], "failed")
            return failed(503, f"LLM error: Error code: 401 - incorrect key: sk-proj-123, for {said}")
        added = self._process(user)
        facts = [body("profile", **fact) for fact in added]
        return Reply(body("flushed", event=str(uuid4()), added=facts))

    def keep(self, uid: str, text: str) -> None:
        """Have a user, known or new, known for this."""
        self.users.setdefault(uid, User()).profiles.append(self._learned(text))

    def _learned(self, text: str) -> dict[str, Any]:
        self._clock += timedelta(milliseconds=1)
        mark = hashlib.sha256(text.encode()).hexdigest()[:8]
        return {
            "id": str(uuid4()),
            "content": text,
            "topic": "interest",
            "sub_topic": f"said_{mark}",
            "at": self._clock.isoformat().replace("+00:00", "Z"),
        }

    def _process(self, user: User) -> list[dict[str, Any]]:
        added: list[dict[str, Any]] = []
        for key in user.ids("idle"):
            blob_id, _ = user.buffer[key]
            user.buffer[key] = (blob_id, "done")
            for message in user.blobs.pop(blob_id):
                if message["role"] == "user":
                    added.append(self._learned(message["content"]))
        user.profiles += added
        return added

    def _profiles(self, uid: str, request: Request) -> Reply:
        profiles = self._user(uid).profiles[::-1]  # the newest first
        if "max_token_size" in request.query:
            room, fitting = int(request.query["max_token_size"]), []
            for fact in profiles:
                room -= len(fact["content"]) // 3 + 4
                if room < 0:
                    break
                fitting.append(fact)
            profiles = fitting
        return Reply(body("profiles", profiles=[body("profile", **fact) for fact in profiles]))

    def _fact(self, uid: str, key: str, request: Request) -> Reply:
        profiles = self._user(uid).profiles
        fact = next((fact for fact in profiles if fact["id"] == key), None)
        if fact is None:
            return failed(404, f"Profile {key} not found")
        if request.method == "DELETE":
            profiles.remove(fact)
        else:
            fact["content"] = request.json["content"]
            fact |= request.json["attributes"]
        return Reply(body("nothing"))


@asynccontextmanager
async def fake_memobase() -> AsyncGenerator[FakeMemobase]:
    async with running(FakeMemobase()) as fake:
        yield fake
