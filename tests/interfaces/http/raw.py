"""Bytes on a socket, for what clients hide.

async with wire(house) as talk:
    await talk.send(request("GET", "/v1/models", ada))
    answer = await talk.answer()
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import psutil
from anyio.abc import ByteReceiveStream
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.interfaces.http.serving import Served

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]

    @property
    def events(self) -> list[str]:
        """The data of a stream's events; comments are left out."""
        blocks = self.body.decode().split("\n\n")
        return [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]


def request(
    method: str,
    path: str,
    key: str | None = None,
    body: bytes | Any = b"",
    *,
    length: int | None = None,
    **headers: str,
) -> bytes:
    """A request; a body that is no bytes is sent as JSON. `length` lies about the body's."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"host": "cozy", "content-type": "application/json"}
    if key is not None:
        fields["authorization"] = f"Bearer {key}"
    if sent or length is not None:
        fields["content-length"] = str(len(sent) if length is None else length)
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + sent


def asks(key: str, words: str = "tea?", **fields: Any) -> bytes:
    """A request for an answer of `plain`."""
    body = {"model": "plain", "messages": [{"role": "user", "content": words}], **fields}
    return request("POST", CHAT, key, body)


LIVE = request("GET", "/health/live")
"""What anyone may ask, and is answered at once."""


class _Reading(ByteReceiveStream):
    """A socket that is read when it is asked, never ahead: whoever does not ask is a slow reader."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.wait_readable(self._raw)
        try:
            data = self._raw.recv(max_bytes)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def aclose(self) -> None:
        self._raw.close()


class Wire:
    """One connection."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._reader = BufferedByteReceiveStream(_Reading(raw))

    async def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            await anyio.wait_writable(self._raw)
            try:
                left = left[self._raw.send(left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise anyio.BrokenResourceError from error

    def end(self) -> None:
        """Say that nothing more will be sent."""
        self._raw.shutdown(socket.SHUT_WR)

    async def answer(self, *, bodiless: bool = False) -> Answered:
        """The next whole answer."""
        with anyio.fail_after(30):
            status, headers = await self.head()
            if bodiless or status in (204, 304) or 100 <= status < 200:
                return Answered(status, headers, b"")
            if "content-length" in headers:
                body = await self._reader.receive_exactly(int(headers["content-length"]))
                return Answered(status, headers, body)
            return Answered(status, headers, b"".join([piece async for piece in self._pieces()]))

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = (await self._reader.receive_until(b"\r\n\r\n", 1 << 16)).decode("latin-1")
        line, *fields = raw.split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
        return int(line.split(" ")[1]), headers

    async def piece(self) -> bytes:
        """The next chunk of a chunked answer; empty: the last."""
        with anyio.fail_after(30):
            size = int(await self._reader.receive_until(b"\r\n", 1 << 16), 16)
            data = await self._reader.receive_exactly(size)
            await self._reader.receive_exactly(2)
        return data

    async def _pieces(self) -> AsyncGenerator[bytes]:
        while data := await self.piece():
            yield data

    async def closed(self, within_s: float = 30) -> bytes:
        """What still comes before the server closes the connection."""
        rest = b""
        with anyio.fail_after(within_s):
            try:
                while True:
                    rest += await self._reader.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return rest

    async def some(self, most: int) -> bytes:
        """What comes next, of any length up to `most`. Raises EndOfStream, and BrokenResourceError."""
        return await self._reader.receive(most)

    def reset(self) -> None:
        """Leave without a good-bye: the next close sends RST."""
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def wire(house: Served, *, receive_buffer: int | None = None) -> AsyncGenerator[Wire]:
    """A connection to the server; a small `receive_buffer` makes a reader that takes little."""
    async with wire_to(house.port, receive_buffer=receive_buffer) as talk:
        yield talk


@asynccontextmanager
async def wire_to(port: int, *, receive_buffer: int | None = None) -> AsyncGenerator[Wire]:
    """A connection to a port of this machine."""
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    try:
        yield Wire(raw)
    finally:
        raw.close()


def connections_of(house: Served) -> int:
    """How many connections the server's side holds, those included whose client is gone."""
    mine = psutil.Process().net_connections("tcp")
    return sum(bool(c.laddr) and c.laddr[1] == house.port and c.status != "LISTEN" for c in mine)


async def until(holds: Callable[[], bool], within_s: float = 30) -> None:
    """Wait until it is so."""
    with anyio.fail_after(within_s):
        while not holds():
            await anyio.sleep(0.02)
