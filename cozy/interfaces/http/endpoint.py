"""A route: what it takes and gives, declared once, for the router and for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from cozy.errors import AuthRequired
from cozy.interfaces.http.bodies import body_as, query_as, read_body
from cozy.interfaces.http.credentials import caller_of
from cozy.interfaces.http.exchange import Exchange, exchange_of
from cozy.interfaces.http.problems import Problem
from cozy.interfaces.http.service import Service
from cozy.ports.identity import Caller, Scope
from cozy.ports.operations import AuditEvent

B = TypeVar("B", bound=BaseModel | None)
Q = TypeVar("Q", bound=BaseModel | None)

Access = Literal["anyone"] | Scope
"""Who may call: anyone, or a caller whose credential has the scope."""
Told = BaseModel | Mapping[str, Any] | Sequence[Any] | ASGIApp | None
"""What a handler gives: a value that becomes JSON, an answer of its own, or nothing."""


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """A request whose parts have been checked."""

    request: Request
    service: Service
    exchange: Exchange
    known: Caller | None
    body: B
    query: Q

    @property
    def caller(self) -> Caller:
        """Raises AuthRequired on a route that is open to anyone."""
        if self.known is None:
            raise AuthRequired
        return self.known

    def path(self, name: str) -> str:
        """A part of the path, by its name there."""
        return self.request.path_params[name]

    async def note(self, event: str, **facts: object) -> None:
        """Put on record what the caller has done. Raises StorageError."""
        exchange = self.exchange
        await self.service.engine.ports.audit.record(
            AuditEvent(event, exchange.user_id, exchange.request_id, payload=dict(facts))
        )


Handler = Callable[[Call[Any, Any]], Awaitable[Told]]
ErrorTeller = Callable[[Problem, str], Response]
"""A problem and the request's id → the answer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    handler: Handler
    access: Access
    tag: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    gives: type[BaseModel] | None = None
    documented: tuple[type[BaseModel], ...] = ()
    """What the body may be, where the handler reads it by itself."""
    body_optional: bool = False
    """A request without a body is a whole one too."""
    ids: tuple[str, ...] = ()
    """Parts of the path that are UUIDs."""
    authenticates: bool = False
    """The handler itself looks who asks."""
    streams: bool = False
    """The answer may also come as Server-Sent Events."""
    status: int = 200
    errors: tuple[int, ...] = ()
    """Statuses of errors beside those that follow from what it takes."""
    media_type: str = "application/json"
    """Of the answer, where it is no JSON."""
    tell: ErrorTeller | None = None
    """How errors are told; None: in OpenAI's shape."""
    error_body: type[BaseModel] | None = None
    """What `tell` writes; None: OpenAI's shape alone."""
    admits: bool = False
    """The handler itself asks the exchange whether the client is served now."""

    @property
    def bodies(self) -> tuple[type[BaseModel], ...]:
        """What the body may be."""
        return self.documented or ((self.body,) if self.body else ())

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        return " ".join((self.handler.__doc__ or "").strip().partition("\n")[2].split())


def endpoint(
    method: str,
    path: str,
    *,
    access: Access,
    tag: str,
    body: type[BaseModel] | None = None,
    documented: tuple[type[BaseModel], ...] = (),
    body_optional: bool = False,
    query: type[BaseModel] | None = None,
    gives: type[BaseModel] | None = None,
    ids: tuple[str, ...] = (),
    status: int = 200,
    errors: tuple[int, ...] = (),
    tell: ErrorTeller | None = None,
    error_body: type[BaseModel] | None = None,
) -> Callable[[Handler], Endpoint]:
    """Declare the function beneath as a route; its docstring is the route's description."""

    def declare(handler: Handler) -> Endpoint:
        return Endpoint(
            method,
            path,
            handler,
            access=access,
            tag=tag,
            body=body,
            documented=documented,
            body_optional=body_optional,
            query=query,
            gives=gives,
            ids=ids,
            status=status,
            errors=errors,
            tell=tell,
            error_body=error_body,
        )

    return declare


def route_of(declared: Endpoint, service: Service) -> Route:
    """The route that answers for an endpoint."""
    return Route(declared.path, _Answering(declared, service), methods=[declared.method])


@dataclass(frozen=True, slots=True)
class _Answering:
    """An endpoint as an ASGI application: a class, so that Starlette hands it the raw channels."""

    declared: Endpoint
    service: Service

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.route = self.declared.path
        if (tell := self.declared.tell) is not None:
            exchange.tell = lambda problem: tell(problem, exchange.request_id)
        response = await self._answer(Request(scope, receive), exchange)
        await response(scope, receive, send)

    async def _answer(self, request: Request, exchange: Exchange) -> ASGIApp:
        declared, service = self.declared, self.service
        if not declared.admits:
            exchange.admit()
        known = await caller_of(request, service, declared.access) if declared.access != "anyone" else None
        query = query_as(declared.query, request.query_params) if declared.query else None
        body = None
        if declared.body is not None:
            body = body_as(declared.body, await read_body(request, service.settings.server.body_timeout_s))
        told = await declared.handler(Call(request, service, exchange, known, body, query))
        return _response(told, declared.status)


def _response(told: Told, status: int) -> ASGIApp:
    if told is None:
        return Response(status_code=204)
    if isinstance(told, BaseModel | Mapping | Sequence):
        return Response(to_json(told), status, media_type="application/json")
    return told
