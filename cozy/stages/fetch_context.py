"""History, summary, knowledge, profile, memory: what a turn is answered from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field

from cozy.ports.context import EngineKind, Found, Question
from cozy.stages.base import Duration, Names, StageContext, StageSettings, TopK
from cozy.stages.conversation import NOT_GIVEN, answered
from cozy.stages.registry import stage
from cozy.stages.values import ContextPart, Snippet
from cozy.turn import Message

Source = Literal["history", "summary", "knowledge", "profile", "memory"]
MOST_FACTS = 500
"""Of a profile: what engines outside give has no end of its own, and the first are the most telling."""
_PERSONAL: tuple[Source, ...] = ("knowledge", "profile", "memory")


class FetchContextSettings(StageSettings):
    source: Source
    """Where it comes from."""
    limit: int = Field(default=20, ge=1, le=1000)
    """`history`: how many of the last messages, at most: it begins with one of the user's."""
    top_k: TopK = 5
    """`knowledge` and `memory`: how many snippets at most, from 1 to 100; or a Jinja expression over the turn
    and earlier stages that gives such a number."""
    max_tokens: int | None = Field(default=None, ge=1)
    """`profile`: about how much of it."""
    datasets: Names = ()
    """`knowledge`: the datasets to search; none named means all, of an engine outside those of its `datasets`
    in `cozy.toml`."""
    stale: Duration | None = None
    """`knowledge`, `profile` and `memory`: where an engine outside is late or away, what it answered up to so
    long ago will do."""
    prefetch: bool = False
    """`profile` and `memory`: ask an engine outside again as soon as it has learned of a turn, so that the
    next one need not wait."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """`knowledge` and `memory`: leave out what fits less well than this, from 0 to 1."""


@stage("fetch_context")
@dataclass(frozen=True, slots=True)
class FetchContext:
    """Bring one part of the context: the history, its summary, knowledge, profile or memory."""

    settings: FetchContextSettings
    reads: ClassVar[bool] = True

    def empty(self) -> ContextPart:
        return ContextPart(self.settings.source)

    async def run(self, ctx: StageContext) -> ContextPart:
        if self.settings.source in _PERSONAL and not ctx.turn.personalized:
            return self.empty()
        match self.settings.source:
            case "history":
                return await self._history(ctx)
            case "summary":
                return await self._summary(ctx)
            case "knowledge":
                return await self._knowledge(ctx)
            case "profile":
                return await self._profile(ctx)
            case "memory":
                return await self._memory(ctx)

    async def _history(self, ctx: StageContext) -> ContextPart:
        turn = ctx.turn
        if turn.history is not None:
            return _history(turn.history[-self.settings.limit :])
        if turn.session_id is None:
            return ContextPart("history")
        messages = await ctx.ports.store.history(
            turn.user_id,
            turn.session_id,
            limit=self.settings.limit,
            without=turn.retry_of,
            before=turn.resumes,
        )
        return _history(messages)

    async def _summary(self, ctx: StageContext) -> ContextPart:
        if ctx.turn.session_id is None:
            return ContextPart("summary")
        text = await ctx.ports.store.summary(ctx.turn.user_id, ctx.turn.session_id)
        return ContextPart("summary", (Snippet(text),) if text else ())

    async def _knowledge(self, ctx: StageContext) -> ContextPart:
        question = self._question(ctx, "knowledge", datasets=self.settings.datasets)
        found = _taken(await ctx.ports.context.knowledge(question), ctx)
        return ContextPart(
            "knowledge",
            tuple(
                Snippet(p.text, p.source, p.score, p.id) for p in found if p.score >= self.settings.min_score
            ),
        )

    async def _profile(self, ctx: StageContext) -> ContextPart:
        question = self._question(ctx, "profile", max_tokens=self.settings.max_tokens)
        facts = _taken(await ctx.ports.context.profile(question), ctx)
        return ContextPart(
            "profile",
            tuple(
                Snippet(f"{f.sub_topic}: {f.content}", source=f.topic, id=f.id) for f in facts[:MOST_FACTS]
            ),
        )

    async def _memory(self, ctx: StageContext) -> ContextPart:
        found = _taken(await ctx.ports.context.memory(self._question(ctx, "memory")), ctx)
        return ContextPart(
            "memory",
            tuple(
                Snippet(m.text, score=m.score, id=m.id)
                for m in found
                if m.score is None or m.score >= self.settings.min_score
            ),
        )

    def _top_k(self, ctx: StageContext) -> int:
        given = self.settings.top_k
        return given if isinstance(given, int) else ctx.node.expressions["top_k"].count(ctx.variables, 100)

    def _question(self, ctx: StageContext, kind: EngineKind, **asked: Any) -> Question:
        if kind != "profile":
            asked |= {"query": ctx.turn.text, "top_k": self._top_k(ctx)}
        return Question(
            user_id=ctx.turn.user_id,
            engine=ctx.persona.engines.of(kind),
            stale_s=self.settings.stale or 0.0,
            prefetch=self.settings.prefetch,
            until=ctx.own_deadline(ctx.ports.context.timeout_s),
            **asked,
        )


T = TypeVar("T")


def _taken(found: Found[T], ctx: StageContext) -> Sequence[T]:
    """What an engine has brought; how it went is on record. Raises its EngineError."""
    ctx.engine_answered(found.record)
    if found.error is not None:
        raise found.error
    return found.items


def _history(messages: Iterable[Message]) -> ContextPart:
    """From the user's first message on: many servers refuse a conversation that begins with an answer, or
    one with calls that nobody answers."""
    begun = tuple(dropwhile(lambda m: m.role != "user", messages))
    return ContextPart("history", messages=answered(begun, NOT_GIVEN))
