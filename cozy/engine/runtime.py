"""Graph, Turn → events: the one place where timeouts and cancellation live.

A ready stage goes on in the task of the one that made it ready; only further ready ones get a task of their
own. A stage that fails cancels the turn's scope and leaves its error on the run, so no exception group ever
forms. What must still happen then (`settle`) runs shielded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from cozy.engine.failure import Failure
from cozy.engine.graph import Graph, Node, Slot
from cozy.engine.keeping import kept_of
from cozy.engine.prefixes import PrefixLog
from cozy.engine.reader import Reader
from cozy.engine.schedule import release, waiting_counts
from cozy.engine.seat import Seat
from cozy.engine.trace import Asked, Recording, Trace
from cozy.engine.variables import HIDDEN_NAMES, turn_variables
from cozy.errors import CozyError, EngineError, NoAnswer, NotFound, StageTimeout, StorageError, TurnTimeout
from cozy.events import (
    Event,
    StageDegraded,
    StageFinished,
    StageSkipped,
    StageStarted,
    TurnFailed,
    TurnFinished,
)
from cozy.ports import Ports
from cozy.ports.llm import ModelCard
from cozy.stages.offer import offer_of
from cozy.stages.values import Generation, Reply
from cozy.turn import Message, Turn
from cozy.usage import Usage

SETTLE_TIMEOUT_S = 5.0
"""How long a stage without a timeout of its own may take to keep a turn: nothing else bounds it."""

_log = logging.getLogger("cozy.turn")

Watcher = Callable[[TurnFinished | TurnFailed], object]
"""Told of the last event of a turn, whether or not its reader still listens."""


class TurnRun:
    """One turn's state, gone when the turn is."""

    def __init__(
        self,
        graph: Graph,
        turn: Turn,
        ports: Ports,
        reader: Reader,
        prefixes: PrefixLog,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        count = len(graph.nodes)
        self.graph, self.turn, self.ports = graph, turn, ports
        self._watchers = watchers
        self.done = anyio.Event()
        self.values: list[Any] = [None] * count
        self.left = waiting_counts(graph)
        self.spoken: list[str] = []
        self.degraded: list[StageDegraded] = []
        self.rounds: list[Message] = []
        self.context_began: float | None = None
        self.offer = offer_of(graph.persona, turn)
        self.variables = turn_variables(graph, turn)
        if self.offer.specs != graph.tool_list:
            self.variables["tools"] = self.offer.specs
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
            if self._scope.cancelled_caught and not (self._failure or self._interrupted or self._kept):
                self._failure = Failure(None, TurnTimeout(self.graph.timeout_s))
        except anyio.get_cancelled_exc_class():
            self._interrupted = True  # not by us: the engine itself is being stopped
            raise
        except Exception:
            _log.exception("turn of %s failed", self.graph.id, extra=self._log_fields(""))
            self._failure = self._failure or Failure(None, None)
        finally:
            try:
                await self._finish()
            except Exception:  # a bug in one turn's end is not the end of the other turns
                _log.exception("turn of %s could not end", self.graph.id, extra=self._log_fields(""))
                self._failure = Failure(None, None)
                await self._tell_end(self._partial(), self._trace())
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
        context = Seat(self, i, node.info)
        recording.outcomes[i] = "cancelled"  # until we know better
        try:
            if (self._skipped and self._starved(node)) or not (
                node.when is None or node.when.holds(self.variables)
            ):
                self._skipped = True
                await context.emit(StageSkipped(node.id))
                self._end(i, "skipped", node.empty())
                return True
            await context.emit(StageStarted(node.id, node.type))
            value = await self._value(node, context)
        except CozyError as error:
            return await self._failed(i, error, error.code, error.message, context)
        except Exception as error:
            _log.exception("stage %s of %s failed", node.id, self.graph.id, extra=self._log_fields(node.id))
            return await self._failed(i, None, "INTERNAL_ERROR", type(error).__name__, context)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:
                recording.ends[i] = perf_counter()
                raise
            _log.exception("stage %s of %s failed", node.id, self.graph.id, extra=self._log_fields(node.id))
            return await self._failed(i, None, "INTERNAL_ERROR", type(error).__name__, context)
        self._end(i, "done", value)
        await context.emit(StageFinished(node.id, perf_counter() - started))
        return True

    async def _value(self, node: Node, context: Seat) -> Any:
        """The node's value, within its deadline."""
        arguments = {slot.parameter: self._fill(slot) for slot in node.inputs}
        timeout_s = node.timeout_s or (SETTLE_TIMEOUT_S if node.settles else None)
        if timeout_s is None:
            return await self._attempts(node, arguments, context)
        deadline = anyio.current_time() + timeout_s
        with anyio.CancelScope(deadline=deadline, shield=node.settles) as context.scope:
            return await self._attempts(node, arguments, context)
        # only our own deadline gets here: a stage's own TimeoutError is an error of the stage
        raise StageTimeout(node.id, timeout_s)

    async def _attempts(self, node: Node, arguments: dict[str, Any], context: Seat) -> Any:
        """The node's value, tried again under `retries` as long as it has said nothing."""
        said, delay_s = len(self.spoken), 0.1
        for attempt in range(node.retries):
            try:
                return await node.stage.run(**arguments, ctx=context)
            except EngineError as error:
                if not error.retryable or (node.info.speaks and len(self.spoken) > said):
                    raise
                wait_s = error.retry_after_s or delay_s
                deadline = min(context.deadline, anyio.current_effective_deadline())
                if anyio.current_time() + wait_s >= deadline:
                    raise
                context.engine_failed(error)
                context.note(attempts=attempt + 2)
                await anyio.sleep(wait_s)
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
                if nothing or not node.has_empty:
                    return True
        return False

    def _fill(self, slot: Slot) -> Any:
        if slot.many:
            return [self.values[s] for s in slot.sources]
        ran = (s for s in slot.sources if self.recording.outcomes[s] == "done")
        first = next(ran, slot.sources[0] if slot.sources else None)
        return None if first is None else self.values[first]

    async def _failed(self, i: int, error: CozyError | None, code: str, reason: str, context: Seat) -> bool:
        node = self.graph.nodes[i]
        context.note(code=code, reason=reason)
        if isinstance(error, EngineError):
            context.engine_failed(error)
        # what the client would be told has failed is on disk, whole: it only lacks what this stage adds
        if node.on_error == "degrade" or self._kept:
            await context.emit(self.degrade(i, code, reason))
            return True
        self._end(i, "failed", None)
        if self._failure is None:
            self._failure = Failure(node.id, error)
            if error is not None:  # a bug is in the log already, with its way there
                fields = {**self._log_fields(node.id), "code": code, "reason": reason}
                _log.warning("turn failed", extra=fields)
        self._scope.cancel()
        return False

    def degrade(self, i: int, code: str, reason: str) -> StageDegraded:
        """Put it on record that a node goes on with its empty value."""
        node, started = self.graph.nodes[i], self.recording.starts[i]
        event = StageDegraded(node.id, code, reason, perf_counter() - started if started else 0.0)
        self.degraded.append(event)
        fields = {**self._log_fields(node.id), "code": code, "reason": reason, "seconds": event.seconds}
        _log.warning("stage degraded", extra=fields)
        self._end(i, "degraded", node.empty())
        return event

    @property
    def _kept(self) -> bool:
        """Whether the whole turn has been kept."""
        done = (
            node.settles and self.recording.outcomes[i] == "done" for i, node in enumerate(self.graph.nodes)
        )
        return self._answered and any(done)

    def _end(self, i: int, outcome: Any, value: Any) -> None:
        self.recording.ends[i] = perf_counter()
        self.recording.outcomes[i] = outcome
        self.values[i] = value
        if (stage := self.graph.nodes[i].id) not in HIDDEN_NAMES:
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
        """What was done and said until the turn was cut off; of the words, what was heard."""
        said = self.spoken[: self.reader.texts_read] if self.reader.has_left else self.spoken
        text = "".join(said) if self._heard is None else self._heard
        return Reply(
            text=text,
            messages=kept_of(self.rounds, text),
            finish_reason="interrupted",
            usage=sum((a.usage for a in self.recording.requests), Usage()),
            model=next((n["model"] for n in reversed(self.recording.notes.values()) if "model" in n), ""),
            error=self._failure.code if self._failure else None,
        )

    async def _finish(self) -> None:
        reply = self._answer()
        if reply is None and not (self._failure or self._interrupted or self._scope.cancel_called):
            self._failure = Failure(None, NoAnswer("no stage that speaks has run"))
        if reply is None or self._failure is not None:
            reply = self._partial()
        await self._settle(reply)
        requests = self.recording.requests
        trace = self._trace(
            cards={a.request.model: self.ports.llm.card(a.request.model) for a in requests},
            seen=[(a, self._matched(a)) for a in requests] if self.turn.session_id else (),
        )
        await self._tell_end(reply, trace)

    async def _tell_end(self, reply: Reply, trace: Trace) -> None:
        event = self._last_event(reply, trace)
        for watcher in self._watchers:
            watcher(event)
        # whether or not anybody still listens: what had to be kept is kept
        await self.reader.tell(event)

    async def tell(self, event: Event, context: Seat) -> None:
        """Hand an event to a reader who is behind: meanwhile the turn's clock stands, and the stage's."""
        waited = await self.reader.tell(event, self._scope, context.scope)
        if waited is None:
            # nobody listens any more: an answer that is whole is still kept, one under way ends here
            self.interrupt()
            await anyio.lowlevel.checkpoint()
        elif waited:
            now = perf_counter()
            context.mark("reader", now - waited, now)

    async def _settle(self, partial: Reply) -> None:
        """Keep what is to be kept of a turn that was cut off: shielded, so that nothing stops it."""
        for i, node in enumerate(self.graph.nodes):
            if not node.settles or self.recording.outcomes[i] == "done" or self._cannot_keep(node):
                continue
            self.recording.starts[i] = self.recording.starts[i] or perf_counter()
            try:
                with anyio.move_on_after(timeout_s := node.timeout_s or SETTLE_TIMEOUT_S, shield=True):
                    settle: Any = node.stage
                    await settle.settle(partial, Seat(self, i, node.info))
                    self._end(i, "done", None)
                    continue
                raise StageTimeout(node.id, timeout_s)
            except CozyError as error:
                fields = {**self._log_fields(node.id), "code": error.code}
                _log.error("stage could not settle", extra=fields)
                self._failure = self._failure or Failure(node.id, error)
            except Exception:
                _log.exception("stage %s could not settle", node.id, extra=self._log_fields(node.id))
                self._failure = self._failure or Failure(node.id, None)

    def _cannot_keep(self, node: Node) -> bool:
        """Whether this node has failed to keep the turn already, and would fail again."""
        failure = self._failure
        return (
            failure is not None
            and failure.stage == node.id
            and isinstance(failure.error, StorageError | NotFound | StageTimeout)
        )

    def _last_event(self, reply: Reply, trace: Trace) -> TurnFinished | TurnFailed:
        if self._failure is not None:
            return self._failure.event(reply.text, trace, self.turn)
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
        return self._prefixes.matched((self.turn.session_id, asked.request.model), asked.request.messages)

    def _log_fields(self, stage: str) -> dict[str, str | None]:
        return {**self.turn.log_fields(), "stage": stage}
