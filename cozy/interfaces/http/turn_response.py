"""The answer to a chat request: runs its turns while it is sent, and ends them when the client leaves.

It is an ASGI application, not a response with a generator in it: a generator that is dropped in the middle
cleans up late, and in another task.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Protocol, TypeVar
from uuid import uuid4

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cozy.engine.engine import RunningTurn
from cozy.engine.repeats import Repeats
from cozy.errors import CozyError
from cozy.events import Event, TextDelta, ToolCallDelta, TurnFailed, TurnFinished
from cozy.interfaces.http.admission import Admission
from cozy.interfaces.http.ending import Ending, ending_of, told_again
from cozy.interfaces.http.exchange import Exchange
from cozy.interfaces.http.metrics import Metrics
from cozy.interfaces.http.problems import Problem, problem_of
from cozy.interfaces.http.renderer import Renderer
from cozy.interfaces.http.service import Service
from cozy.interfaces.http.turns import Plan, with_session
from cozy.ports.requests import KnownRequest
from cozy.turn import Turn, TurnId

T = TypeVar("T")

STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    # nginx and its likes would keep the words until there are many
    (b"x-accel-buffering", b"no"),
)
LEAVING_S = 2.0
"""For what is put on record of a turn whose client has left."""
PING = b": ping\n\n"
"""A comment: clients skip it, proxies see that the connection lives."""


class Source(Protocol):
    """Events of one turn or of several side by side, each with the number of its answer."""

    async def next(self) -> tuple[int, Event] | None: ...

    def ready(self) -> list[tuple[int, Event]]: ...


@dataclass(slots=True)
class TurnResponse:
    """One request's answer, whole or streamed."""

    plan: Plan
    renders: Callable[[TurnId], Renderer]
    """For the answer of this turn: a turn that is told again keeps its id."""
    stream: bool
    answers: int
    service: Service
    repeats: Repeats
    admission: Admission
    metrics: Metrics
    exchange: Exchange
    answered: Callable[[Turn, Ending], None]
    """Told of a whole answer when it is sent."""
    _send: Send = field(init=False)
    _renderer: Renderer = field(init=False)
    _queued_s: float = 0
    """How long the request waited for its turn."""
    _begun: bool = False
    """The head is sent."""
    _is_open: bool = False
    """The stream's first event is sent."""
    _first_word_s: float | None = None
    _endings: dict[int, Ending] = field(default_factory=dict[int, Ending])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send, self._renderer = send, self.renders(self.plan.turn.id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, receive, tasks.cancel_scope)
            try:
                async with self.admission.place() as self._queued_s:
                    await self._answer(tasks)
            except CozyError as error:
                with suppress(SlowReader):
                    await self._fail(problem_of(error, in_full=self.exchange.may_see_inside))
            except SlowReader:
                self.exchange.code = "VALIDATION_TIMEOUT"  # the connection ends in the middle of the answer
            tasks.cancel_scope.cancel()

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        """A client that leaves ends its turns at once."""
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _answer(self, tasks: TaskGroup) -> None:
        begun = await self._begin()
        if isinstance(begun, KnownRequest):
            await self._tell_again(begun)
            return
        self.exchange.turn_id, self.exchange.session_id = begun.id, begun.session_id
        tasks.start_soon(self.repeats.hold, begun)
        async with self._running(begun) as source:
            try:
                await self._listen(begun, source)
            except BaseException:
                await self._left(begun)
                raise
            if not self.plan.keeps or self._endings[0].problem is not None:  # what was stored stays as it is
                await self._settle(begun, self._endings[0])
            await self._finish(begun)

    async def _begin(self) -> Turn | KnownRequest:
        """The turn to run, with the session that it is to have; or what the request was answered before."""
        turn = self.plan.turn
        try:
            begun = await self._patiently(lambda: self.repeats.begin(turn))
            if isinstance(begun, Turn):
                self.service.engine.check(begun)
                if self.plan.creates_session and begun.session_id is None:
                    begun = await with_session(begun, self.service)
        except BaseException:
            await self._free(turn)
            raise
        return begun

    async def _left(self, turn: Turn) -> None:
        """Nobody hears the end of the turn."""
        if not self.plan.keeps:
            await self._free(turn)

    async def _free(self, turn: Turn) -> None:
        """Free the key of a turn that nothing stores, for another try."""
        with anyio.move_on_after(LEAVING_S, shield=True):
            await self.repeats.settle(turn, "interrupted", None)

    async def _settle(self, turn: Turn, ending: Ending) -> None:
        """Keep the answer to a key of the client's where the pipeline stores nothing."""
        if ending.problem is not None:
            await self.repeats.settle(turn, "failed", None)
            return
        reply = {
            "text": ending.text,
            "finish_reason": ending.finish_reason,
            "tool_calls": [asdict(call) for call in ending.tool_calls],
            "usage": asdict(ending.usage),
            "model": ending.facts.get("model", ""),
            "error": None,
            "degraded": ending.facts["degrade_reasons"],
            "engines": [{k: v for k, v in e.items() if k != "reason"} for e in ending.facts["engines"]],
        }
        await self.repeats.settle(turn, "complete", reply)

    @asynccontextmanager
    async def _running(self, turn: Turn) -> AsyncGenerator[Source]:
        """The turns, under way."""
        turns = [turn, *(replace(turn, id=TurnId(uuid4())) for _ in range(self.answers - 1))]
        async with AsyncExitStack() as stack:
            running = [await stack.enter_async_context(self.service.engine.run(t)) for t in turns]
            self.repeats.watch(turn, running[0].ended)
            if len(running) == 1:
                yield _One(running[0])
            else:
                yield await stack.enter_async_context(_side_by_side(running))

    async def _listen(self, turn: Turn, source: Source) -> None:
        """Take the events until every turn has ended, and send what a stream's reader is told of them."""
        while len(self._endings) < self.answers:
            events = source.ready()
            if not events:
                first = await self._patiently(source.next)
                events = [first, *source.ready()] if first is not None else []
            written = b"".join([self._take(turn, choice, event) for choice, event in events])
            if written:
                await self._write(written)
            # a send that never waits would keep the loop, and the news that the client left, from running
            await anyio.lowlevel.checkpoint()

    def _take(self, turn: Turn, choice: int, event: Event) -> bytes:
        match event:
            case TurnFinished() | TurnFailed():
                exchange = self.exchange
                ending = ending_of(event, turn, exchange.request_id, in_full=exchange.may_see_inside)
                self._endings[choice] = ending
                self._record(event)
                if not self.stream or ending.problem is not None:
                    return b""
                return self._renderer.end(choice, ending)
            case TextDelta() | ToolCallDelta() if self._first_word_s is None:
                self._first_word_s = perf_counter() - self.exchange.began
                self.metrics.first_word.labels(self.plan.graph.id).observe(self._first_word_s)
            case _:
                pass
        return self._renderer.event(choice, event) if self.stream else b""

    def _record(self, event: TurnFinished | TurnFailed) -> None:
        exchange, trace = self.exchange, event.trace
        model = trace.model
        exchange.degraded = tuple(s.id for s in trace.stages if s.outcome == "degraded")
        exchange.engines += trace.engines
        if isinstance(event, TurnFailed):
            exchange.code, exchange.stage = event.code, event.stage
            asked = (s.facts.get("model", "") for s in trace.stages if s.id == event.stage)
            model = next(asked, "") or model  # it has not answered: the trace counts it as none
        exchange.model, exchange.engine = model or None, model.partition("/")[0] or None

    async def _finish(self, turn: Turn) -> None:
        """Every turn has ended, and what had to be kept of it is on disk: now the client is told so."""
        endings = [self._endings[choice] for choice in range(self.answers)]
        failed = next((ending.problem for ending in endings if ending.problem is not None), None)
        if failed is not None:
            await self._fail(failed)
            return
        if self.stream:
            await self._write(self._renderer.close(endings), last=True)
        else:
            await self._whole(endings)
        self.answered(turn, endings[0])

    async def _tell_again(self, known: KnownRequest) -> None:
        turn = self.plan.turn
        self.exchange.turn_id, self.exchange.session_id = known.turn_id, known.session_id
        self._renderer = self.renders(known.turn_id)
        ending = told_again(known, turn, self.exchange.request_id)
        if not self.stream:
            await self._whole([ending])
            return
        written = self._renderer.again(ending) + self._renderer.end(0, ending)
        await self._write(written + self._renderer.close([ending]), last=True)

    # -- sending ---------------------------------------------------------------------------------------

    async def _patiently(self, wait: Callable[[], Awaitable[T]]) -> T:
        """What `wait` gives; a stream's reader is told now and then that there is something to wait for."""
        if not self.stream:
            return await wait()
        while True:
            with anyio.move_on_after(self.service.settings.server.ping_s):
                return await wait()
            await self._write(PING)

    async def _whole(self, endings: Sequence[Ending]) -> None:
        body = to_json(self._renderer.whole(endings))
        headers = {"server-timing": self._timing(endings[0])}
        await self._bounded(Response(body, 200, headers, "application/json"))

    async def _fail(self, problem: Problem) -> None:
        self.exchange.code = problem.code
        if self._begun:
            await self._write(self._renderer.broken(problem, self.exchange.request_id), last=True)
        else:
            await self._bounded(self.exchange.told(problem))

    async def _bounded(self, response: Response) -> None:
        with anyio.move_on_after(self.service.settings.server.write_timeout_s):
            await response({"type": "http", "method": "POST"}, _nothing, self._send)

    async def _write(self, body: bytes, *, last: bool = False) -> None:
        """Send a piece of the stream; a reader who takes nothing for too long is taken for gone."""
        with anyio.move_on_after(self.service.settings.server.write_timeout_s):
            if not self._begun:
                self._begun = True
                headers = [*STREAM_HEADERS, (b"server-timing", self._timing(None).encode())]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            if not self._is_open and body != PING:
                self._is_open, body = True, self._renderer.begin() + body
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})
            return
        raise SlowReader

    def _timing(self, ending: Ending | None) -> str:
        """https://www.w3.org/TR/server-timing/, in milliseconds."""
        parts = {"admission": self._queued_s * 1000}
        if self._first_word_s is not None:
            parts["first_word"] = self._first_word_s * 1000
        if ending is not None:
            spent = ending.facts.get("spent_ms", {})
            parts |= {name.replace("/", "."): ms for name, ms in spent.items()}
            parts["total"] = ending.facts.get("total_ms", 0.0)
        return ", ".join(f"{name};dur={ms:.1f}" for name, ms in parts.items())


class SlowReader(Exception):
    """The client has taken nothing for longer than is waited."""


async def _nothing() -> dict[str, str]:
    return {"type": "http.disconnect"}


@dataclass(frozen=True, slots=True)
class _One:
    """A single turn."""

    running: RunningTurn

    async def next(self) -> tuple[int, Event] | None:
        event = await self.running.next()
        return None if event is None else (0, event)

    def ready(self) -> list[tuple[int, Event]]:
        return [(0, event) for event in self.running.ready()]


@dataclass(frozen=True, slots=True)
class _Several:
    """Turns side by side, in the order in which they speak."""

    receive: Callable[[], Awaitable[tuple[int, Event]]]

    async def next(self) -> tuple[int, Event] | None:
        return await self.receive()

    def ready(self) -> list[tuple[int, Event]]:
        return []


@asynccontextmanager
async def _side_by_side(running: Sequence[RunningTurn]) -> AsyncGenerator[Source]:
    send, receive = anyio.create_memory_object_stream[tuple[int, Event]]()
    failure: Exception | None = None

    async def pass_on(choice: int, turn: RunningTurn, to: MemoryObjectSendStream[tuple[int, Event]]) -> None:
        async for event in turn:
            await to.send((choice, event))

    async with anyio.create_task_group() as tasks, send, receive:
        for choice, turn in enumerate(running):
            tasks.start_soon(pass_on, choice, turn, send)
        try:
            yield _Several(receive.receive)
        except Exception as error:  # a task group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
