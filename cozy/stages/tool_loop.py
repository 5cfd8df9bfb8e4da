"""Tool calls of a generation, run in a bounded number of rounds → Reply."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import anyio
from pydantic import Field

from cozy.errors import CozyError, NoAnswer, ToolError, did_you_mean
from cozy.events import ToolFinished, ToolStarted
from cozy.ports.tools import ToolCaller, ToolResult
from cozy.stages.base import Duration, StageContext, StageSettings, Tool
from cozy.stages.generate import BETWEEN_ROUNDS, first_that_answers
from cozy.stages.registry import stage
from cozy.stages.values import Generation, Reply
from cozy.turn import Message, ToolCall

_log = logging.getLogger("cozy.turn")


class ToolLoopSettings(StageSettings):
    max_rounds: int = Field(default=10, ge=1, le=100)
    """How often tools are run before the model must answer without them."""
    tool_timeout: Duration | None = None
    """How long one call may take; none given: the tool's own."""


@stage("tool_loop")
@dataclass(frozen=True, slots=True)
class ToolLoop:
    """Run the tools that the model calls and ask it again, until it answers."""

    settings: ToolLoopSettings

    async def run(self, generation: Generation, ctx: StageContext) -> Reply:
        if generation.request is None:
            raise NoAnswer("no stage that speaks has run", hint="one of the `when:` must hold on every turn")
        tools = {tool.spec.name: tool for tool in ctx.persona.tools}
        texts, messages, usage, rounds = [generation.text], list[Message](), generation.usage, 0
        while generation.tool_calls:  # after the last round there are none, as no tools were offered
            rounds += 1
            results = await self._round(generation.tool_calls, tools, ctx)
            new = [*generation.messages, *results]
            messages += new
            generation = await self._ask_again(generation, new, rounds, ctx)
            usage += generation.usage
            texts.append(generation.text)
        return Reply(
            text=BETWEEN_ROUNDS.join(t for t in texts if t),
            messages=(*messages, *generation.messages),
            finish_reason=generation.finish_reason,
            usage=usage,
            model=generation.model,
            rounds=rounds,
            is_fallback=generation.is_fallback,
        )

    async def _ask_again(
        self, generation: Generation, new: Sequence[Message], rounds: int, ctx: StageContext
    ) -> Generation:
        if generation.request is None:
            raise NoAnswer("no stage that speaks has run")
        request = replace(generation.request, messages=(*generation.request.messages, *new))
        if rounds == self.settings.max_rounds:
            request = replace(request, tool_choice="none")  # the tools stay: servers cache the prefix
        models = (generation.model, *(m for m in generation.models if m != generation.model))
        return await first_that_answers(request, models, generation.fallback_text, ctx)

    async def _round(
        self, calls: Sequence[ToolCall], tools: dict[str, Tool], ctx: StageContext
    ) -> list[Message]:
        """Run the calls side by side; their results in the order of the calls."""
        results: list[Message | None] = [None] * len(calls)
        started = perf_counter()

        async def run(index: int, call: ToolCall) -> None:
            results[index] = await self._call(call, tools, ctx)

        if len(calls) == 1:
            await run(0, calls[0])
        else:
            async with anyio.create_task_group() as tasks:
                for index, call in enumerate(calls):
                    tasks.start_soon(run, index, call)
        ctx.mark("tools", started, perf_counter())
        return [message for message in results if message is not None]

    async def _call(self, call: ToolCall, tools: dict[str, Tool], ctx: StageContext) -> Message:
        await ctx.emit(ToolStarted(call.id, call.name, call.arguments, ctx.node.id))
        started = perf_counter()
        try:
            result = await self._result(call, tools, ctx)
        except CozyError as error:  # the model reads what went wrong, and the turn goes on
            result = ToolResult(str(error), is_error=True)
        except Exception:  # a bug of the tool's: its words are for the log, not for a model
            turn = ctx.turn
            fields = {"turn_id": str(turn.id), "personality_id": turn.personality_id, "stage": ctx.node.id}
            _log.exception("tool %s failed", call.name, extra=fields)
            result = ToolResult(f"`{call.name}` is broken and gave no result", is_error=True)
        seconds = perf_counter() - started
        await ctx.emit(
            ToolFinished(call.id, call.name, result.content, result.is_error, seconds, ctx.node.id)
        )
        return Message("tool", result.content, tool_call_id=call.id)

    async def _result(self, call: ToolCall, tools: dict[str, Tool], ctx: StageContext) -> ToolResult:
        tool = tools.get(call.name)
        if tool is None:
            raise ToolError(f"there is no tool `{call.name}`", hint=did_you_mean(call.name, tools))
        arguments = tool.check(call.arguments)
        turn = ctx.turn
        language = turn.language or ctx.persona.about.language or _written_in(turn.text)
        caller = ToolCaller(turn.user_id, turn.session_id, turn.id, turn.personality_id, language)
        timeout_s = self.settings.tool_timeout or tool.spec.timeout_s
        with anyio.move_on_after(timeout_s):
            return await ctx.ports.tools.call(call.name, arguments, caller)
        raise ToolError(f"`{call.name}` did not answer within {timeout_s:g} s")


def _written_in(text: str) -> str | None:
    """`zh` where a message has Chinese characters and none of Japanese's own; None: nobody can tell."""
    if re.search(r"[\u3040-\u30ff]", text):
        return None
    return "zh" if re.search(r"[\u4e00-\u9fff]", text) else None
