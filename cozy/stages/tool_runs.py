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

from cozy.errors import CozyError, StorageError, ToolError
from cozy.events import ToolFinished, ToolStarted
from cozy.ports.effects import Effect
from cozy.ports.operations import AuditEvent
from cozy.ports.tools import ToolCaller, ToolResult, ToolSpec
from cozy.stages.base import StageContext, Tool
from cozy.stages.conversation import NOT_KNOWN
from cozy.stages.tool_record import NoSuchTool, ToolDenied, call_event, put_on_record
from cozy.stages.values import Generation
from cozy.turn import Message, ToolCall

_log = logging.getLogger("cozy.turn")


class ToolTimeout(ToolError):
    code = "TOOL_TIMEOUT"

    def __init__(self, name: str, timeout_s: float) -> None:
        super().__init__(f"`{name}` did not answer within {timeout_s:g} s")


class ToolRuns:
    """Runs the rounds of one turn."""

    def __init__(self, ctx: StageContext, timeout_s: float | None) -> None:
        """`timeout_s`: how long one call may take; None: each tool's own time."""
        self._ctx, self._timeout_s = ctx, timeout_s
        self._tools = {tool.spec.name: tool for tool in ctx.tools.ours}
        # only the stage that speaks offers them: a hidden one makes up their names
        self._clients = frozenset(spec.name for spec in ctx.tools.clients if ctx.node.speaks)
        self._looked_back = False
        self._before: Mapping[tuple[str, str], Effect] = {}

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
        started, events = perf_counter(), list[AuditEvent]()

        async def run(index: int, call: ToolCall) -> None:
            results[index] = await self._call(call, events)

        try:
            if len(calls) == 1:
                await run(0, calls[0])
            else:
                async with anyio.create_task_group() as tasks:
                    for index, call in enumerate(calls):
                        tasks.start_soon(run, index, call)
        finally:
            await put_on_record(events, ctx)
        ctx.mark("tools", started, perf_counter())
        return [message for message in results if message is not None]

    async def _call(self, call: ToolCall, events: list[AuditEvent]) -> Message:
        ctx = self._ctx
        await ctx.emit(ToolStarted(call.id, call.name, call.arguments, ctx.node.id))
        started, outcome = perf_counter(), "interrupted"
        try:
            result, outcome = await self._result(call)
        except CozyError as error:  # the model reads what went wrong, and the turn goes on
            result, outcome = ToolResult(str(error), is_error=True), error.code
        except Exception:  # a bug of the tool's: its words are for the log, not for a model
            _log.exception("tool %s failed", call.name, extra=self._log_fields())
            result = ToolResult(f"`{call.name}` is broken and gave no result", is_error=True)
            outcome = "broken"
        finally:
            events.append(call_event(call.name, outcome, perf_counter() - started, ctx))
            ctx.called("" if outcome == NoSuchTool.code else call.name, outcome)
        seconds = perf_counter() - started
        message = Message("tool", result.content, tool_call_id=call.id)
        ctx.keep(message)  # before the world hears of it: the reader may have left
        await ctx.emit(
            ToolFinished(call.id, call.name, result.content, result.is_error, seconds, ctx.node.id)
        )
        return message

    async def _result(self, call: ToolCall) -> tuple[ToolResult, str]:
        """What the model reads of a call, and how it went, in a word for the audit trail."""
        tool = self._tool(call.name)
        arguments = tool.check(call.arguments)
        if not tool.spec.side_effects:
            result = await self._run(tool.spec, arguments)
            return result, _outcome(result)
        effect = Effect(call.name, json.dumps(arguments, ensure_ascii=False, sort_keys=True))
        if (known := self._before.get((effect.tool, effect.arguments))) is not None:
            self._ctx.note(not_run_again=call.name)
            return ToolResult(NOT_KNOWN if known.result is None else known.result), "not_run_again"
        result = await self._change(tool.spec, arguments, effect)
        return result, _outcome(result)

    async def _change(self, spec: ToolSpec, arguments: Mapping[str, Any], effect: Effect) -> ToolResult:
        """Run a tool that changes something, which is on disk before and after."""
        effects = self._ctx.ports.effects
        await effects.begin(self._ctx.turn, effect)
        try:
            result = await self._run(spec, arguments)
        except ToolTimeout:
            raise  # it may be done all the same: nobody knows
        except ToolError:
            await effects.end(effect)
            raise
        try:
            await effects.end(replace(effect, result=None if result.is_error else result.content))
        except StorageError as error:  # done is done: a model that is told of an error would do it again
            _log.error("effect not kept", extra={**self._log_fields(), "tool": spec.name, "code": error.code})
        return result

    async def _run(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> ToolResult:
        turn = self._ctx.turn
        language = turn.language or self._ctx.persona.about.language or _written_in(turn.text)
        caller = ToolCaller(turn.user_id, turn.session_id, turn.id, turn.personality_id, language)
        timeout_s = self._timeout_s or spec.timeout_s
        with anyio.move_on_after(timeout_s):
            return await self._ctx.ports.tools.call(spec.name, arguments, caller)
        raise ToolTimeout(spec.name, timeout_s)

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
        raise NoSuchTool(name, self._tools)

    async def _look_back(self, calls: Sequence[ToolCall]) -> None:
        """Learn what the turn has done when it ran before, ahead of anything that counts twice."""
        turn = self._ctx.turn
        if self._looked_back or not (turn.retry_of or (turn.request and turn.request.repeated)):
            return
        if any(call.name in self._tools and self._tools[call.name].spec.side_effects for call in calls):
            self._looked_back = True
            known = await self._ctx.ports.effects.before(turn)
            self._before = {(effect.tool, effect.arguments): effect for effect in known}

    def _log_fields(self) -> dict[str, str | None]:
        return {**self._ctx.turn.log_fields(), "stage": self._ctx.node.id}


def _outcome(result: ToolResult) -> str:
    return "failed" if result.is_error else "ok"


def _written_in(text: str) -> str | None:
    """`zh` where a message has Chinese characters and none of Japanese's own; None: nobody can tell."""
    if re.search(r"[\u3040-\u30ff]", text):
        return None
    return "zh" if re.search(r"[\u4e00-\u9fff]", text) else None
