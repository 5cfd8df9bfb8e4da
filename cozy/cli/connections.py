"""Hypercorn's connections, without what makes 0.18 hold on to some of them for ever.

Two kinds would stay, each with its tasks: one whose client takes nothing of what it was sent, for which
Hypercorn waits until it does; and one whose client left while a further request of its stood behind the one
under way.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import h11
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol

if TYPE_CHECKING:
    from hypercorn.events import Event


class PatientConfig(Config):
    """Hypercorn's, and how patient to be with those who read slowly."""

    write_timeout_s: float = 30


class Connection(TCPServer):
    """Closes within `write_timeout_s`, whatever its client does."""

    async def protocol_send(self, event: Event) -> None:
        await super().protocol_send(event)
        if self.writer.is_closing():
            await self._wake()

    async def _wake(self) -> None:
        """Have a reader that waits for the end of an answer, to go on with the next request, see the end."""
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol) and not protocol.can_read.is_set():
            protocol.connection = h11.Connection(h11.SERVER)  # what was sent ahead is nobody's any more
            await protocol.can_read.set()

    async def _close(self) -> None:
        config = cast("PatientConfig", self.config)
        limit = asyncio.timeout(config.write_timeout_s)
        with suppress(OSError):  # its own end, and the network's time-outs
            async with limit:
                await super()._close()
        if limit.expired():
            self.writer.transport.abort()


def use_connections() -> None:
    """From now on Hypercorn's servers in this process have connections of this kind."""
    module: Any = hypercorn.asyncio.run
    module.TCPServer = Connection
