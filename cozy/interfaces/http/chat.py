"""`POST /v1/chat/completions`, in every dialect: who asks, what for, is there room, and then the turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp

from cozy.engine.repeats import Repeats
from cozy.errors import InvalidRequest, TooLarge
from cozy.interfaces.http.admission import Admission
from cozy.interfaces.http.bodies import json_object, read_body
from cozy.interfaces.http.credentials import caller_of
from cozy.interfaces.http.ending import Ending
from cozy.interfaces.http.endpoint import Call, Endpoint, Handler
from cozy.interfaces.http.metrics import Metrics
from cozy.interfaces.http.openai_completion import Completion
from cozy.interfaces.http.renderer import Dialect
from cozy.interfaces.http.service import Service
from cozy.interfaces.http.turn_response import TurnResponse
from cozy.interfaces.http.turns import Repetition, plan
from cozy.turn import Turn

Background = Callable[[Dialect, Turn, Ending], None]
"""Starts what a dialect does after an answer."""


@dataclass(frozen=True, slots=True)
class Chat:
    """What the route needs beside the service; made once."""

    dialects: Sequence[Dialect]
    """The first that a body speaks is taken; the last speaks to all."""
    service: Service
    repeats: Repeats
    admission: Admission
    metrics: Metrics
    background: Background

    async def complete(self, call: Call[None, None]) -> ASGIApp:
        """Answer a conversation.

        OpenAI's request and answer; with `stream` as Server-Sent Events. `model` names a personality, or a
        `provider/model` that the configuration offers. Cozy's own fields stand under `cozy`.
        """
        request, exchange = call.request, call.exchange
        body, values, unread = b"", None, None
        try:
            body = await self._body(call)
            values = json_object(body)
        except InvalidRequest as error:
            unread = error  # who asks is the first question, also where nobody can read what for
        dialect = next(d for d in self.dialects if d.speaks(values, request.headers))
        exchange.tell = lambda problem: dialect.refused(problem, values, exchange.request_id)
        exchange.admit()
        caller = await caller_of(request, self.service, "chat")
        if unread is not None:
            raise unread
        ask = dialect.ask(body)
        repetition = Repetition.of(request.headers, body)
        planned = await plan(ask, caller, repetition, exchange.request_id, self.service)
        exchange.personality_id = planned.graph.id
        return TurnResponse(
            plan=planned,
            renders=lambda turn_id: dialect.renderer(ask, planned.graph.id, turn_id),
            stream=ask.stream,
            answers=ask.n,
            service=self.service,
            repeats=self.repeats,
            admission=self.admission,
            metrics=self.metrics,
            exchange=exchange,
            answered=lambda turn, ending: self.background(dialect, turn, ending),
        )

    async def _body(self, call: Call[None, None]) -> bytes:
        """Of a client that is refused, too: it says how that one wants to be told. Raises InvalidRequest."""
        if isinstance(call.exchange.refusal, TooLarge):
            raise call.exchange.refusal
        return await read_body(call.request, self.service.settings.server.body_timeout_s)


def chat_endpoint(complete: Handler, dialects: Sequence[Dialect]) -> Endpoint:
    """The route, answered by a `Chat`'s `complete`."""
    return Endpoint(
        "POST",
        "/v1/chat/completions",
        complete,
        access="anyone",
        authenticates=True,  # the dialect tells who is not let in
        admits=True,
        streams=True,
        tag="OpenAI",
        documented=tuple(dialect.body for dialect in dialects),
        gives=Completion,
        errors=(401, 403, 404, 409, 422, 502, 504),
    )
