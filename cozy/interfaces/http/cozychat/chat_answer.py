"""Events → the chunks that CozyChat's front end shows: words, tools at work, and failures as words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pydantic_core import to_json
from starlette.responses import Response

from cozy.events import Event, ReasoningDelta, TextDelta, ToolCallDelta, ToolStarted
from cozy.interfaces.http.ask import Ask
from cozy.interfaces.http.cozychat.wording import failure
from cozy.interfaces.http.ending import Ending
from cozy.interfaces.http.openai_answer import DONE, answer_id, sse, usage_values
from cozy.interfaces.http.problems import Problem
from cozy.turn import ToolCall, TurnId

_HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
_WORDS = {"content": ""}


def apology(words: str) -> Response:
    """A stream that says these words and ends, with the status of one that went well."""
    chunks = _Chunks("cozy", answer_id(TurnId(uuid4())))
    body = chunks.role() + chunks.text(words) + chunks.finish("stop") + DONE
    return Response(body, 200, _HEADERS, "text/event-stream")


@dataclass(slots=True)
class _Chunks:
    """The pieces of one answer, under one id."""

    model: str
    id: str
    created: int = field(default_factory=lambda: int(time.time()))
    _frame: tuple[bytes, bytes] = (b"", b"")

    def __post_init__(self) -> None:
        # a word's chunk is these two with its JSON between: nothing else in it changes
        head, tail = to_json(self.values(_WORDS)).split(to_json(_WORDS))
        self._frame = (b"data: " + head + b'{"content":', b"}" + tail + b"\n\n")

    def values(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    def role(self) -> bytes:
        return sse(self.values({"role": "assistant"}))

    def text(self, words: str) -> bytes:
        head, tail = self._frame
        return head + to_json(words) + tail

    def delta(self, delta: Mapping[str, Any]) -> bytes:
        return sse(self.values(delta))

    def finish(self, reason: str, **facts: Any) -> bytes:
        return sse({**self.values({}, reason), **facts})


@dataclass(slots=True)
class ChatRenderer:
    """One answer. Each round of tools is shown: the calls, that they run, and then the words that follow."""

    ask: Ask
    personality_id: str
    id: str
    _chunks: _Chunks = field(init=False)
    _calls: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    """(stage, index there) → index in this round."""
    _role_due: bool = False
    """A round of tools is over: what comes next begins as an answer does."""
    _has_spoken: bool = False

    def __post_init__(self) -> None:
        self._chunks = _Chunks(self.personality_id, self.id)

    def begin(self) -> bytes:
        return self._chunks.role()

    def event(self, choice: int, event: Event) -> bytes:
        match event:
            case TextDelta(text=text):
                self._has_spoken = True
                return self._role() + self._chunks.text(text)
            case ReasoningDelta(text=text):
                return self._role() + self._chunks.delta({"reasoning_content": text})
            case ToolCallDelta():
                return self._role() + self._call(event)
            case ToolStarted():
                return self._tools_run()
            case _:
                return b""

    def _role(self) -> bytes:
        if not self._role_due:
            return b""
        self._role_due = False
        return self._chunks.role()

    def _call(self, delta: ToolCallDelta) -> bytes:
        """A piece of a call, of the client's tools or of ours."""
        index = self._calls.setdefault((delta.stage, delta.index), len(self._calls))
        head = {"id": delta.id, "type": "function"} if delta.name else {}
        name = {"name": delta.name} if delta.name else {}
        call = {"index": index, **head, "function": {**name, "arguments": delta.arguments}}
        return self._chunks.delta({"tool_calls": [call]})

    def _tools_run(self) -> bytes:
        """The end of a round's calls, told with the first of them that runs."""
        if not self._calls:
            return b""
        self._calls.clear()
        self._role_due = True
        return self._chunks.finish("tool_calls")

    def again(self, ending: Ending) -> bytes:
        written = [self.event(0, TextDelta(ending.text, ""))] if ending.text else []
        for index, call in enumerate(ending.tool_calls):
            written.append(self.event(0, ToolCallDelta(index, call.id, call.name, call.arguments, "")))
        return b"".join(written)

    def end(self, choice: int, ending: Ending) -> bytes:
        return self._role() + self._chunks.finish(_reason(ending), cozy=ending.facts)

    def close(self, endings: Sequence[Ending]) -> bytes:
        return DONE

    def broken(self, problem: Problem, request_id: str) -> bytes:
        said = self.ask.messages[::-1]
        own = [m.content for m in said if m.role == "user"]
        words = failure(problem, own + [m.content for m in said if m.role != "user"], request_id)
        between = "\n\n" if self._has_spoken else ""
        return self._role() + self._chunks.text(between + words) + self._chunks.finish("stop") + DONE

    def whole(self, endings: Sequence[Ending]) -> Mapping[str, Any]:
        ending = endings[0]
        message: dict[str, Any] = {"role": "assistant", "content": ending.text}
        if ending.tool_calls:
            message["tool_calls"] = [_called(call) for call in ending.tool_calls]
        return {
            "id": self._chunks.id,
            "object": "chat.completion",
            "created": self._chunks.created,
            "model": self.personality_id,
            "choices": [{"index": 0, "message": message, "finish_reason": _reason(ending)}],
            "usage": usage_values(ending.usage),
            "personality": self.personality_id,
            "memories_used": None,
            "tools_called": None,
            "cozy": ending.facts,
        }


def _reason(ending: Ending) -> str:
    return "stop" if ending.finish_reason == "interrupted" else ending.finish_reason


def _called(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
