"""What the engine adds to a turn: CPU time of the stages of `pipelines/standard.yaml` with instant ports.

`python tests/bench/bench_runner.py [--profile]` prints microseconds of CPU a turn (the best of several runs):
of nine bare awaits; of the runner, when each stage gives its value at once; and of whole turns, in which the
stages do their work and only what is outside answers at once. The runner's target is 300 µs.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any
from uuid import UUID

import anyio

from cozy.adapters.engine_context import EngineContext
from cozy.adapters.token_counter import EstimatingTokens
from cozy.dsl.check import check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from cozy.engine.compile import compile_graph
from cozy.engine.engine import Engine, open_engine
from cozy.engine.graph import Graph
from cozy.engine.library import Library
from cozy.events import TextDelta, TurnFinished
from cozy.ports import Ports
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, ModelCard, TextChunk
from cozy.ports.store import TurnRecord
from cozy.settings import shipped
from cozy.stages.base import NodeInfo, StageContext
from cozy.stages.values import (
    Budgeted,
    BudgetReport,
    ContextPart,
    Generation,
    Prompt,
    Queued,
    Reply,
    Saved,
)
from cozy.turn import Message, SessionId, Turn, UserId
from cozy.usage import Usage

TARGET_US = 300
WORDS = ("The ", "answer", " is ", "forty-", "two.")
HISTORY = tuple(
    Message(role, f"message {i} of twenty, as long as messages are")
    for i in range(10)
    for role in ("user", "assistant")
)
USER, SESSION = UserId(UUID(int=1)), SessionId(UUID(int=2))


class Instant:
    """Every port: answers at once, and nothing but what a turn needs."""

    def card(self, model: str) -> ModelCard:
        return ModelCard(model, 128_000)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncGenerator[AsyncIterator[Chunk]]:
        yield self._chunks()

    async def _chunks(self) -> AsyncIterator[Chunk]:
        for word in WORDS:
            yield TextChunk(word)
        yield FinishChunk("stop", Usage(500, 8))

    def specs(self) -> Sequence[Any]:
        return ()

    async def search(self, *_: Any, **__: Any) -> Sequence[Any]:
        return ()

    async def facts(self, *_: Any, **__: Any) -> Sequence[Any]:
        return ()

    async def history(self, *_: Any, **__: Any) -> Sequence[Message]:
        return HISTORY

    async def summary(self, *_: Any, **__: Any) -> str:
        return ""

    async def save_turn(self, record: TurnRecord) -> None: ...


@dataclass(frozen=True)
class Given:
    """A stage that gives a value at once; one that speaks says it first."""

    value: Any
    settings: Any = None

    async def run(self, ctx: StageContext, **_: Any) -> Any:
        if isinstance(self.value, Generation):
            for word in WORDS:
                await ctx.emit(TextDelta(word, ctx.node.id))
        return self.value

    async def settle(self, partial: Reply, ctx: StageContext) -> None: ...


VALUES: dict[str, Any] = {
    "fetch_context": ContextPart("history"),
    "budget": Budgeted({}, BudgetReport(1, 1, 1, 1)),
    "render_prompt": Prompt((), 0),
    "llm": Generation("".join(WORDS)),
    "tool_loop": Reply("".join(WORDS)),
    "persist": Saved(Turn("", USER, "").id, SESSION, "complete"),
    "writeback": Queued(),
}


def standard() -> Graph:
    """The standard pipeline, compiled for a personality like the shipped ones."""
    personalities, pipelines = shipped("personalities"), shipped("pipelines")
    project = read_project(Sources((personalities,), (pipelines,), (Path(personalities) / "default.yaml",)))
    tools = frozenset({"calculator", "current_time", "random_choice", "unit_convert"})
    [checked] = check(project, World(tools=tools)).personalities
    return compile_graph(checked, (), "bench/model")


def hollow(graph: Graph) -> Graph:
    """The same graph, of stages that do nothing."""
    return replace(graph, nodes=tuple(replace(node, stage=Given(VALUES[node.type])) for node in graph.nodes))


def ports() -> Ports:
    instant: Any = Instant()
    names = ("llm", "tools", "profiles", "memories", "store", "effects", "audit")
    context = EngineContext.of(instant, instant, instant)
    return Ports(**dict.fromkeys(names, instant), tokens=EstimatingTokens(), context=context)


async def a_turn(engine: Engine) -> None:
    turn = Turn("What is the answer?", USER, "default", SESSION)
    last: Any = None
    async with engine.run(turn) as running:
        async for event in running:
            last = event
    assert isinstance(last, TurnFinished), last


async def bare_awaits(graph: Graph) -> None:
    nothing: Any = _Nowhere()
    for node in graph.nodes:
        await node.stage.run(ctx=nothing)


class _Nowhere:
    """A context that nobody listens to."""

    node = NodeInfo("answer")

    async def emit(self, event: Any) -> None: ...


async def cpu_us(work: Callable[[], Awaitable[None]], *, turns: int, runs: int) -> float:
    """Microseconds of CPU for one, the best of several runs: what others do on the machine only adds."""
    best = float("inf")
    for _ in range(runs):
        started = process_time()
        for _ in range(turns):
            await work()
        best = min(best, process_time() - started)
    return best / turns * 1e6


async def measure(turns: int, runs: int, profile: bool) -> None:
    graph = standard()
    empty = hollow(graph)
    async with open_engine(Library([empty]), ports()) as engine:
        await cpu_us(lambda: a_turn(engine), turns=turns, runs=1)
        bare = await cpu_us(lambda: bare_awaits(empty), turns=turns, runs=runs)
        runner = await cpu_us(lambda: a_turn(engine), turns=turns, runs=runs)
        if profile:
            await _profiled(lambda: a_turn(engine), turns)
    async with open_engine(Library([graph]), ports()) as engine:
        whole = await cpu_us(lambda: a_turn(engine), turns=turns, runs=runs)
        if profile:
            await _profiled(lambda: a_turn(engine), turns)
    print(f"{'bare awaits':24}{bare:8.0f} µs")
    print(f"{'runner':24}{runner:8.0f} µs   {runner / bare:6.0f} × bare awaits   target {TARGET_US} µs")
    print(f"{'whole turn':24}{whole:8.0f} µs   {whole / runner:6.1f} × runner")


async def _profiled(work: Callable[[], Awaitable[None]], turns: int) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(turns):
        await work()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    anyio.run(measure, options.turns, options.runs, options.profile)
