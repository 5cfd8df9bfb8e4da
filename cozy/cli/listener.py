"""The socket that a server answers at."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cozy.settings import ServerSettings

BACKLOG = 1024


def bound(server: ServerSettings) -> socket.socket:
    """A socket that listens at the address. Raises ConfigError where it cannot be had."""
    from cozy.errors import ConfigError

    shown = f"{server.host}:{server.port}"
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigError(f"`server.host`: there is no address `{server.host}` here") from None
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would let two servers have the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(server.host != "::"))
        listener.bind(address)
        # two that are bound and do not listen yet do not see each other
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen at {shown}: {_why(error)}", hint=_hint(error)) from None
    return listener


def _why(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program has that port: stop it, or name another one with `--port` or `server.port`"
    if error.errno == errno.EACCES:
        return "ports below 1024 are the system's: name another one with `--port` or `server.port`"
    return "name an address of this machine with `--host` or `server.host`; `0.0.0.0` is all of them"


def address_of(listener: socket.socket) -> str:
    """Where to reach it, with the port that it really has."""
    host, port = str(listener.getsockname()[0]), listener.getsockname()[1]
    if ip_address(host.partition("%")[0]).is_unspecified:  # every address, this one included
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
