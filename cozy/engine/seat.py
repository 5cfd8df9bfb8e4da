"""The turn, as one stage sees it: what `cozy.stages.base.StageContext` promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from cozy.engine.trace import Asked, Called, EngineFailure, Mark
from cozy.errors import CozyError, EngineError
from cozy.events import Event, StageDegraded, TextDelta
from cozy.ports import Ports
from cozy.ports.context import EngineRecord
from cozy.ports.llm import LLMRequest
from cozy.ports.store import Job
from cozy.stages.base import NodeInfo, Persona
from cozy.stages.offer import Offer
from cozy.turn import Message, Turn
from cozy.usage import Usage

if TYPE_CHECKING:
    from cozy.engine.runtime import TurnRun


NET_S = 1.0
"""How much later a stage that keeps its deadline by itself is cut off."""


class Seat:
    """The turn, as one stage sees it."""

    __slots__ = ("_index", "_run", "deadline", "node", "persona", "ports", "scope", "turn")

    def __init__(self, run: TurnRun, index: int, node: NodeInfo) -> None:
        self._run, self._index = run, index
        self.turn: Turn = run.turn
        self.ports: Ports = run.ports
        self.persona: Persona = run.graph.persona
        self.node: NodeInfo = node
        self.scope: anyio.CancelScope | None = None
        self.deadline = math.inf
        """Where the stage keeps it by itself."""

    @property
    def variables(self) -> Mapping[str, Any]:
        return self._run.variables

    @property
    def tools(self) -> Offer:
        return self._run.offer

    @property
    def spoken(self) -> str:
        return "".join(self._run.spoken)

    @property
    def degraded(self) -> Sequence[StageDegraded]:
        return self._run.degraded

    @property
    def engines(self) -> Sequence[tuple[str, EngineRecord]]:
        nodes = self._run.graph.nodes
        return [(nodes[i].id, record) for i, record in self._run.recording.engine_records]

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

    def keep(self, *messages: Message) -> None:
        if self.node.speaks:  # what goes on behind the scenes is no part of the conversation
            self._run.rounds.extend(messages)

    def note(self, **facts: Any) -> None:
        self._run.recording.notes.setdefault(self._index, {}).update(facts)

    def asked(self, request: LLMRequest, usage: Usage) -> None:
        self._run.recording.requests.append(Asked(self._index, request, usage))

    def called(self, tool: str, outcome: str) -> None:
        self._run.recording.tool_calls.append(Called(tool, outcome))

    def own_deadline(self, context_s: float) -> float:
        if self._run.context_began is None:
            self._run.context_began = anyio.current_time()
        if self.deadline == math.inf:
            self.deadline = self._run.context_began + context_s
            if self.scope is not None:
                self.deadline = min(self.deadline, self.scope.deadline)
                self.scope.deadline += NET_S
        return self.deadline

    def engine_answered(self, record: EngineRecord) -> None:
        self._run.recording.engine_records.append((self._index, record))

    def engine_failed(self, error: EngineError) -> None:
        self._run.recording.engine_errors.append(EngineFailure(error.engine, error.code))

    def jobs(self, reply: Any) -> Sequence[Job]:
        """Raises what a follower raises, unless it says `on_error: degrade`."""
        run = self._run
        jobs: list[Job] = []
        for i in run.graph.nodes[self._index].followers:
            follower = run.graph.nodes[i]
            try:
                if follower.when is None or follower.when.holds(run.variables):
                    queue: Any = follower.stage
                    jobs += queue.jobs(reply, Seat(run, i, follower.info))
            except CozyError as error:
                if follower.on_error == "fail":
                    raise
                run.degrade(i, error.code, error.message)
        return jobs
