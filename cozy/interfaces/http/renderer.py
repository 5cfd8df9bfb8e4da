"""What a dialect of the chat route does: a request in its words in, an answer in its words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.responses import Response

from cozy.events import Event
from cozy.interfaces.http.ask import Ask
from cozy.interfaces.http.ending import Ending
from cozy.interfaces.http.problems import Problem
from cozy.interfaces.http.service import Service
from cozy.turn import Turn, TurnId


class Renderer(Protocol):
    """Writes one answer. `choice` counts the answers to one request, from 0."""

    def begin(self) -> bytes:
        """What a stream begins with."""
        ...

    def event(self, choice: int, event: Event) -> bytes:
        """An event as it is streamed; empty where the client is not told of it."""
        ...

    def again(self, ending: Ending) -> bytes:
        """The words of a turn that is told a second time, before its `end`."""
        ...

    def end(self, choice: int, ending: Ending) -> bytes:
        """The end of one answer of a stream."""
        ...

    def close(self, endings: Sequence[Ending]) -> bytes:
        """The end of a stream whose answers have all ended."""
        ...

    def broken(self, problem: Problem, request_id: str) -> bytes:
        """The end of a stream that has begun and cannot go on."""
        ...

    def whole(self, endings: Sequence[Ending]) -> Mapping[str, Any]:
        """All answers at once."""
        ...


class Dialect(Protocol):
    """One way of speaking to `POST /v1/chat/completions`."""

    @property
    def body(self) -> type[BaseModel]:
        """What its clients send."""
        ...

    def speaks(self, body: Mapping[str, Any] | None, headers: Headers) -> bool:
        """Whether the client that sent this body speaks it; None is one that could not be read."""
        ...

    def ask(self, body: bytes) -> Ask:
        """Raises InvalidRequest."""
        ...

    def renderer(self, ask: Ask, personality_id: str, turn_id: TurnId) -> Renderer: ...

    async def answered(self, service: Service, turn: Turn, ending: Ending) -> None:
        """What is done after a whole answer was sent, beside other requests; its errors are logged."""
        ...

    def refused(self, problem: Problem, body: Mapping[str, Any] | None, request_id: str) -> Response:
        """The answer where no stream has begun."""
        ...
