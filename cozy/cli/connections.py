"""Hypercorn's connections, without what makes 0.18 hold on to some of them for ever, or for too long.

These would stay, each with its tasks: one whose client left without a request under way, for as long as it
might have asked again; one whose client takes nothing of what it was sent, for which Hypercorn waits until
it does; one whose client left while a further request of its stood behind the one under way; and one that
begins with HTTP/2 and then says nothing. A request's head might come byte by byte, for as long as the client
likes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import h11
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

if TYPE_CHECKING:
    from hypercorn.events import Event

    from cozy.settings import ServerSettings

_log = logging.getLogger("cozy.server")

KEEP_ALIVE_S = 75.0
"""Longer than proxies keep a connection that nobody uses, so that it is they who close it."""
LAST_WORDS_S = 2.0
"""After the grace: to keep what turns have said until then, and to tell their clients that this is all."""
TURNED_AWAY_S = 1.0
"""How long one connection too many may take to ask for what it does not get."""
SPARE_FILES = 500
"""What a process has open beside its clients' connections: databases, model servers, files."""
FULL = b"HTTP/1.1 503 \r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PatientConfig(Config):
    """Hypercorn's, and how patient to be with those who are slow."""

    head_timeout_s: float
    write_timeout_s: float
    max_connections: int
    connections = 0
    """Those that are open."""
    opened: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered when a client connects, left when its connection is closed."""


def config_of(server: ServerSettings, number: int) -> PatientConfig:
    """How to serve at the listening socket of this file number."""
    config = PatientConfig()
    config.bind = [f"fd://{number}"]
    config.include_server_header = False
    config.accesslog = None  # the application has a line of its own for each request
    config.errorlog = logging.getLogger("hypercorn.error")
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.graceful_timeout = server.grace_s + LAST_WORDS_S
    config.head_timeout_s = server.head_timeout_s
    config.write_timeout_s = server.write_timeout_s
    config.max_connections = server.max_connections
    config.h11_max_incomplete_size = server.max_header_bytes
    config.h2_max_header_list_size = server.max_header_bytes
    return config


class Connection(TCPServer):
    """Closes in good time, whatever its client does."""

    config: PatientConfig
    _asked = False
    """Whether there has been a request."""
    _in_head = False
    """Whether a part of a request's head has come."""
    _timed = True
    """Whether time runs for the next request to come."""
    _heard_out = False
    """Whether the client has said all that it will ever say."""

    async def run(self) -> None:
        self.config.connections += 1
        try:
            if self.config.connections > self.config.max_connections:
                await self._turn_away()
            else:
                with self.config.opened():
                    await super().run()
        except asyncio.CancelledError:
            pass  # the server ends, and the task with it; asyncio of Python 3.11 would log that as an error
        finally:
            self.config.connections -= 1

    async def _turn_away(self) -> None:
        if self.config.connections == self.config.max_connections + 1:  # not for each of a flood
            _log.warning("too many connections: new ones are turned away")
        with suppress(OSError, TimeoutError):
            # an answer that comes before the question is lost with the connection's reset
            await asyncio.wait_for(self.reader.read(MAX_RECV), TURNED_AWAY_S)
            self.writer.write(FULL)
        await self._close()

    async def _read_data(self) -> None:
        while not self.reader.at_eof():
            try:
                data = await self.reader.read(MAX_RECV)
            except OSError:
                break
            await self.protocol.handle(RawData(data))
            await self._time_the_head()
        self._heard_out = True
        await self.protocol.handle(Closed())
        await self.idle_task.stop()

    async def _time_the_head(self) -> None:
        """Have time run for the rest of what has begun to come."""
        has_begun = not self._in_head and self._holds_part_of_head()
        if has_begun and not self._asked:
            self._in_head = True  # time has been running from the start
            return
        protocol = self.protocol.protocol
        # HTTP/2's preface was taken for a request
        is_silent = isinstance(protocol, H2Protocol) and protocol.idle and not self._timed
        if has_begun or is_silent:
            await self.protocol_send(Updated(idle=True))

    def _holds_part_of_head(self) -> bool:
        connection = self._h11()
        return (
            connection is not None
            and connection.their_state is h11.IDLE
            and bool(connection.trailing_data[0])
        )

    def _h11(self) -> h11.Connection | None:
        """HTTP/1.1's state, where it is spoken."""
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol) and isinstance(protocol.connection, h11.Connection):
            return protocol.connection
        return None

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._asked = True
            self._in_head = event.idle and self._holds_part_of_head()
            self._timed = event.idle and not self._heard_out
            event = Updated(idle=self._timed)
        if isinstance(event, RawData):
            await self._write(event.data)
        else:
            await super().protocol_send(event)
        if self.writer.is_closing():
            await self._wake()

    async def _write(self, data: bytes) -> None:
        async with self.send_lock:
            try:
                self.writer.write(data)
                is_behind = self.writer.transport.get_write_buffer_size() > 0
                async with asyncio.timeout(self.config.write_timeout_s if is_behind else None):
                    await self.writer.drain()
            except TimeoutError:
                self.writer.transport.abort()
                await self.protocol.handle(Closed())
            except (ConnectionError, RuntimeError):
                await self.protocol.handle(Closed())

    async def _wake(self) -> None:
        """Have a reader that waits for the end of an answer, to go on with the next request, see the end."""
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol) and not protocol.can_read.is_set():
            protocol.connection = _of_nobody()  # what was sent ahead is nobody's any more
            await protocol.can_read.set()

    async def _idle_timeout(self) -> None:
        is_within_head = self._in_head or not self._asked
        limit = self.config.head_timeout_s if is_within_head else self.config.keep_alive_timeout
        with suppress(TimeoutError):
            await asyncio.wait_for(self.context.terminated.wait(), limit)
        await asyncio.shield(self._initiate_server_close())

    async def _initiate_server_close(self) -> None:
        connection = self._h11()
        if self._in_head and connection is not None and not self.context.terminated.is_set():
            headers = [(b"connection", b"close"), (b"content-length", b"0")]
            late = connection.send(h11.Response(status_code=408, headers=headers))
            self.writer.write((late or b"") + (connection.send(h11.EndOfMessage()) or b""))
        await self.protocol.handle(Closed())
        await self._close()

    async def _close(self) -> None:
        limit = asyncio.timeout(self.config.write_timeout_s)
        with suppress(OSError):  # its own end, and the network's time-outs
            async with limit:
                await super()._close()
        if limit.expired():
            self.writer.transport.abort()


def _of_nobody() -> h11.Connection:
    """One whose client has broken the rules: no more is read of it, and what it is sent is dropped."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"\0\r\n\r\n")
    with suppress(h11.RemoteProtocolError):
        connection.next_event()
    return connection


def make_room(connections: int) -> None:
    """Have the system allow so many connections at once, as far as it may be asked to; 1,024 files, which
    many begin with, are too few."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    needed = connections + SPARE_FILES
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if most == resource.RLIM_INFINITY else min(needed, most)
    if now != resource.RLIM_INFINITY and now < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    if allowed < needed:
        _log.warning("the system lets a process have too few files open for `server.max_connections`")


def use_connections() -> None:
    """From now on Hypercorn's servers in this process have connections of this kind."""
    module: Any = hypercorn.asyncio.run
    module.TCPServer = Connection
