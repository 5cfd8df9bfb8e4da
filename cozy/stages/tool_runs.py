"""The calls of a model, run: those of tools that are ours, and that the turn may use."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import anyio

from cozy.errors import CozyError, ToolError, did_you_mean
from cozy.events import ToolFinished, ToolStarted
from cozy.ports.tools import ToolCaller, ToolResult
from cozy.stages.base import StageContext, Tool
from cozy.stages.values import Generation
from cozy.turn import Message, ToolCall

_log = logging.getLogger("cozy.turn")


class ToolDenied(ToolError):
    code = "TOOL_DENIED"

    def __init__(self, name: str) -> None:
        super().__init__(f"the tool `{name}` is not allowed here", hint="answer without it")


class ToolRuns:
    """Runs the rounds of one turn."""

    def __init__(self, ctx: StageContext, timeout_s: float | None) -> None:
        """`timeout_s`: how long one call may take; None: each tool's own time."""
        self._ctx, self._timeout_s = ctx, timeout_s
        self._tools = {tool.spec.name: tool for tool in ctx.tools.ours}
        # only the stage that speaks offers them: a hidden one makes up their names
        self._clients = frozenset(spec.name for spec in ctx.tools.clients if ctx.node.speaks)
        self._before: Mapping[tuple[str, str], str] | None = None

    def parted(self, calls: tuple[ToolCall, ...]) -> tuple[tuple[ToolCall, ...], tuple[ToolCall, ...]]:
        """The calls that are answered here, and those that the client runs."""
        if not self._clients:
            return calls, ()
        ours = tuple(call for call in calls if call.name not in self._clients)
        return ours, tuple(call for call in calls if call.name in self._clients)

    async def round(self, generation: Generation, calls: Sequence[ToolCall]) -> list[Message]:
        """Run these calls of a generation side by side; their results in the order of the calls."""
        ctx = self._ctx
        await self._look_back(calls)
        for message in generation.messages:
            ctx.keep(replace(message, tool_calls=tuple(calls)))
        results: list[Message | None] = [None] * len(calls)
        started = perf_counter()

        async def run(index: int, call: ToolCall) -> None:
            results[index] = await self._call(call)

        if len(calls) == 1:
            await run(0, calls[0])
        else:
            async with anyio.create_task_group() as tasks:
                for index, call in enumerate(calls):
                    tasks.start_soon(run, index, call)
        ctx.mark("tools", started, perf_counter())
        return [message for message in results if message is not None]

    async def _call(self, call: ToolCall) -> Message:
        ctx = self._ctx
        await ctx.emit(ToolStarted(call.id, call.name, call.arguments, ctx.node.id))
        started = perf_counter()
        try:
            result = await self._result(call)
        except CozyError as error:  # the model reads what went wrong, and the turn goes on
            result = ToolResult(str(error), is_error=True)
        except Exception:  # a bug of the tool's: its words are for the log, not for a model
            _log.exception("tool %s failed", call.name, extra=self._log_fields())
            result = ToolResult(f"`{call.name}` is broken and gave no result", is_error=True)
        seconds = perf_counter() - started
        message = Message("tool", result.content, tool_call_id=call.id)
        ctx.keep(message)  # before the world hears of it: the reader may have left
        await ctx.emit(
            ToolFinished(call.id, call.name, result.content, result.is_error, seconds, ctx.node.id)
        )
        return message

    async def _result(self, call: ToolCall) -> ToolResult:
        tool, ctx = self._tool(call.name), self._ctx
        arguments = tool.check(call.arguments)
        if tool.spec.side_effects and self._before:
            known = self._before.get(_same(call.name, arguments))
            if known is not None:
                ctx.note(not_run_again=call.name)
                return ToolResult(known)
        turn = ctx.turn
        language = turn.language or ctx.persona.about.language or _written_in(turn.text)
        caller = ToolCaller(turn.user_id, turn.session_id, turn.id, turn.personality_id, language)
        timeout_s = self._timeout_s or tool.spec.timeout_s
        with anyio.move_on_after(timeout_s):
            return await ctx.ports.tools.call(call.name, arguments, caller)
        raise ToolError(f"`{call.name}` did not answer within {timeout_s:g} s")

    def _tool(self, name: str) -> Tool:
        """The tool of this name; raises ToolError where it may not be run, whatever was offered."""
        if name in self._tools:
            return self._tools[name]
        ctx = self._ctx
        if any(tool.spec.name == name for tool in ctx.persona.tools) or any(
            spec.name == name for spec in ctx.ports.tools.specs()
        ):
            _log.warning("tool denied", extra={**self._log_fields(), "tool": name})
            raise ToolDenied(name)
        raise ToolError(f"there is no tool `{name}`", hint=did_you_mean(name, self._tools))

    async def _look_back(self, calls: Sequence[ToolCall]) -> None:
        """Learn what the turn that is said again has done, before anything is done that counts twice."""
        again = self._ctx.turn.retry_of
        if again is None or self._before is not None:
            return
        if any(call.name in self._tools and self._tools[call.name].spec.side_effects for call in calls):
            self._before = _results_of(await self._ctx.ports.store.rounds(self._ctx.turn.user_id, again))

    def _log_fields(self) -> dict[str, str]:
        turn = self._ctx.turn
        return {
            "turn_id": str(turn.id),
            "personality_id": turn.personality_id,
            "stage": self._ctx.node.id,
        }


def _results_of(rounds: Sequence[Message]) -> dict[tuple[str, str], str]:
    """What each call gave, by what was called with what."""
    calls: dict[str, ToolCall] = {}
    results: dict[tuple[str, str], str] = {}
    for message in rounds:
        calls |= {call.id: call for call in message.tool_calls}
        if message.role == "tool" and (call := calls.get(message.tool_call_id or "")):
            results[_same(call.name, _read(call.arguments))] = message.content
    return results


def _read(arguments: str) -> Any:
    try:
        return json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        return arguments


def _same(name: str, arguments: Any) -> tuple[str, str]:
    """What makes two calls the same: the tool, and its arguments however they are written."""
    return name, json.dumps(arguments, ensure_ascii=False, sort_keys=True)


def _written_in(text: str) -> str | None:
    """`zh` where a message has Chinese characters and none of Japanese's own; None: nobody can tell."""
    if re.search(r"[\u3040-\u30ff]", text):
        return None
    return "zh" if re.search(r"[\u4e00-\u9fff]", text) else None
