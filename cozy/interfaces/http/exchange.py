"""One request and its answer, as the log and the metrics will tell it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

from starlette.responses import Response

from cozy.errors import CozyError
from cozy.interfaces.http.problems import Problem
from cozy.ports.context import EngineRecord
from cozy.ports.limits import Allowance

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"\[(?P<six>[^\]]*)\](:\d+)?|(?P<four>[\d.]+):\d+")
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
    """The provider of the model that answered, or failed to."""
    model: str | None = None
    stage: str | None = None
    """The one that failed."""
    degraded: tuple[str, ...] = ()
    """Stages that went on without a value."""
    engines: tuple[tuple[str, EngineRecord], ...] = ()
    """How each question to an engine of the personal context went, with the stage that asked."""
    code: str | None = None
    """Of the error, where there was one."""
    may_see_inside: bool = False
    """Who asks may do all that an admin may: errors are told as they are."""
    allowance: Allowance | None = None
    """What is left of the caller's limits."""
    limit: str | None = None
    """The one that was found used up: `address`, `user`, `key`."""
    refusal: CozyError | None = None
    """Why nothing is done for this client now; raised by whoever knows how it wants to be told."""
    tell: Callable[[Problem], Response] | None = None
    """How it wants to be told; None: in OpenAI's shape, as whoever asked for a path that there is not."""

    def admit(self) -> None:
        """Raises what was found against the client before its route was known."""
        if self.refusal is not None:
            raise self.refusal

    def told(self, problem: Problem) -> Response:
        """The answer to a request that failed before its answer began."""
        self.code = problem.code
        return self.tell(problem) if self.tell else problem.response(self.request_id)

    @property
    def latency_ms(self) -> float:
        return round((perf_counter() - self.began) * 1000, 1)


def begin_exchange(scope: MutableMapping[str, Any], trusted: Iterable[str]) -> Exchange:
    """The exchange of a request that has just come in; it is the scope's from now on."""
    sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    # each proxy may have added a line of its own
    hops = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    peer = (scope.get("client") or ("",))[0]
    exchange = Exchange(
        request_id=sent if _REQUEST_ID.fullmatch(sent) else f"req_{uuid4().hex}",
        address=client_address(peer, hops.decode("latin-1"), trusted),
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
        # a proxy at an IPv6 socket may have been written down as it is seen there
        forms = (parsed, ip_address(f"::ffff:{parsed}")) if parsed.version == 4 else (parsed,)
        return any(form in network for form in forms for network in networks)

    address = _plain(peer)
    for hop in reversed([part.strip() for part in forwarded.split(",")]):
        if not is_trusted(address) or not hop:
            break
        address = _plain(hop[:64])
    return address


def _plain(hop: str) -> str:
    """An address as it is always written: IPv4 that came in at an IPv6 socket as IPv4, without the port that
    some proxies add. What is no address stays as it is."""
    found = _HOST.fullmatch(hop)
    try:
        address = ip_address(found["six"] or found["four"] if found else hop)
    except ValueError:
        return hop
    return str(getattr(address, "ipv4_mapped", None) or address)
