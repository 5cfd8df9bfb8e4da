"""Events → OpenAI's chat completions, whole or in chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.responses import Response

from cozy.events import Event, ReasoningDelta, TextDelta, ToolCallDelta
from cozy.interfaces.http.ask import Ask
from cozy.interfaces.http.bodies import body_as
from cozy.interfaces.http.ending import Ending
from cozy.interfaces.http.openai_ask import ask_of
from cozy.interfaces.http.openai_request import CompletionRequest
from cozy.interfaces.http.problems import Problem
from cozy.interfaces.http.service import Service
from cozy.turn import ToolCall, Turn, TurnId
from cozy.usage import Usage

DONE = b"data: [DONE]\n\n"
_CallKey = tuple[int, str, int]


class OpenAIDialect:
    """The dialect of OpenAI's own clients, and of all who do as they do."""

    body = CompletionRequest

    def speaks(self, body: Mapping[str, Any] | None, headers: Headers) -> bool:
        return True

    def ask(self, body: bytes) -> Ask:
        return ask_of(body_as(CompletionRequest, body))

    def renderer(self, ask: Ask, personality_id: str, turn_id: TurnId) -> OpenAIRenderer:
        return OpenAIRenderer(ask, ask.model or personality_id, answer_id(turn_id))

    async def answered(self, service: Service, turn: Turn, ending: Ending) -> None:
        """Nothing: what is to be kept was kept before."""

    def refused(self, problem: Problem, body: Mapping[str, Any] | None, request_id: str) -> Response:
        return problem.response(request_id)


def answer_id(turn_id: TurnId) -> str:
    """What clients know an answer by: the same where it is told again."""
    return f"chatcmpl-{turn_id.hex}"


def sse(value: Any) -> bytes:
    """A value as one event of a stream."""
    return b"data: " + to_json(value) + b"\n\n"


def usage_values(usage: Usage) -> dict[str, Any]:
    """In OpenAI's words."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def total_usage(endings: Sequence[Ending]) -> Usage:
    """Of all answers to one request: the prompt that they share is counted once, as OpenAI does."""
    first, *others = (ending.usage for ending in endings)
    spoken = sum((Usage(completion_tokens=u.completion_tokens) for u in others), Usage())
    return first + spoken


@dataclass(slots=True)
class OpenAIRenderer:
    """One answer, or several under one id."""

    ask: Ask
    model: str
    id: str
    created: int = field(default_factory=lambda: int(time.time()))
    _calls: dict[_CallKey, int | None] = field(default_factory=dict["_CallKey", int | None])
    """(choice, stage, index there) → index for the client; None for a call of a tool of ours."""
    _told: dict[int, int] = field(default_factory=dict[int, int])
    """Choice → how many calls the client has been told of."""
    _frame: tuple[bytes, bytes] = (b"", b"")

    def __post_init__(self) -> None:
        # a word's chunk is these two with its JSON between: nothing else in it changes
        chunk = to_json(self._chunk(0, {"content": ""}))
        head, tail = chunk.split(b'{"content":""}')
        self._frame = (b"data: " + head + b'{"content":', b"}" + tail + b"\n\n")

    def begin(self) -> bytes:
        return b"".join(
            sse(self._chunk(choice, {"role": "assistant", "content": "", "refusal": None}))
            for choice in range(self.ask.n)
        )

    def event(self, choice: int, event: Event) -> bytes:
        match event:
            case TextDelta(text=text):
                if choice == 0:
                    head, tail = self._frame
                    return head + to_json(text) + tail
                return sse(self._chunk(choice, {"content": text}))
            case ReasoningDelta(text=text):
                return sse(self._chunk(choice, {"reasoning_content": text}))
            case ToolCallDelta():
                return self._call(choice, event)
            case _:
                return b""

    def _call(self, choice: int, delta: ToolCallDelta) -> bytes:
        """A piece of a call, where it is a call of the client's own tool."""
        key = (choice, delta.stage, delta.index)
        if delta.name:
            is_clients = any(tool.name == delta.name for tool in self.ask.tools)
            told = self._told.get(choice, 0)
            self._calls[key] = told if is_clients else None
            self._told[choice] = told + is_clients
        index = self._calls.get(key)
        if index is None:
            return b""
        function = {"name": delta.name} if delta.name else {}
        function["arguments"] = delta.arguments
        if self.ask.legacy_functions:
            return sse(self._chunk(choice, {"function_call": function}))
        head = {"id": delta.id, "type": "function"} if delta.name else {}
        return sse(self._chunk(choice, {"tool_calls": [{"index": index, **head, "function": function}]}))

    def again(self, ending: Ending) -> bytes:
        written = [self.event(0, TextDelta(ending.text, ""))] if ending.text else []
        for index, call in enumerate(ending.tool_calls):
            written.append(self._call(0, ToolCallDelta(index, call.id, call.name, call.arguments, "")))
        return b"".join(written)

    def end(self, choice: int, ending: Ending) -> bytes:
        chunk = self._chunk(choice, {}, finish=self._finish(ending))
        return sse({**chunk, "cozy": ending.facts})

    def close(self, endings: Sequence[Ending]) -> bytes:
        if not self.ask.include_usage:
            return DONE
        last: dict[str, Any] = {
            **self._chunk(0, {}),
            "choices": [],
            "usage": usage_values(total_usage(endings)),
        }
        return sse(last) + DONE

    def broken(self, problem: Problem, request_id: str) -> bytes:
        return sse(problem.body(request_id))

    def whole(self, endings: Sequence[Ending]) -> Mapping[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [
                {
                    "index": choice,
                    "message": self._message(ending),
                    "logprobs": None,
                    "finish_reason": self._finish(ending),
                }
                for choice, ending in enumerate(endings)
            ],
            "usage": usage_values(total_usage(endings)),
            "system_fingerprint": None,
            "cozy": endings[0].facts,
        }

    def _message(self, ending: Ending) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": ending.text if ending.text or not ending.tool_calls else None,
            "refusal": None,
            "annotations": [],
        }
        if ending.tool_calls and self.ask.legacy_functions:
            message["function_call"] = _function(ending.tool_calls[0])
        elif ending.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": _function(call)} for call in ending.tool_calls
            ]
        return message

    def _finish(self, ending: Ending) -> str:
        if ending.finish_reason == "tool_calls":
            return "function_call" if self.ask.legacy_functions else "tool_calls"
        return "stop" if ending.finish_reason == "interrupted" else ending.finish_reason

    def _chunk(self, choice: int, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        chunk: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
            "choices": [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        return {**chunk, "usage": None} if self.ask.include_usage else chunk


def _function(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "arguments": call.arguments}
