"""What a turn cost, stage by stage: segments that add up to its wall time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from cozy.engine.graph import Graph
from cozy.engine.schedule import critical_path
from cozy.ports.context import EngineRecord
from cozy.ports.llm import LLMRequest, ModelCard
from cozy.stages.values import BudgetReport, Prompt
from cozy.usage import Usage

Outcome = Literal["done", "skipped", "degraded", "failed", "cancelled", "not run"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A named part of one stage's time."""

    node: int
    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a model has answered."""

    node: int
    request: LLMRequest
    usage: Usage


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a tool that has ended."""

    tool: str
    """Empty where there is none of the name that the model made up."""
    outcome: str
    """In a word, as the audit trail has it: `ok`, `failed`, `TOOL_DENIED` …"""


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """Something outside has failed; another try, another model or a degraded stage may have made it good."""

    engine: str
    """As in the configuration."""
    code: str


@dataclass(slots=True)
class Recording:
    """What the runtime writes down while a turn runs; times by `time.perf_counter()`."""

    accepted: float
    """When the turn was handed in."""
    began: float
    """When its task began to run."""
    starts: list[float | None]
    ends: list[float | None]
    outcomes: list[Outcome]
    marks: list[Mark] = field(default_factory=list[Mark])
    notes: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    requests: list[Asked] = field(default_factory=list["Asked"])
    tool_calls: list[Called] = field(default_factory=list["Called"])
    engine_errors: list[EngineFailure] = field(default_factory=list["EngineFailure"])
    engine_records: list[tuple[int, EngineRecord]] = field(default_factory=list[tuple[int, "EngineRecord"]])
    """With the stage that asked."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the turn. Segments follow one another without a gap."""

    name: str
    """`queue`, `engine`, or a stage's id, with the part of it: `answer/first_token`."""
    start_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class StageTrace:
    """One stage's share of a turn."""

    id: str
    type: str
    outcome: Outcome
    start_s: float
    """From the start of the turn."""
    seconds: float
    parts: Mapping[str, float]
    """Seconds by part: `first_token`, `upstream`, `tools`, `reader` (spent waiting for the reader)."""
    facts: Mapping[str, Any]
    """`model`, `fallback`, `reason`, `code`, `attempts` … where they apply."""


@dataclass(frozen=True, slots=True)
class PrefixReuse:
    """How much of a prompt's beginning the one before it had already."""

    stage: str
    tokens: int
    """Of the whole prompt."""
    matched: int
    """Of its beginning, equal to the one before."""


class Trace:
    """What one turn cost, and why it took as long as it did; worked out when somebody asks."""

    def __init__(
        self,
        recording: Recording,
        graph: Graph,
        *,
        turn_id: str,
        ended: float,
        cards: Mapping[str, ModelCard],
        count: Callable[[str, str], int],
        seen: Sequence[tuple[Asked, int]] = (),
    ) -> None:
        """`count` gives the tokens of a text for a model; `seen` has for each request how many messages at
        its beginning the one before it had, too."""
        self._recording, self._graph, self._ended, self._cards = recording, graph, ended, cards
        self.turn_id = turn_id
        self.personality = graph.id
        self._seen, self._count = seen, count

    @property
    def wall_s(self) -> float:
        return self._ended - self._recording.accepted

    @cached_property
    def _path(self) -> list[int]:
        return critical_path(self._graph, self._recording.ends)

    @property
    def critical_path(self) -> tuple[str, ...]:
        """Ids of the stages that the turn had to wait for, first to last."""
        return tuple(self._graph.nodes[i].id for i in self._path)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The turn's time along its critical path; the seconds add up to `wall_s`."""
        return tuple(_segments(self._recording, self._graph, self._path, self._ended))

    @cached_property
    def spent_s(self) -> Mapping[str, float]:
        """Where each moment of the turn went, by name: together they are `wall_s`."""
        spent: dict[str, float] = {}
        for segment in self.segments:
            spent[segment.name] = spent.get(segment.name, 0.0) + segment.seconds
        return spent

    @cached_property
    def stages(self) -> tuple[StageTrace, ...]:
        """Every stage, in the order of the pipeline."""
        return tuple(
            _stage(self._recording, self._graph, i, self._ended) for i in range(len(self._graph.nodes))
        )

    @cached_property
    def usage(self) -> Usage:
        """Over all requests, those of hidden stages included."""
        return sum((a.usage for a in self._recording.requests), Usage())

    @property
    def model(self) -> str:
        """The model that gave the answer; empty where none did."""
        spoke = (a for a in reversed(self._recording.requests) if self._graph.nodes[a.node].info.speaks)
        return next((a.request.model for a in spoke), "")

    @cached_property
    def prefixes(self) -> tuple[PrefixReuse, ...]:
        """For each request to a model, in a session: what a prompt cache could save."""
        return tuple(self._reuse(asked, same) for asked, same in self._seen)

    def _reuse(self, asked: Asked, same: int) -> PrefixReuse:
        sizes = [self._count(message.content, asked.request.model) for message in asked.request.messages]
        return PrefixReuse(self._graph.nodes[asked.node].id, sum(sizes), sum(sizes[:same]))

    @property
    def cost(self) -> float | None:
        """In the currency of the configured prices; None where one is not known."""
        return cost(self._recording.requests, self._cards)

    def _last(self, name: str) -> Any:
        """Of several prompts in a turn, the one that came last led to the answer."""
        return next((n[name] for n in reversed(self._recording.notes.values()) if name in n), None)

    @property
    def budget(self) -> BudgetReport | None:
        """Where the prompt's tokens went, and what was cut; None without a budget stage."""
        return self._last("budget")

    @property
    def prompt(self) -> Prompt | None:
        """What was put together for the model, section by section; of several the last."""
        return next(reversed(self.prompts.values()), None)

    @cached_property
    def prompts(self) -> dict[str, Prompt]:
        """By the stage that put it together, in the order of the pipeline."""
        notes = sorted(self._recording.notes.items())
        return {self._graph.nodes[i].id: n["prompt"] for i, n in notes if "prompt" in n}

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Every request that a model has answered, with what it cost."""
        return tuple(self._recording.requests)

    @property
    def tool_calls(self) -> tuple[Called, ...]:
        """Every call of a tool of ours, those of hidden stages included."""
        return tuple(self._recording.tool_calls)

    @property
    def engine_errors(self) -> tuple[EngineFailure, ...]:
        """Every failure of an engine, those that were made good included."""
        return tuple(self._recording.engine_errors)

    @property
    def engines(self) -> tuple[tuple[str, EngineRecord], ...]:
        """How each question to an engine of the personal context went, with the stage that asked."""
        return tuple((self._graph.nodes[i].id, record) for i, record in self._recording.engine_records)

    @property
    def requests(self) -> tuple[tuple[str, LLMRequest], ...]:
        """What models were sent, and answered, with the stage that asked."""
        return tuple((self._graph.nodes[a.node].id, a.request) for a in self._recording.requests)


def cost(requests: Sequence[Asked], cards: Mapping[str, ModelCard]) -> float | None:
    """What these requests cost together; None where a model's prices are not known."""
    total = 0.0
    for asked in requests:
        card, usage = cards.get(asked.request.model), asked.usage
        if card is None or card.price_in is None or card.price_out is None:
            return None
        cached = card.price_in if card.price_cached is None else card.price_cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        total += fresh * card.price_in + usage.cached_tokens * cached
        total += usage.completion_tokens * card.price_out
    return total / 1e6 if requests else None


def _stage(recording: Recording, graph: Graph, i: int, ended: float) -> StageTrace:
    start, end = recording.starts[i], recording.ends[i]
    parts: dict[str, float] = {}
    for mark in recording.marks:
        if mark.node == i:
            parts[mark.name] = parts.get(mark.name, 0.0) + mark.end - mark.start
    facts = {k: v for k, v in recording.notes.get(i, {}).items() if k not in ("budget", "prompt")}
    models = [a.request.model for a in recording.requests if a.node == i]
    if models:
        facts["model"] = models[-1]
    return StageTrace(
        id=graph.nodes[i].id,
        type=graph.nodes[i].type,
        outcome=recording.outcomes[i],
        start_s=(start - recording.accepted) if start is not None else 0.0,
        seconds=((end if end is not None else ended) - start) if start is not None else 0.0,
        parts=parts,
        facts=facts,
    )


def _segments(recording: Recording, graph: Graph, path: Sequence[int], ended: float) -> list[Segment]:
    """Cut the turn's time along the critical path, and each stage on it by its marks."""
    zero = recording.accepted
    cuts: list[tuple[str, float, float]] = [("queue", zero, recording.began)]
    now = recording.began
    for i in path:
        start, end = recording.starts[i], recording.ends[i]
        if start is None or end is None or end <= now:
            continue
        start = max(start, now)
        if start > now:
            cuts.append(("engine", now, start))
        cuts += _parts(graph.nodes[i].id, start, end, [m for m in recording.marks if m.node == i])
        now = end
    if ended > now:
        cuts.append(("engine", now, ended))
    joined: list[tuple[str, float, float]] = []
    for name, start, end in cuts:
        if joined and joined[-1][0] == name:
            joined[-1] = (name, joined[-1][1], end)
        elif end > start:
            joined.append((name, start, end))
    return [Segment(name, start - zero, end - start) for name, start, end in joined]


def _parts(stage: str, start: float, end: float, marks: Sequence[Mark]) -> list[tuple[str, float, float]]:
    """A stage's time, each moment given to the mark that began last."""
    edges = sorted(
        {start, end, *(e for m in marks for e in (m.start, m.end) if start < e < end)},
    )
    pieces: list[tuple[str, float, float]] = []
    for left, right in pairwise(edges):
        over = [m for m in marks if m.start <= left and m.end >= right]
        inner = max(over, key=lambda m: m.start, default=None)
        pieces.append((f"{stage}/{inner.name}" if inner else stage, left, right))
    return pieces
