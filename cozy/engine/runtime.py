"""Graph, Turn → events: the one place where timeouts and cancellation live.

A ready stage goes on in the task of the one that made it ready; only further ready ones get a task of their
own. A stage that fails cancels the turn's scope and leaves its error on the run, so no exception group ever
forms. What must still happen then (`settle`) runs shielded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from cozy.engine.graph import Graph, Node, Slot
from cozy.engine.prefixes import PrefixLog
from cozy.engine.reader import Reader
from cozy.engine.schedule import release, waiting_counts
from cozy.engine.trace import Asked, Mark, Recording, Trace
from cozy.errors import CozyError, EngineError, NoAnswer, StageTimeout, TurnTimeout
from cozy.events import (
    Event,
    StageDegraded,
    StageFinished,
    StageSkipped,
    StageStarted,
    TextDelta,
    TurnFailed,
    TurnFinished,
)
from cozy.ports import Ports
from cozy.ports.llm import LLMRequest, ModelCard
from cozy.ports.store import Job
from cozy.stages.base import NodeInfo, Persona
from cozy.stages.templates import SECTION_VARIABLES, VARIABLES
from cozy.stages.values import Generation, Reply
from cozy.turn import Message, Turn
from cozy.usage import Usage

SETTLE_TIMEOUT_S = 5.0
"""How long a stage without a timeout of its own may take to settle a turn that was cut off."""

_log = logging.getLogger("cozy.turn")
_HIDDEN_NAMES = frozenset(VARIABLES) - frozenset(SECTION_VARIABLES)
"""A stage of such an id is not seen in templates: the word is taken."""


def turn_variables(graph: Graph, turn: Turn) -> dict[str, Any]:
    """What templates may name before any stage has run."""
    return {
        "personality": graph.persona.about,
        "tools": graph.tool_list,
        "language": turn.language or graph.persona.about.language,
        "channel": turn.channel,
        "now": turn.received_at.replace(microsecond=0),
        "message": turn.text,
        "turn": turn,
    }


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a turn."""

    stage: str | None
    error: CozyError | None
    """None: a bug; its traceback is in the log, not in the answer."""

    @property
    def code(self) -> str:
        return self.error.code if self.error else "INTERNAL_ERROR"


class TurnRun:
    """One turn's state, gone when the turn is."""

    def __init__(
        self,
        graph: Graph,
        turn: Turn,
        ports: Ports,
        reader: Reader,
        prefixes: PrefixLog,
    ) -> None:
        count = len(graph.nodes)
        self.graph, self.turn, self.ports = graph, turn, ports
        self.done = anyio.Event()
        self.values: list[Any] = [None] * count
        self.left = waiting_counts(graph)
        self.spoken: list[str] = []
        self.degraded: list[StageDegraded] = []
        self.variables = turn_variables(graph, turn)
        now = perf_counter()
        self.recording = Recording(now, now, [None] * count, [None] * count, ["not run"] * count)
        self._failure: Failure | None = None
        self._interrupted = False
        self._skipped = False
        self._heard: str | None = None
        self.reader = reader
        self._prefixes = prefixes
        self._tasks = anyio.create_task_group()
        self._scope = self._tasks.cancel_scope

    # -- from outside ----------------------------------------------------------------------------------

    def interrupt(self, heard: str | None = None) -> None:
        if not self._answered and not self._interrupted:
            self._interrupted, self._heard = True, heard
            self._scope.cancel()

    async def drive(self) -> None:
        """Run the turn to its end and tell it; never raises an error of the turn."""
        self.recording.began = perf_counter()
        try:
            self._scope.deadline = anyio.current_time() + self.graph.timeout_s
            async with self._tasks as tasks:
                for root in self.graph.roots[1:]:
                    tasks.start_soon(self._chain, root, tasks)
                await self._chain(self.graph.roots[0], tasks)
            if self._scope.cancelled_caught and self._failure is None and not self._interrupted:
                self._failure = Failure(None, TurnTimeout(self.graph.timeout_s))
        except anyio.get_cancelled_exc_class():
            self._interrupted = True  # not by us: the engine itself is being stopped
            raise
        finally:
            try:
                await self._finish()
            except Exception:  # a bug in one turn's end is not the end of the other turns
                _log.exception("turn of %s could not end", self.graph.id, extra=self._log_fields(""))
                self._failure = Failure(None, None)
                await self.reader.tell(self._last_event(self._partial(), self._trace()))
            finally:
                self.reader.close()
                self.done.set()

    # -- the stages ------------------------------------------------------------------------------------

    async def _chain(self, i: int, tasks: TaskGroup) -> None:
        """Run a node, then what it made ready: the first here, the others beside it."""
        while await self._node(i):
            ready = release(self.graph, i, self.left)
            if not ready:
                return
            i = ready[0]
            for other in ready[1:]:
                tasks.start_soon(self._chain, other, tasks)

    async def _node(self, i: int) -> bool:
        """Run one node under its own rules; whether the turn goes on."""
        node, recording = self.graph.nodes[i], self.recording
        recording.starts[i] = started = perf_counter()
        context = _Context(self, i, node.info)
        recording.outcomes[i] = "cancelled"  # until we know better
        try:
            if (self._skipped and self._starved(node)) or not (
                node.when is None or node.when.holds(self.variables)
            ):
                self._skipped = True
                await context.emit(StageSkipped(node.id))
                self._end(i, "skipped", _empty(node))
                return True
            await context.emit(StageStarted(node.id, node.type))
            value = await self._value(node, context)
        except CozyError as error:
            return await self._failed(i, error, error.code, error.message, context)
        except Exception as error:
            _log.exception("stage %s of %s failed", node.id, self.graph.id, extra=self._log_fields(node.id))
            return await self._failed(i, None, "INTERNAL_ERROR", type(error).__name__, context)
        except anyio.get_cancelled_exc_class():
            recording.ends[i] = perf_counter()
            raise
        self._end(i, "done", value)
        await context.emit(StageFinished(node.id, perf_counter() - started))
        return True

    async def _value(self, node: Node, context: _Context) -> Any:
        """The node's value, within its deadline."""
        arguments = {slot.parameter: self._fill(slot) for slot in node.inputs}
        if node.timeout_s is None and not node.settles:
            return await self._attempts(node, arguments, context)
        deadline = math.inf if node.timeout_s is None else anyio.current_time() + node.timeout_s
        with anyio.CancelScope(deadline=deadline, shield=node.settles) as context.scope:
            return await self._attempts(node, arguments, context)
        # only our own deadline gets here: a stage's own TimeoutError is an error of the stage
        raise StageTimeout(node.id, node.timeout_s or math.inf)

    async def _attempts(self, node: Node, arguments: dict[str, Any], context: _Context) -> Any:
        """The node's value, tried again under `retries` as long as it has said nothing."""
        said, delay_s = len(self.spoken), 0.1
        for attempt in range(node.retries):
            try:
                return await node.stage.run(**arguments, ctx=context)
            except EngineError as error:
                if not error.retryable or len(self.spoken) > said:
                    raise
                context.note(attempts=attempt + 2)
                await anyio.sleep(error.retry_after_s or delay_s)
                delay_s *= 2
        return await node.stage.run(**arguments, ctx=context)

    def _starved(self, node: Node) -> bool:
        """Whether all that could fill one of its needs were skipped, and it cannot make do with nothing.

        So a tool loop behind one of two speakers is skipped with it, and the other speaker answers.
        """
        for slot in node.inputs:
            if slot.many or slot.optional or not slot.sources:
                continue
            if all(self.recording.outcomes[s] == "skipped" for s in slot.sources):
                nothing = all(self.values[s] is None for s in slot.sources)
                if nothing or not hasattr(node.stage, "empty"):
                    return True
        return False

    def _fill(self, slot: Slot) -> Any:
        if slot.many:
            return [self.values[s] for s in slot.sources]
        ran = (s for s in slot.sources if self.recording.outcomes[s] == "done")
        first = next(ran, slot.sources[0] if slot.sources else None)
        return None if first is None else self.values[first]

    async def _failed(
        self, i: int, error: CozyError | None, code: str, reason: str, context: _Context
    ) -> bool:
        node = self.graph.nodes[i]
        context.note(code=code, reason=reason)
        if node.on_error == "degrade":
            seconds = perf_counter() - (self.recording.starts[i] or 0.0)
            event = StageDegraded(node.id, code, reason, seconds)
            self.degraded.append(event)
            _log.warning("stage degraded", extra={**self._log_fields(node.id), "code": code})
            self._end(i, "degraded", _empty(node))
            await context.emit(event)
            return True
        self._end(i, "failed", None)
        if self._failure is None:
            self._failure = Failure(node.id, error)
        self._scope.cancel()
        return False

    def _end(self, i: int, outcome: Any, value: Any) -> None:
        self.recording.ends[i] = perf_counter()
        self.recording.outcomes[i] = outcome
        self.values[i] = value
        if (stage := self.graph.nodes[i].id) not in _HIDDEN_NAMES:
            self.variables[stage] = value

    # -- the end ---------------------------------------------------------------------------------------

    @property
    def _answered(self) -> bool:
        return any(self.recording.outcomes[i] in ("done", "degraded") for i in self.graph.answers)

    def _answer(self) -> Reply | None:
        """The whole answer, where there is one."""
        for i in self.graph.answers:
            if self.recording.outcomes[i] == "done":
                value = self.values[i]
                return Reply.of(value) if isinstance(value, Generation) else value
        return None

    def _partial(self) -> Reply:
        """What was said until the turn was cut off, or what of it was heard."""
        text = "".join(self.spoken) if self._heard is None else self._heard
        return Reply(
            text=text,
            messages=(Message("assistant", text),) if text else (),
            finish_reason="interrupted",
            usage=sum((a.usage for a in self.recording.requests), Usage()),
            model=next((n["model"] for n in reversed(self.recording.notes.values()) if "model" in n), ""),
            error=self._failure.code if self._failure else None,
        )

    async def _finish(self) -> None:
        reply = self._answer()
        if reply is None and self._failure is None and not self._interrupted and self._scope_ended_well:
            self._failure = Failure(None, NoAnswer("no stage that speaks has run"))
        if reply is None or self._failure is not None:
            reply = self._partial()
            await self._settle(reply)
        requests = self.recording.requests
        trace = self._trace(
            cards={a.request.model: self.ports.llm.card(a.request.model) for a in requests},
            seen=[(a, self._matched(a)) for a in requests] if self.turn.session_id else (),
        )
        # whether or not anybody still listens: what had to be kept is kept
        await self.reader.tell(self._last_event(reply, trace))

    async def tell(self, event: Event, context: _Context) -> None:
        """Hand an event to a reader who is behind: meanwhile the turn's clock stands, and the stage's."""
        waited = await self.reader.tell(event, self._scope, context.scope)
        if waited is None:
            # nobody listens any more: an answer that is whole is still kept, one under way ends here
            self.interrupt()
            await anyio.lowlevel.checkpoint()
        elif waited:
            now = perf_counter()
            context.mark("reader", now - waited, now)

    @property
    def _scope_ended_well(self) -> bool:
        return not self._scope.cancel_called

    async def _settle(self, partial: Reply) -> None:
        """Keep what is to be kept of a turn that was cut off: shielded, so that nothing stops it."""
        for i, node in enumerate(self.graph.nodes):
            if not node.settles or self.recording.outcomes[i] in ("done", "failed"):
                continue
            self.recording.starts[i] = self.recording.starts[i] or perf_counter()
            try:
                with anyio.move_on_after(timeout_s := node.timeout_s or SETTLE_TIMEOUT_S, shield=True):
                    settle: Any = node.stage
                    await settle.settle(partial, _Context(self, i, node.info))
                    self._end(i, "done", None)
                    continue
                raise StageTimeout(node.id, timeout_s)
            except CozyError as error:
                fields = {**self._log_fields(node.id), "code": error.code}
                _log.error("stage could not settle", extra=fields)
            except Exception:
                _log.exception("stage %s could not settle", node.id, extra=self._log_fields(node.id))

    def _last_event(self, reply: Reply, trace: Trace) -> Event:
        if (failure := self._failure) is not None:
            error = failure.error
            return TurnFailed(
                code=failure.code,
                message=error.message if error else "something went wrong inside Cozy; the log says what",
                text=reply.text,
                trace=trace,
                stage=failure.stage,
                hint=error.hint if error else None,
                session_id=self.turn.session_id,
                details=error.details if error else {},
            )
        return TurnFinished(
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=trace.usage,
            trace=trace,
            session_id=self.turn.session_id,
            tool_calls=reply.tool_calls,
        )

    def _trace(
        self, cards: Mapping[str, ModelCard] | None = None, seen: Sequence[tuple[Asked, int]] = ()
    ) -> Trace:
        return Trace(
            self.recording,
            self.graph,
            turn_id=str(self.turn.id),
            cards=cards or {},
            seen=seen,
            count=self.ports.tokens.count,
            ended=perf_counter(),
        )

    def _matched(self, asked: Asked) -> int:
        """How many messages at the beginning of a request the one before it had already."""
        request, stage = asked.request, self.graph.nodes[asked.node].id
        return self._prefixes.matched((self.turn.session_id, stage, request.model), request.messages)

    def _log_fields(self, stage: str) -> dict[str, str]:
        return {"turn_id": str(self.turn.id), "personality_id": self.graph.id, "stage": stage}


class _Context:
    """The turn, as one stage sees it."""

    __slots__ = ("_index", "_run", "node", "persona", "ports", "scope", "turn")

    def __init__(self, run: TurnRun, index: int, node: NodeInfo) -> None:
        self._run, self._index = run, index
        self.turn: Turn = run.turn
        self.ports: Ports = run.ports
        self.persona: Persona = run.graph.persona
        self.node: NodeInfo = node
        self.scope: anyio.CancelScope | None = None

    @property
    def variables(self) -> Mapping[str, Any]:
        return self._run.variables

    @property
    def spoken(self) -> str:
        return "".join(self._run.spoken)

    @property
    def degraded(self) -> Sequence[StageDegraded]:
        return self._run.degraded

    @property
    def usage(self) -> Usage:
        return sum((asked.usage for asked in self._run.recording.requests), Usage())

    async def emit(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._run.spoken.append(event.text)
        if not self._run.reader.tell_now(event):
            await self._run.tell(event, self)

    def mark(self, name: str, start: float, end: float) -> None:
        self._run.recording.marks.append(Mark(self._index, name, start, end))

    def note(self, **facts: Any) -> None:
        self._run.recording.notes.setdefault(self._index, {}).update(facts)

    def asked(self, request: LLMRequest, usage: Usage) -> None:
        self._run.recording.requests.append(Asked(self._index, request, usage))

    def jobs(self, reply: Any) -> Sequence[Job]:
        run = self._run
        jobs: list[Job] = []
        for i in run.graph.nodes[self._index].followers:
            follower = run.graph.nodes[i]
            if follower.when is None or follower.when.holds(run.variables):
                queue: Any = follower.stage
                jobs += queue.jobs(reply, _Context(run, i, follower.info))
        return jobs


def _empty(node: Node) -> Any:
    """The value of a stage that did not run; None where its type has none."""
    stage: Any = node.stage
    return stage.empty() if hasattr(stage, "empty") else None
