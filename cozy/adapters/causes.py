"""What lies beneath an error of a library's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        current = todo.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        # anyio gathers the errors of several addresses; aiohttp keeps the system's error in an attribute
        todo.extend(getattr(current, "exceptions", ()))
        todo.append(current.__cause__ or current.__context__)
        todo.extend(getattr(current, name, None) for name in ("os_error", "certificate_error"))


def why_unreachable(error: Exception) -> str:
    """What keeps us from a server, in our words: its own may hold an address with a password."""
    causes = tuple(causes_of(error))
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "nothing listens at its address"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "its host is not known"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "no safe connection can be made to it"
    if any(isinstance(cause, OSError) for cause in causes):
        return "it cannot be reached"
    return type(error).__name__
