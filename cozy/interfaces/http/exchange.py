"""One request and its answer, as the log and the metrics will tell it."""

from __future__ import annotations

import re
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

from cozy.errors import CozyError
from cozy.ports.limits import Allowance

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = "cozy.exchange"


@dataclass(slots=True)
class Exchange:
    """Filled while the request is answered."""

    request_id: str
    address: str
    """The client's network address, behind proxies that are trusted."""
    http_version: str = "1.1"
    began: float = field(default_factory=perf_counter)
    route: str = ""
    """The path as it is declared, `/v1/sessions/{id}`; empty where no route fits."""
    status: int = 0
    """0: nothing was answered."""
    user_id: UUID | None = None
    session_id: UUID | None = None
    turn_id: UUID | None = None
    personality_id: str | None = None
    engine: str | None = None
    degraded: tuple[str, ...] = ()
    """Stages that went on without a value."""
    code: str | None = None
    """Of the error, where there was one."""
    allowance: Allowance | None = None
    """What is left of the caller's limits."""
    refusal: CozyError | None = None
    """Why nothing is done for this client now; raised by whoever knows how it wants to be told."""

    def admit(self) -> None:
        """Raises what was found against the client before its route was known."""
        if self.refusal is not None:
            raise self.refusal

    @property
    def latency_ms(self) -> float:
        return round((perf_counter() - self.began) * 1000, 1)


def begin_exchange(scope: MutableMapping[str, Any], trusted: Iterable[str]) -> Exchange:
    """The exchange of a request that has just come in; it is the scope's from now on."""
    headers = {
        name: value for name, value in scope["headers"] if name in (b"x-request-id", b"x-forwarded-for")
    }
    sent = headers.get(b"x-request-id", b"").decode("latin-1")
    peer = (scope.get("client") or ("",))[0]
    exchange = Exchange(
        request_id=sent if _REQUEST_ID.fullmatch(sent) else f"req_{uuid4().hex}",
        address=client_address(peer, headers.get(b"x-forwarded-for", b"").decode("latin-1"), trusted),
        http_version=scope["http_version"],
    )
    scope[_KEY] = exchange
    return exchange


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange:
    """The exchange that `begin_exchange` made."""
    return scope[_KEY]


def client_address(peer: str, forwarded: str, trusted: Iterable[str]) -> str:
    """Who is at the other end: the last address in `X-Forwarded-For` that is not a trusted proxy's own.

    What stands before it was written by the client and may be anything.
    """
    networks = [ip_network(name, strict=False) for name in trusted]

    def is_trusted(address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in networks)

    address = peer
    for hop in reversed([part.strip() for part in forwarded.split(",")]):
        if not is_trusted(address) or not hop:
            break
        address = hop[:64]
    return address
