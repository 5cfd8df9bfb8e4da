"""What the fake engines share: an HTTP server on a port that the system picks, faults that are set while it
runs, and counts of what was asked.

async with fake_mem0() as mem0:
    await mem0.be("500", only="/search")     # any of FAULTS; `well` is none
    ... mem0.url, mem0.asked["POST /search"], mem0.requests ...
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import SocketStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.free_ports import free_port

Fault = Literal[
    "well",
    "slow",
    "hanging",
    "refused",
    "401",
    "403",
    "429",
    "500",
    "html",
    "cut",
    "wrong_json",
    "wrong_shape",
    "huge",
    "another_user",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)[1:]
RECORDED = Path(__file__).parent / "recorded"
HUGE_BYTES = 64_000_000
RETRY_AFTER_S = 7
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """Without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@cache
def _recorded(name: str) -> str:
    return (RECORDED / f"{name}.json").read_text(encoding="utf-8").removesuffix("\n")


def recorded(name: str, /, **values: Any) -> bytes:
    """A recorded body, byte by byte, but for its placeholders: `"$name"` is a JSON value, `"$$name"` a list's
    items, which are recorded bodies themselves."""

    def filled(found: re.Match[str]) -> str:
        value = values[found[2]]
        if found[1] == "$$":
            return b",".join(value).decode()
        return json.dumps(value, ensure_ascii=False)

    return re.sub(r'"(\$\$?)(\w+)"', filled, _recorded(name)).encode()


def words(text: str) -> set[str]:
    """Latin words, and Chinese characters one by one."""
    return set(re.findall(r"[a-z0-9]+|[^\W\d_a-z]", text.lower()))


def overlap(query: str, text: str) -> float:
    """How much of the query is in the text, from 0 to 1."""
    wanted = words(query)
    return len(wanted & words(text)) / len(wanted) if wanted else 0.0


class FakeEngine:
    """One service. A subclass answers in `answer`, from its own state."""

    errors: ClassVar[Mapping[str, bytes]] = {}
    """Fault → the body that the real one sends with this status."""
    logins: tuple[str, ...] = ()
    """Paths that faults of answers leave alone."""

    def __init__(self) -> None:
        self.fault: Fault = "well"
        self.slow_s = 0.2
        self.says: dict[str, Reply] = {}
        """`METHOD /path`, or its end → what is answered there, whatever was asked."""
        self.requests: list[Request] = []
        self.asked: Counter[str] = Counter()
        """`METHOD /path`, with `{id}` for ids → how often."""
        self.connections = 0
        self.left: anyio.Event = anyio.Event()
        """Set when a client went away from an answer that hung."""
        self.port = free_port()
        self._only = ""
        self._tasks: TaskGroup | None = None
        self._listening: anyio.CancelScope | None = None
        self._closed = anyio.Event()
        """Set when nobody listens any more, and every connection is cut."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def be(self, fault: Fault, *, only: str = "") -> None:
        """From now on every answer goes wrong like this; `only`: those whose path holds this."""
        self.fault, self._only = fault, only
        if fault == "refused" and self._listening is not None:
            self._listening.cancel()
            self._listening = None
            await self._closed.wait()
        elif fault != "refused" and self._listening is None:
            await self._listen()

    def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    async def _listen(self) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port)
        assert self._tasks is not None
        scope = self._listening = anyio.CancelScope()
        closed = self._closed = anyio.Event()

        async def serve() -> None:
            with scope:
                async with listener:
                    await listener.serve(self._serve)
            closed.set()

        self._tasks.start_soon(serve)

    async def _serve(self, stream: SocketStream) -> None:
        self.connections += 1
        async with stream:
            reader = BufferedByteReceiveStream(stream)
            try:
                while await self._exchange(stream, await _request(reader)):
                    pass
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return

    async def _exchange(self, stream: SocketStream, request: Request) -> bool:
        """Answer one request; whether the connection is still good."""
        self.requests.append(request)
        self.asked[f"{request.method} {_template(request.path)}"] += 1
        fault = self.fault if self._only in request.path and request.path not in self.logins else "well"
        if fault == "slow":
            await anyio.sleep(self.slow_s)
        if fault == "hanging":
            try:
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.left.set()
            return False
        if fault == "huge":
            return await _endless(stream)
        reply = self._faulty(fault) or self._told(request) or self.answer(request)
        head = {"content-type": "application/json", **reply.headers, "content-length": str(len(reply.body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        body = reply.body[: len(reply.body) // 2] if fault == "cut" else reply.body
        await stream.send(f"HTTP/1.1 {reply.status} Fake\r\n{lines}\r\n".encode() + body)
        return fault != "cut"

    def _told(self, request: Request) -> Reply | None:
        asked = f"{request.method} {request.path}"
        return next((reply for end, reply in self.says.items() if asked.endswith(end)), None)

    def _faulty(self, fault: Fault) -> Reply | None:
        match fault:
            case "401" | "403" | "500":
                return Reply(self.errors[fault], int(fault))
            case "429":
                return Reply(self.errors[fault], 429, {"retry-after": str(RETRY_AFTER_S)})
            case "html":
                return Reply(HTML, headers={"content-type": "text/html; charset=utf-8"})
            case "wrong_json":
                return Reply(b'{"results":[{"id":"1","memory":')
            case "wrong_shape":
                return Reply(b'{"unexpected":[null,{"results":3}]}')
            case _:
                return None


async def _endless(stream: SocketStream) -> bool:
    await stream.send(
        b"HTTP/1.1 200 Fake\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    piece = b'{"results":[' + b" " * 65_524
    for _ in range(HUGE_BYTES // len(piece)):
        await stream.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await stream.send(b"0\r\n\r\n")
    return True


def _template(path: str) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "{id}", path)


async def _request(reader: BufferedByteReceiveStream) -> Request:
    head = (await reader.receive_until(b"\r\n\r\n", 1 << 16)).decode()
    line, *fields = head.split("\r\n")
    method, target, _ = line.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
    body = await reader.receive_exactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return Request(method, parts.path, query, headers, body)


E = TypeVar("E", bound=FakeEngine)


@asynccontextmanager
async def running(fake: E) -> AsyncGenerator[E]:
    """The engine, listening, until the block is left."""
    async with anyio.create_task_group() as tasks:
        fake._tasks = tasks
        await fake._listen()
        yield fake
        tasks.cancel_scope.cancel()
