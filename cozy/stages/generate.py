"""One request to a model, streamed: what `llm` and `tool_loop` share."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from cozy.errors import EngineError
from cozy.events import FinishReason, ReasoningDelta, TextDelta, ToolCallDelta, UsageReported
from cozy.ports.llm import FinishChunk, LLMRequest, ReasoningChunk, TextChunk, ToolCallChunk
from cozy.stages.base import StageContext
from cozy.stages.values import Generation
from cozy.turn import ToolCall
from cozy.usage import Usage

BETWEEN_ROUNDS = "\n\n"
"""Said between words before a tool's work and words after it, so that they do not run together."""


async def first_that_answers(
    request: LLMRequest, models: tuple[str, ...], prompt_tokens: int, ctx: StageContext
) -> Generation:
    """Ask the models in order, as long as none has spoken a word. Raises the last one's EngineError."""
    before, failed = len(ctx.spoken), list[str]()
    for model in models[:-1]:
        try:
            return await generate(replace(request, model=model), prompt_tokens, ctx)
        except EngineError as error:
            if len(ctx.spoken) > before:
                raise
            failed.append(f"{model}: {error.message}")
            ctx.note(fallback="; ".join(failed))
    return await generate(replace(request, model=models[-1]), prompt_tokens, ctx)


async def generate(request: LLMRequest, prompt_tokens: int, ctx: StageContext) -> Generation:
    """Ask one model and tell the world what it says, if this stage speaks. Raises EngineError.

    `prompt_tokens` is our own count of the request, which the server's usage corrects.
    """
    speaks, stage = ctx.node.speaks, ctx.node.id
    text: list[str] = []
    reasoning: list[str] = []
    calls: dict[int, ToolCall] = {}
    finish: FinishChunk | None = None
    ctx.note(model=request.model)
    started = perf_counter()
    first = 0.0
    try:
        async with ctx.ports.llm.stream(request) as chunks:
            async for chunk in chunks:
                first = first or perf_counter()
                match chunk:
                    case TextChunk(piece):
                        if speaks and not text and ctx.spoken:
                            await ctx.emit(TextDelta(BETWEEN_ROUNDS, stage))
                        text.append(piece)
                        if speaks:
                            await ctx.emit(TextDelta(piece, stage))
                    case ReasoningChunk(piece):
                        reasoning.append(piece)
                        if speaks:
                            await ctx.emit(ReasoningDelta(piece, stage))
                    case ToolCallChunk():
                        _join(calls, chunk)
                        if speaks:
                            await ctx.emit(
                                ToolCallDelta(chunk.index, chunk.id, chunk.name, chunk.arguments, stage)
                            )
                    case FinishChunk():
                        finish = chunk
    finally:
        ended = perf_counter()
        ctx.mark("first_token", started, first or ended)
        if first:
            ctx.mark("upstream", first, ended)
    usage, reason = _ending(finish, calls)
    if finish is not None and finish.usage is not None:
        ctx.ports.tokens.learn(request.model, prompt_tokens, usage)
        await ctx.emit(UsageReported(stage, request.model, usage))
    ctx.asked(request, usage)
    return Generation(
        text="".join(text),
        tool_calls=tuple(calls[index] for index in sorted(calls)),
        finish_reason=reason,
        usage=usage,
        model=request.model,
        reasoning="".join(reasoning),
        request=request,
    )


def _join(calls: dict[int, ToolCall], chunk: ToolCallChunk) -> None:
    known = calls.get(chunk.index)
    if known is None:
        calls[chunk.index] = ToolCall(chunk.id, chunk.name, chunk.arguments)
    elif chunk.arguments:
        calls[chunk.index] = replace(known, arguments=known.arguments + chunk.arguments)


def _ending(finish: FinishChunk | None, calls: dict[int, ToolCall]) -> tuple[Usage, FinishReason]:
    if finish is None:  # the port's contract; an adapter that breaks it is a bug
        raise RuntimeError("the model's stream ended without a FinishChunk")
    reason: FinishReason = "tool_calls" if calls and finish.reason == "stop" else finish.reason
    return finish.usage or Usage(), reason
