"""The HTTP interface as one ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import cast

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from cozy.engine.repeats import Repeats
from cozy.errors import CozyError, NotFound
from cozy.interfaces.http import admin, health, models
from cozy.interfaces.http.admission import Admission
from cozy.interfaces.http.chat import Background, Chat, chat_endpoint
from cozy.interfaces.http.docs_page import page
from cozy.interfaces.http.ending import Ending
from cozy.interfaces.http.endpoint import Call, Endpoint, Handler, route_of
from cozy.interfaces.http.exchange import exchange_of
from cozy.interfaces.http.gate import ALLOWANCE, Gate
from cozy.interfaces.http.metrics import Metrics
from cozy.interfaces.http.openai_answer import OpenAIDialect
from cozy.interfaces.http.openapi import document
from cozy.interfaces.http.problems import MethodNotAllowed, problem_of, unexpected
from cozy.interfaces.http.renderer import Dialect
from cozy.interfaces.http.service import Service
from cozy.turn import Turn

AFTERWARDS_S = 20.0
"""How long what a dialect does after an answer may take, also when the server is being stopped."""

_log = logging.getLogger("cozy.http")


@dataclass(frozen=True, slots=True)
class Extension:
    """An API beside OpenAI's."""

    endpoints: Sequence[Endpoint] = ()
    dialects: Sequence[Dialect] = field(default=())
    """Its ways of speaking to the chat route."""


@asynccontextmanager
async def open_http(
    service: Service, extensions: Sequence[Extension] = (), metrics: Metrics | None = None
) -> AsyncGenerator[ASGIApp]:
    """The application, until the block is left; what was begun after answers ends first."""
    async with anyio.create_task_group() as tasks:
        yield build_app(service, extensions, tasks, metrics or Metrics())
        tasks.cancel_scope.deadline = anyio.current_time() + AFTERWARDS_S


def build_app(
    service: Service, extensions: Sequence[Extension], tasks: TaskGroup, metrics: Metrics
) -> ASGIApp:
    """The application; what dialects do after their answers runs in `tasks`."""
    metrics.follow(service)
    chat = Chat(
        dialects=_dialects(extensions),
        service=service,
        repeats=Repeats(service.requests),
        admission=Admission(service.settings.server, service.draining, service.under_way, metrics),
        metrics=metrics,
        background=_background(service, tasks),
    )
    declared = endpoints(chat.complete, metrics, extensions)
    declared += _documents(declared)
    app = Starlette(
        routes=[route_of(e, service) for e in declared],
        exception_handlers={HTTPException: _no_route, CozyError: _refused, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    gate = Gate(app, service.settings, service.limits, metrics)
    return CORSMiddleware(
        gate,
        allow_origins=service.settings.server.cors_origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=("*",),
        expose_headers=("Location", "X-Request-Id", "Server-Timing", "Retry-After", *ALLOWANCE),
        max_age=600,
    )


def endpoints(complete: Handler, metrics: Metrics, extensions: Sequence[Extension]) -> list[Endpoint]:
    """Every route but the documents."""
    return [
        chat_endpoint(complete, _dialects(extensions)),
        *models.ENDPOINTS,
        *(e for extension in extensions for e in extension.endpoints),
        *health.ENDPOINTS,
        health.metrics_endpoint(metrics),
        *admin.ENDPOINTS,
    ]


def _dialects(extensions: Sequence[Extension]) -> tuple[Dialect, ...]:
    """OpenAI's is the last: it takes what none of the others does."""
    return (*(d for extension in extensions for d in extension.dialects), OpenAIDialect())


def _background(service: Service, tasks: TaskGroup) -> Background:
    async def after(dialect: Dialect, turn: Turn, ending: Ending) -> None:
        try:
            await dialect.answered(service, turn, ending)
        except CozyError as error:
            fields = {**turn.log_fields(), "code": error.code}
            _log.warning("what follows an answer failed", extra=fields)
        except Exception:  # nobody waits for it; other answers go on
            _log.exception("what follows an answer failed", extra=turn.log_fields())

    def start(dialect: Dialect, turn: Turn, ending: Ending) -> None:
        tasks.start_soon(after, dialect, turn, ending)

    return start


def _documents(declared: Sequence[Endpoint]) -> list[Endpoint]:
    """`/openapi.json` and `/docs`, of all routes but themselves; made once, for the first who asks: it takes
    as long as the rest of a start."""
    described = cache(partial(document, declared))
    shown = cache(lambda: page(described()))

    async def openapi(_call: Call[None, None]) -> Response:
        """Give this document."""
        return JSONResponse(await anyio.to_thread.run_sync(described))

    async def docs(_call: Call[None, None]) -> Response:
        """Show this document as a page."""
        return HTMLResponse(await anyio.to_thread.run_sync(shown))

    return [
        Endpoint("GET", "/openapi.json", openapi, access="anyone", tag="Operations"),
        Endpoint("GET", "/docs", docs, access="anyone", tag="Operations", media_type="text/html"),
    ]


async def _refused(request: Request, error: Exception) -> Response:
    """An error that a user can meet."""
    known = cast("CozyError", error)  # Starlette hands this one no other
    exchange = exchange_of(request.scope)
    return exchange.told(problem_of(known, in_full=exchange.may_see_inside))


async def _unexpected(request: Request, _error: Exception) -> Response:
    """A bug; Starlette lets it through when it is answered, and the gate logs it."""
    return exchange_of(request.scope).told(unexpected())


async def _no_route(request: Request, error: Exception) -> Response:
    """Starlette's own errors, in our shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    known: CozyError = (
        MethodNotAllowed(f"`{request.method}` is not allowed here")
        if status == 405
        else NotFound("route", request.scope["path"][:200])
    )
    exchange = exchange_of(request.scope)
    response = exchange.told(problem_of(exchange.refusal or known))
    if response.status_code == 405:
        response.headers["allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """What the path can be asked with: Starlette itself tells of its first route alone."""
    routes = cast("Starlette", request.app).routes
    fitting = [r for r in routes if isinstance(r, Route) and r.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in fitting for method in route.methods or ()})
