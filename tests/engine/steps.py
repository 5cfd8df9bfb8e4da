"""Small stages that do what a test tells them to, and graphs of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid4

import anyio

from cozy.engine.engine import Engine, open_engine
from cozy.engine.graph import Graph, Node, Slot
from cozy.engine.library import Library
from cozy.events import Event, StageDegraded, StageFinished, StageSkipped, StageStarted, TextDelta
from cozy.ports import Ports
from cozy.ports.llm import Chunk, LLMRequest, ModelCard
from cozy.stages.base import About, ModelChoice, NodeInfo, Persona, StageContext
from cozy.stages.templates import Expression, Template
from cozy.stages.values import Reply
from cozy.turn import Message, SessionId, Turn, UserId
from cozy.usage import Usage

Does = Callable[..., Awaitable[Any]]
"""`async def does(ctx, **values)`: a stage's work."""

ADA = UserId(UUID(int=1))
MAIN = SessionId(UUID(int=2))


@dataclass(frozen=True)
class Needed:
    """A stage as the runtime sees one; without it there is no value."""

    does: Does
    settings: Any = None

    async def run(self, ctx: StageContext, **values: Any) -> Any:
        return await self.does(ctx, **values)


@dataclass(frozen=True)
class Step(Needed):
    """A stage that can be done without."""

    def empty(self) -> str:
        return "empty"


@dataclass(frozen=True)
class Keeper(Needed):
    """A stage that also wants to know of a turn that was cut off."""

    kept: list[Reply] = field(default_factory=list[Reply])
    settles: Callable[[Reply], Awaitable[None]] | None = None

    async def settle(self, partial: Reply, ctx: StageContext) -> None:
        if self.settles is not None:
            await self.settles(partial)
        self.kept.append(partial)


@dataclass(frozen=True)
class Place:
    """A stage and what is said of it in a graph."""

    id: str
    stage: Needed
    takes: Sequence[str] = ()
    """Stages whose values it is given, each under its own name."""
    first_of: Sequence[str] = ()
    """Stages of which it is given, as `value`, the first that ran."""
    after: Sequence[str] = ()
    timeout_s: float | None = None
    on_error: Literal["fail", "degrade"] = "fail"
    retries: int = 0
    when: str | None = None
    speaks: bool = False


def place(name: str, does: Does | Needed, **facts: Any) -> Place:
    return Place(name, does if isinstance(does, Needed) else Step(does), **facts)


def graph_of(*places: Place, timeout_s: float = 30.0, answers: Sequence[str] = ()) -> Graph:
    """The graph of these stages; those that speak give the answer, if `answers` names no others."""
    index = {p.id: i for i, p in enumerate(places)}
    waits = [tuple(sorted({index[s] for s in (*p.takes, *p.first_of, *p.after)})) for p in places]
    nodes = tuple(
        Node(
            info=NodeInfo(p.id, speaks=p.speaks),
            type="step",
            stage=p.stage,
            inputs=(
                *(Slot(name, (index[name],), many=False) for name in p.takes),
                *([Slot("value", tuple(index[s] for s in p.first_of), many=False)] if p.first_of else []),
            ),
            waits=waits[i],
            next=tuple(j for j, w in enumerate(waits) if i in w),
            timeout_s=p.timeout_s,
            on_error=p.on_error,
            retries=p.retries,
            when=Expression(p.when, "when") if p.when else None,
            settles=isinstance(p.stage, Keeper),
            has_empty=hasattr(p.stage, "empty"),
        )
        for i, p in enumerate(places)
    )
    speaking = answers or [p.id for p in places if p.speaks]
    return Graph(
        persona=persona(),
        pipeline="steps",
        timeout_s=timeout_s,
        nodes=nodes,
        roots=tuple(i for i, w in enumerate(waits) if not w),
        answers=tuple(index[name] for name in speaking),
        tool_list=(),
    )


def persona(**facts: Any) -> Persona:
    given: dict[str, Any] = {
        "about": About("steps", "Steps", "", "en"),
        "prompt": Template("You are Steps.", "prompt"),
        "context": Template("", "context"),
        "voice_prompt": None,
        "welcome": Template("", "welcome"),
        "client_system": "append",
        "model": ModelChoice(("test/model",)),
    }
    return Persona(**given | facts)


# -- what stages do -------------------------------------------------------------------------------------


def gives(value: Any) -> Does:
    async def does(ctx: StageContext, **_: Any) -> Any:
        return value

    return does


def fails(error: Exception) -> Does:
    async def does(ctx: StageContext, **_: Any) -> Any:
        raise error

    return does


async def hangs(ctx: StageContext, **_: Any) -> Any:
    await anyio.sleep_forever()


def says(*pieces: str, then: Does | None = None) -> Does:
    """Speak these pieces, do something else, and give the whole as the answer."""

    async def does(ctx: StageContext, **values: Any) -> Reply:
        for piece in pieces:
            await ctx.emit(TextDelta(piece, ctx.node.id))
        if then is not None:
            await then(ctx, **values)
        text = "".join(pieces)
        return Reply(text, (Message("assistant", text),))

    return does


def speaker(*pieces: str, then: Does | None = None, **facts: Any) -> Place:
    return place("answer", says(*pieces, then=then), speaks=True, **facts)


# -- running --------------------------------------------------------------------------------------------


class Silent:
    """Every port of a turn whose stages ask nobody."""

    def card(self, model: str) -> ModelCard:
        return ModelCard(model, 8192)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncIterator[AsyncIterator[Chunk]]:
        raise AssertionError("no stage here asks a model")
        yield

    def count(self, text: str, model: str) -> int:
        return len(text)

    def learn(self, model: str, estimated: int, usage: Usage) -> None: ...


def silent_ports() -> Ports:
    nobody: Any = Silent()
    return Ports(*[nobody] * 9)


def turn(text: str = "tea?", **facts: Any) -> Turn:
    return Turn(**{"text": text, "user_id": ADA, "personality_id": "steps", "session_id": MAIN, **facts})


def fresh_turn(**facts: Any) -> Turn:
    return turn(session_id=SessionId(uuid4()), **facts)


def engine_of(graph: Graph, ports: Ports | None = None) -> AbstractAsyncContextManager[Engine]:
    return open_engine(Library([graph]), ports or silent_ports())


async def events_of(graph: Graph, said: Turn | None = None, ports: Ports | None = None) -> list[Event]:
    """Every event of one turn; a turn that takes half a minute fails the test."""
    with anyio.fail_after(30):
        async with engine_of(graph, ports) as engine, engine.run(said or turn()) as running:
            return [event async for event in running]


def story(events: Sequence[Event]) -> list[str]:
    """The events in short: `+a` started, `-a` finished, `~a` degraded, `/a` skipped, else what was said."""
    told: list[str] = []
    for event in events:
        match event:
            case StageStarted(stage):
                told.append(f"+{stage}")
            case StageFinished(stage):
                told.append(f"-{stage}")
            case StageDegraded(stage):
                told.append(f"~{stage}")
            case StageSkipped(stage):
                told.append(f"/{stage}")
            case TextDelta(text):
                told.append(repr(text))
            case _:
                told.append(type(event).__name__)
    return told
