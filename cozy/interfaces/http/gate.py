"""The way in and out for every request: its id, its limits, its line in the log, an answer to any error."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cozy.errors import CozyError, InvalidRequest, NotFound, RateLimited, TooLarge
from cozy.interfaces.http.exchange import Exchange, begin_exchange, exchange_of
from cozy.interfaces.http.metrics import Metrics
from cozy.interfaces.http.problems import (
    AmbiguousLength,
    HeadersTooLarge,
    Problem,
    problem_of,
    unexpected,
)
from cozy.ports.limits import Allowance, Rate, RateLimiter, counted_as
from cozy.settings import Settings

_log = logging.getLogger("cozy.http")
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: not worth a line each."""


CLIENT_LEFT, STOPPED = 499, 503
"""What is put on record where nothing was answered: the client did not wait for it (nginx's number), or the
server was stopped."""
LINGER_S = 1.0
LINGER_BYTES = 1_000_000
"""How long, and how much of, a body that nobody reads may still come after its answer."""
SWALLOWED_BODIES = 3
"""So many times as long as is taken a body may be, for its client to be told of it in words."""


def per_minute(count: int) -> Rate:
    """`count` a minute, all of them at once if need be."""
    return Rate(count=count, per_s=60, burst=count)


@dataclass(frozen=True, slots=True)
class Gate:
    """Wraps the whole application."""

    app: ASGIApp
    settings: Settings
    limits: RateLimiter
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "websocket":  # a GET that asks for more
            app, scope, send = _no_websockets, {**scope, "method": "GET"}, _as_http(send)
        elif scope["type"] != "http":
            await app(scope, receive, send)
            return
        exchange = begin_exchange(scope, self.settings.server.trusted_proxies)
        body = _Body(scope, receive, self.settings.server.max_body_bytes)
        answer = _Answer(exchange, send, body, self.settings.server.body_timeout_s)
        with self.metrics.in_flight.track_inprogress():
            try:
                exchange.refusal = self._unfit(scope)
                await self._check_address(scope, exchange)
                await app(scope, body, answer)
                exchange.status = exchange.status or CLIENT_LEFT
            except CozyError as error:
                exchange.code = error.code
                await answer.problem(problem_of(error))
            except Exception:
                _log.exception("request failed", extra=_facts(scope, exchange))
                exchange.code = "INTERNAL_ERROR"
                await answer.problem(unexpected())
            finally:
                exchange.status = exchange.status or STOPPED
                self._tell(scope, exchange)

    def _unfit(self, scope: Scope) -> InvalidRequest | None:
        """What is wrong with a request whose body nobody has read yet. Raises AmbiguousLength."""
        headers, most = scope["headers"], self.settings.server
        lengths = [value for name, value in headers if name == b"content-length"]
        # one of the two is a lie: somebody may want the rest to be read as another's request (RFC 9112, 6.1)
        if lengths and any(name == b"transfer-encoding" for name, _ in headers):
            raise AmbiguousLength("a request has a `content-length` or a `transfer-encoding`, not both")
        size = len(scope["raw_path"]) + len(scope["query_string"])
        # as HTTP/1.1 writes them: `name: value`, and the end of the line
        size += sum(len(name) + len(value) + 4 for name, value in headers)
        if size > most.max_header_bytes:
            return HeadersTooLarge(
                f"the request's head has {size:,} bytes, at most {most.max_header_bytes:,} are taken"
            )
        if any(length.isdigit() and int(length) > most.max_body_bytes for length in lengths):
            return _too_large(most.max_body_bytes)
        return None

    async def _check_address(self, scope: Scope, exchange: Exchange) -> None:
        count = self.settings.limits.per_address
        if not count or scope["path"] in _QUIET:
            return
        allowance = await self.limits.take(f"address:{counted_as(exchange.address)}", per_minute(count))
        if not allowance.allowed:
            exchange.limit = "address"
            limited = RateLimited("requests from this address", allowance.retry_after_s)
            exchange.refusal = exchange.refusal or limited

    def _tell(self, scope: Scope, exchange: Exchange) -> None:
        self.metrics.request(scope["method"], exchange)
        if scope["path"] in _QUIET and exchange.status < 400:
            return
        fields = {**_facts(scope, exchange), "status": exchange.status, "latency_ms": exchange.latency_ms}
        level = logging.ERROR if exchange.status >= 500 else logging.INFO
        _log.log(level, "request", extra=fields)


def _facts(scope: Scope, exchange: Exchange) -> dict[str, Any]:
    """What is known of a request so far."""
    fields: dict[str, Any] = {
        "request_id": exchange.request_id,
        "method": scope["method"],
        "route": exchange.route or "none",
    }
    for name in (
        "user_id",
        "session_id",
        "turn_id",
        "personality_id",
        "engine",
        "model",
        "stage",
        "code",
    ):
        if (value := getattr(exchange, name)) is not None:
            fields[name] = str(value)
    if exchange.degraded:
        fields["degraded"] = list(exchange.degraded)
    if exchange.engines:
        fields["engines"] = [{"stage": stage, **record.facts()} for stage, record in exchange.engines]
        # told only where the log may hold what others say
        reasons = [f"{stage}: {record.reason}" for stage, record in exchange.engines if record.reason]
        fields["reason"] = "; ".join(reasons) or None
    return fields


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is longer than {most:,} bytes")


async def _no_websockets(scope: Scope, _receive: Receive, _send: Send) -> None:
    exchange_of(scope).admit()
    raise NotFound("WebSocket", scope["path"][:200])


def _as_http(send: Send) -> Send:
    """Answers a handshake with what an HTTP request would be answered.

    https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
    """

    async def send_denial(message: MutableMapping[str, Any]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return send_denial


class _Body:
    """`receive`, with an error where the body turns out longer than it may be."""

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        self._receive, self.most, self._got = receive, most, 0
        self.unread = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )
        """Whether some of it may still come."""
        self.left = False
        """Whether the client is known to have gone."""

    async def __call__(self) -> Message:
        message = await self._next()
        if message["type"] == "http.request":
            self._got += len(message.get("body", b""))
            if self._got > self.most:
                raise _too_large(self.most)
        return message

    async def discard(self, most: int | None = None) -> None:
        """Take what still comes, or the first `most` bytes of it, for nobody."""
        got = 0
        while self.unread and (most is None or got < most):
            got += len((await self._next()).get("body", b""))

    async def _next(self) -> Message:
        message = await self._receive()
        self.left = self.left or message["type"] == "http.disconnect"
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.unread = False
        return message


class _Answer:
    """`send`, with the request's id on the answer, and a memory of whether one has begun."""

    def __init__(self, exchange: Exchange, send: Send, body: _Body, body_timeout_s: float) -> None:
        self._exchange, self._send, self._body = exchange, send, body
        self._body_timeout_s = body_timeout_s
        self._begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            if self._exchange.code == TooLarge.code and message["status"] < 400:
                # a browser that is still sending reads an early answer only where it is an error
                with anyio.move_on_after(self._body_timeout_s):
                    await self._body.discard(SWALLOWED_BODIES * self._body.most)
            self._begun = True
            self._exchange.status = message["status"]
        if self._body.left:  # Hypercorn stumbles over an answer to nobody
            return
        if message["type"] == "http.response.start":
            headers = message.setdefault("headers", [])
            headers.append((b"x-request-id", self._exchange.request_id.encode("ascii")))
            headers += _allowance_headers(self._exchange.allowance)
            if self._body.unread and self._exchange.http_version.startswith("1"):
                headers.append((b"connection", b"close"))
        elif self._body.unread and not message.get("more_body", False):
            await self._end_early(message)
            return
        await self._send(message)

    async def _end_early(self, message: MutableMapping[str, Any]) -> None:
        """End an answer to a request that is still being sent.

        What comes is thrown away for a while: closed at once, the connection would be reset, and the answer
        might be lost with it. And it is thrown away to the end: Hypercorn, whose queue for the application is
        short, would wait in it for ever.
        """
        await self._send({**message, "more_body": True})
        with anyio.move_on_after(LINGER_S):
            await self._body.discard(LINGER_BYTES)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._body.discard)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()

    async def problem(self, problem: Problem) -> None:
        """Answer with an error, where no answer has begun; else the connection ends here."""
        if self._begun:
            return
        response = problem.response(self._exchange.request_id)
        if problem.code == AmbiguousLength.code and self._exchange.http_version.startswith("1"):
            response.headers["connection"] = "close"
        await response({"type": "http", "method": "GET"}, _never, self)


async def _never() -> Message:
    raise RuntimeError("an error's answer reads nothing")


ALLOWANCE = (
    "X-RateLimit-Limit-Requests",
    "X-RateLimit-Remaining-Requests",
    "X-RateLimit-Reset-Requests",
    "RateLimit",
    "RateLimit-Policy",
)
"""Headers that tell what is left of a limit."""


def _allowance_headers(allowance: Allowance | None) -> list[tuple[bytes, bytes]]:
    """In OpenAI's words and in those of the IETF's draft (draft-ietf-httpapi-ratelimit-headers)."""
    if allowance is None:
        return []
    limit, left, reset_s = allowance.limit, allowance.remaining, allowance.reset_s
    values = (
        f"{limit}",
        f"{left}",
        f"{reset_s:.1f}s",
        f'"default";r={left};t={round(reset_s)}',
        f'"default";q={limit};w=60',
    )
    return [(name.lower().encode(), value.encode()) for name, value in zip(ALLOWANCE, values, strict=True)]
