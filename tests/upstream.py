"""A model's server that says what a test tells it to: real sockets on 127.0.0.1, OpenAI's API.

async with upstream(says("Hi", " there")) as server:
    ... server.base_url ...
    assert server.requests[0].body["model"] == "fake"
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Hold:
    """Say nothing until the test opens the gate of this name; without a name, for ever."""

    gate: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection here, in the middle of the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent for one request; each piece of bytes is one write."""

    steps: Iterable[bytes | Hold | Cut] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: SSE)
    raw: bool = False
    """The steps are the whole answer, head included."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    left: anyio.Event
    """Set when the client went away before the answer was whole."""
    ended: anyio.Event
    """Set when nothing more is said, whoever ended it."""


Script = Answer | Callable[[Received], Answer]


def chunk(
    content: str | None = None,
    *,
    delta: Mapping[str, Any] | None = None,
    finish: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """One `chat.completion.chunk`."""
    said = {**({"content": content} if content is not None else {}), **(delta or {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "fake",
        "choices": [{"index": 0, "delta": said, "finish_reason": finish}],
        **fields,
    }


def usage_chunk(prompt: int = 9, completion: int = 4, **more: Any) -> dict[str, Any]:
    """The last chunk, the one without choices."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return chunk(choices=[], usage={**counts, **more})


def sse(*objects: Any) -> bytes:
    """Events of JSON objects; text goes as it is."""
    datas = (o if isinstance(o, str) else json.dumps(o, ensure_ascii=False) for o in objects)
    return "".join(f"data: {data}\n\n" for data in datas).encode()


def says(*words: str, finish: str = "stop") -> Answer:
    """An answer in words."""
    return streams(chunk(delta={"role": "assistant", "content": ""}), *map(chunk, words), finish=finish)


def calls(*named: tuple[str, str], finish: str = "tool_calls") -> Answer:
    """Calls of tools: (name on the wire, arguments)."""
    pieces = [
        {
            "index": i,
            "id": f"call_{i + 1}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for i, (name, arguments) in enumerate(named)
    ]
    return streams(*(chunk(delta={"tool_calls": [piece]}) for piece in pieces), finish=finish)


def streams(*objects: Any, finish: str | None = "stop", usage: bool = True) -> Answer:
    """Each object in a write of its own, then finish, usage and `[DONE]`."""
    ends = [chunk(finish=finish)] if finish else []
    ends += [usage_chunk()] if usage else []
    return Answer(tuple(sse(o) for o in (*objects, *ends, "[DONE]")))


def plain(body: Any, status: int = 200, **headers: str) -> Answer:
    """One JSON body, or text as it is."""
    data = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    kind = {"content-type": "text/html"} if isinstance(body, str) else JSON
    return Answer((data.encode(),), status, {**kind, **{k.replace("_", "-"): v for k, v in headers.items()}})


class Upstream:
    """What a test sees of the server."""

    def __init__(self, scripts: Sequence[Script], default: Script | None) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._scripts = deque(scripts)
        self._default = default
        self._reached: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
        self._open: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def then(self, *scripts: Script) -> None:
        """More answers, for the requests after those that have one."""
        self._scripts.extend(scripts)

    def forget(self) -> None:
        """Begin anew: nothing was asked, no answer is left in the script."""
        for remembered in (self.requests, self._scripts, self._reached, self._open):
            remembered.clear()

    async def reached(self, gate: str) -> None:
        """Wait until an answer stands before this gate."""
        with anyio.fail_after(30):
            await self._reached[gate].wait()

    def open(self, gate: str) -> None:
        self._open[gate].set()

    async def left(self, request: int = 0) -> None:
        """Wait until the client of a request has gone."""
        with anyio.fail_after(30):
            await self.requests[request].left.wait()

    async def serve(self, stream: SocketStream) -> None:
        """One connection, request after request."""
        self.connections += 1
        async with stream:
            reader = BufferedByteReceiveStream(stream)
            try:
                while await self._exchange(stream, await _request(reader)):
                    pass
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return

    async def _exchange(self, stream: SocketStream, request: Received) -> bool:
        """Answer one request; whether the connection is still good."""
        self.requests.append(request)
        script = self._scripts.popleft() if self._scripts else self._default
        if script is None:
            script = plain({"error": {"message": "no answer left in the test's script"}}, 500)
        answer = script if isinstance(script, Answer) else script(request)
        good = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch, stream, request, tasks.cancel_scope)
            try:
                good = await self._write(stream, answer)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):  # while it was told something
                request.left.set()
            finally:
                request.ended.set()
            tasks.cancel_scope.cancel()
        return good

    async def _write(self, stream: SocketStream, answer: Answer) -> bool:
        if not answer.raw:
            headers = {"transfer-encoding": "chunked", "x-request-id": "req_1", **answer.headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            await stream.send(f"HTTP/1.1 {answer.status} Scripted\r\n{head}\r\n".encode())
        for step in answer.steps:
            match step:
                case Cut():
                    return False
                case Hold(gate):
                    self._reached[gate].set()
                    await (self._open[gate].wait() if gate else anyio.sleep_forever())
                case bytes():
                    await stream.send(step if answer.raw else b"%x\r\n%b\r\n" % (len(step), step))
        if not answer.raw:
            await stream.send(b"0\r\n\r\n")
        return not answer.raw


async def _request(reader: BufferedByteReceiveStream) -> Received:
    head = (await reader.receive_until(b"\r\n\r\n", 1 << 16)).decode()
    line, *fields = head.split("\r\n")
    method, path, _ = line.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
    body = await reader.receive_exactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, json.loads(body) if body else None, anyio.Event(), anyio.Event())


async def _watch(stream: SocketStream, request: Received, scope: anyio.CancelScope) -> None:
    """A client says nothing while it is answered: whatever comes is its leaving."""
    try:
        await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        request.left.set()
        scope.cancel()


@asynccontextmanager
async def upstream(*scripts: Script, default: Script | None = None) -> AsyncGenerator[Upstream]:
    """A server that gives these answers in turn, then `default` for ever."""
    server = Upstream(scripts, default)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server.port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        yield server
        tasks.cancel_scope.cancel()
