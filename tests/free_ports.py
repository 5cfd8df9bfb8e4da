"""Ports for servers that go away and come back."""

from __future__ import annotations

import secrets
import socket


def free_port() -> int:
    """One at which nobody listens, below those that connections begin at: nobody has it while its server is
    away."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
