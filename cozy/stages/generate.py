"""Requests to models, streamed: what `llm` and `tool_loop` share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from time import perf_counter

import anyio

from cozy.errors import EngineError, EngineTimeout, EngineUnavailable
from cozy.events import FinishReason, ReasoningDelta, TextDelta, ToolCallDelta, UsageReported
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, ReasoningChunk, TextChunk, ToolCallChunk
from cozy.stages.base import StageContext
from cozy.stages.prompting import message_tokens, request_tokens
from cozy.stages.tool_record import NOT_OFFERED, call_event, put_on_record
from cozy.stages.values import Generation
from cozy.turn import Message, ToolCall
from cozy.usage import Usage

BETWEEN_ROUNDS = "\n\n"
"""Said between words before a tool's work and words after it, so that they do not run together."""

FOR_LAST_WORDS_S = 1.0
"""Kept of the stage's time for its `fallback_text`; of a short time, a tenth."""


async def first_that_answers(
    request: LLMRequest, models: tuple[str, ...], fallback_text: str, ctx: StageContext
) -> Generation:
    """Ask the models in order, as long as nobody has heard a word of this answer.

    Each but the last has its share of the time that is left to begin in. Where none answers, `fallback_text`
    is said; without one, raises the last one's EngineError.
    """
    failed: list[str] = []
    for left, model in zip(range(len(models), 0, -1), models, strict=True):
        answer = _Answer(replace(request, model=model), ctx)
        try:
            await _in_time(answer, left, fallback_text)
        except EngineError as error:
            if answer.told or (left == 1 and not fallback_text):
                raise
            ctx.engine_failed(error)
            if left == 1:
                ctx.note(fallback_text=error.message)
            else:
                failed.append(f"{model}: {error.message}")
                ctx.note(fallback="; ".join(failed))
        else:
            return replace(await answer.generation(), models=models, fallback_text=fallback_text)
    await _say(fallback_text, ctx)
    return Generation(text=fallback_text, is_fallback=True, request=request)


async def _in_time(answer: _Answer, models_left: int, fallback_text: str) -> None:
    """Hear an answer out, unless it does not begin while there is time for another or for a last word."""
    began = anyio.current_time()
    share_s = (anyio.current_effective_deadline() - began) / models_left
    begin_by = began + share_s if models_left > 1 else _last_moment(fallback_text)
    with anyio.CancelScope(deadline=begin_by) as patience:
        await answer.listen(patience, fallback_text)
        return
    waited_s = max(round(patience.deadline - began, 1), 0.1)
    engine = answer.request.model.partition("/")[0]
    raise EngineTimeout(engine, f"did not begin to answer within {waited_s:g} s")


def _last_moment(fallback_text: str) -> float:
    """When to give up waiting so that `fallback_text` can still be said; without one, never."""
    if not fallback_text:
        return math.inf
    end = anyio.current_effective_deadline()
    return end - min(FOR_LAST_WORDS_S, (end - anyio.current_time()) / 10)


async def _say(text: str, ctx: StageContext) -> None:
    if ctx.node.speaks:
        if ctx.spoken:
            await ctx.emit(TextDelta(BETWEEN_ROUNDS, ctx.node.id))
        await ctx.emit(TextDelta(text, ctx.node.id))


@dataclass(slots=True)
class _Answer:
    """What one model says, while it says it."""

    request: LLMRequest
    ctx: StageContext
    told: bool = False
    """The world has heard words or a call of it, so that no other model can take over."""
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    calls: dict[int, ToolCall] = field(default_factory=dict[int, ToolCall])
    denied: list[str] = field(default_factory=list[str])
    """Tools that it called though it was to answer in words."""
    finish: FinishChunk | None = None

    @property
    def _may_call(self) -> bool:
        """What is not offered in this turn is denied by who runs the tools, in words that the model reads."""
        return self.request.tool_choice != "none" and (bool(self.request.tools) or self.ctx.node.offers_tools)

    async def listen(self, patience: anyio.CancelScope, fallback_text: str) -> None:
        """Take the answer piece by piece, and tell it if this stage speaks. Raises EngineError.

        The deadline of `patience` is for the first piece; with a `fallback_text`, for the first word, too.
        """
        ctx = self.ctx
        ctx.note(model=self.request.model)
        started = perf_counter()
        first = 0.0
        try:
            async with ctx.ports.llm.stream(self.request) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, TextChunk | ReasoningChunk) and not chunk.text:
                        continue
                    first = first or perf_counter()
                    if not self.told:
                        patience.deadline = math.inf  # waiting for the reader is not the model's fault
                    await self._take(chunk)
                    if not self.told:
                        patience.deadline = _last_moment(fallback_text)
                patience.deadline = math.inf
            if self.denied:
                await self._tell_denied()
        finally:
            ended = perf_counter()
            ctx.mark("first_token", started, first or ended)
            if first:
                ctx.mark("upstream", first, ended)
                if self.finish is None:  # cut off: it has cost something all the same
                    self._count(None)

    async def _tell_denied(self) -> None:
        """Put on record what it must not have called; raises EngineUnavailable where it said nothing else."""
        ctx, engine = self.ctx, self.request.model.partition("/")[0]
        await put_on_record([call_event(name, NOT_OFFERED, 0, ctx) for name in self.denied], ctx)
        if not (self.text or self.calls or ctx.spoken):
            if self.finish is not None:
                self._count(self.finish.usage)
            raise EngineUnavailable(engine, "called a tool where it was to answer in words, and said nothing")

    async def _take(self, chunk: Chunk) -> None:
        stage = self.ctx.node.id
        match chunk:
            case TextChunk(piece):
                if not self.text and self.ctx.spoken:
                    await self._tell(TextDelta(BETWEEN_ROUNDS, stage))
                self.text.append(piece)
                await self._tell(TextDelta(piece, stage))
            case ReasoningChunk(piece):
                self.reasoning.append(piece)
                if self.ctx.node.speaks:
                    await self.ctx.emit(ReasoningDelta(piece, stage))
            case ToolCallChunk(index, id_, name, arguments):
                if self._may_call:
                    self._join(chunk)
                    await self._tell(ToolCallDelta(index, id_, name, arguments, stage))
                elif name:  # some models call although nothing was offered; nobody would run it
                    self.denied.append(name)
            case FinishChunk():
                self.finish = chunk

    async def _tell(self, event: TextDelta | ToolCallDelta) -> None:
        if self.ctx.node.speaks:
            self.told = True
            await self.ctx.emit(event)

    def _join(self, chunk: ToolCallChunk) -> None:
        known = self.calls.get(chunk.index)
        if known is None:
            self.calls[chunk.index] = ToolCall(chunk.id, chunk.name, chunk.arguments)
        elif chunk.arguments:
            self.calls[chunk.index] = replace(known, arguments=known.arguments + chunk.arguments)

    async def generation(self) -> Generation:
        """The whole answer; what it cost is put on record."""
        ctx, request, finish = self.ctx, self.request, self.finish
        if finish is None:  # the port's contract; an adapter that breaks it is a bug
            raise RuntimeError("the model's stream ended without a FinishChunk")
        usage = self._count(finish.usage)
        is_estimate = finish.usage is None
        await ctx.emit(UsageReported(ctx.node.id, request.model, usage, is_estimate))
        return Generation(
            text="".join(self.text),
            tool_calls=tuple(self.calls[index] for index in sorted(self.calls)),
            finish_reason=self._reason(finish),
            usage=usage,
            model=request.model,
            reasoning="".join(self.reasoning),
            request=request,
        )

    def _count(self, reported: Usage | None) -> Usage:
        """Put on record what it cost: as the server reports it, else as we count it."""
        ctx, request = self.ctx, self.request
        if reported is None:
            made = Message("assistant", "".join(self.reasoning + self.text), tuple(self.calls.values()))
            reported = Usage(request_tokens(request, ctx), message_tokens(made, request.model, ctx))
        elif not any(message.parts for message in request.messages):  # we cannot count pictures
            ctx.ports.tokens.learn(request.model, request_tokens(request, ctx), reported)
        ctx.asked(request, reported)
        return reported

    def _reason(self, finish: FinishChunk) -> FinishReason:
        if finish.reason not in ("stop", "tool_calls"):
            return finish.reason
        return "tool_calls" if self.calls else "stop"
