"""Whether the engines of the personal context answer within the time that stages give them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args
from uuid import uuid4

import anyio

from cozy.engine.graph import Graph
from cozy.errors import EngineCircuitOpen, EngineTimeout
from cozy.ports.context import Context, EngineChoice, EngineKind, EngineRecord, Question
from cozy.stages.fetch_context import FetchContext
from cozy.turn import UserId

KINDS: tuple[EngineKind, ...] = get_args(EngineKind)
PATIENCE_S = 5.0
"""How much longer than a turn waits, to see how long an engine takes that is too slow for turns."""
SILENCES = 3
"""After so many questions without an answer no more are asked."""

Bound = Literal["stage", "context", "turn"]


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a stage of a personality waits for an engine."""

    personality: str
    stage: str
    seconds: float
    bound: Bound
    """What sets it: the stage's own `timeout`, `context.timeout_s`, or the pipeline's `timeout`."""
    can_do_without: bool
    """The stage degrades; else the turn fails."""


@dataclass(frozen=True, slots=True)
class Use:
    """An engine, and who waits for it."""

    engine: EngineKind
    provider: str
    """Its name in the configuration."""
    waits: tuple[Wait, ...]
    """The shortest first; none where only the configuration names it."""


@dataclass(frozen=True, slots=True)
class Appraisal:
    """How an engine did when it was asked."""

    use: Use
    asked: int
    seconds: tuple[float, ...]
    """Of each answer, the quickest first; infinite where none came however long was waited."""
    errors: Mapping[str, int]
    """Code → how often."""
    reason: str
    """Of the first error; those that follow may only say that the engine is left alone."""

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the answers came (nearest rank); None without any."""
        return self.seconds[max(math.ceil(share * len(self.seconds)) - 1, 0)] if self.seconds else None

    def late(self, share: float) -> tuple[Wait, ...]:
        """Who does not wait for as long as this share of the answers takes. Silence is an error, not late."""
        took = self.quantile(share)
        if took is None or math.isinf(took):
            return ()
        return tuple(wait for wait in self.use.waits if wait.seconds < took)


def uses(graphs: Iterable[Graph], default: EngineChoice, longest_s: float) -> list[Use]:
    """Every engine that a stage asks or that is the default; `longest_s`: what a turn gives all together."""
    found: dict[tuple[EngineKind, str], list[Wait]] = {(kind, default.of(kind)): [] for kind in KINDS}
    for graph in graphs:
        for node in graph.nodes:
            source = node.stage.settings.source if isinstance(node.stage, FetchContext) else None
            for kind in KINDS:
                if source == kind:
                    bounds: list[tuple[float, Bound]] = [(longest_s, "context"), (graph.timeout_s, "turn")]
                    if node.timeout_s is not None:
                        bounds.append((node.timeout_s, "stage"))
                    wait = Wait(graph.id, node.id, *min(bounds), node.on_error == "degrade")
                    found.setdefault((kind, graph.persona.engines.of(kind)), []).append(wait)
    return [
        Use(*engine, tuple(sorted(waits, key=lambda w: (w.seconds, w.personality, w.stage))))
        for engine, waits in sorted(found.items())
    ]


async def appraise(context: Context, of: Sequence[Use], times: int) -> list[Appraisal]:
    """Ask each engine so often, one question after the other, all engines side by side; nothing is raised."""
    found: dict[int, Appraisal] = {}

    async def one(place: int, use: Use) -> None:
        found[place] = await _asked(context, use, times)

    async with anyio.create_task_group() as tasks:
        for place, use in enumerate(of):
            tasks.start_soon(one, place, use)
    return [found[place] for place in range(len(of))]


async def _asked(context: Context, use: Use, times: int) -> Appraisal:
    ask = partial(_ask, context, use)
    await ask()  # opens connections and logs in, as a server has done long before most turns
    records: list[EngineRecord] = []
    silences = 0
    while len(records) < times and silences < SILENCES:
        record = await ask()
        if record.outcome == EngineCircuitOpen.code and records:
            break  # it was not asked: it has shown enough of itself
        records.append(record)
        silences += record.outcome == EngineTimeout.code
    answers = [r.seconds for r in records if r.outcome in ("ok", "empty")]
    errors = Counter(r.outcome for r in records if r.outcome not in ("ok", "empty"))
    reason = next((r.reason for r in records if r.reason), "")
    return Appraisal(use, len(records), (*sorted(answers), *[math.inf] * silences), errors, reason)


async def _ask(context: Context, use: Use) -> EngineRecord:
    """A question that nobody has asked, of a user whom nobody is: no cache has an answer, and none of
    anybody's data comes."""
    question = Question(
        UserId(uuid4()),
        use.provider,
        query=f"{uuid4().hex[:8]} {uuid4().hex[:8]}",
        until=anyio.current_time() + context.timeout_s + PATIENCE_S,
    )
    match use.engine:
        case "knowledge":
            return (await context.knowledge(question)).record
        case "profile":
            return (await context.profile(question)).record
        case "memory":
            return (await context.memory(question)).record
