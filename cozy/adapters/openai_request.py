"""LLMRequest → the JSON body of a chat completion, in the dialect of one server."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from cozy.adapters.model_servers import OpenAIServer
from cozy.ports.llm import LLMRequest
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, Sampling, ToolCall

NAME_CHARS = 64
"""The longest tool name that OpenAI takes."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What is sent, and what is needed to read the answer."""

    model: str
    """The name at the server."""
    body: Mapping[str, Any]
    """All fields but `model` and `stream`."""
    tool_names: Mapping[str, str]
    """Names on the wire → Cozy's, where they differ."""
    unsent: tuple[str, ...] = ()
    """Settings that this model would refuse."""


def wire_request(server: OpenAIServer, request: LLMRequest) -> WireRequest:
    """The request as this server wants it."""
    model = request.model.partition("/")[2]
    names = wire_names(
        [
            *(tool.name for tool in request.tools),
            *(call.name for message in request.messages for call in message.tool_calls),
        ]
    )
    dialect = _Dialect(server, model, names)
    body: dict[str, Any] = {"messages": [dialect.message(m) for m in request.messages]}
    if server.can.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if request.user and server.can.user_field:
        body["user"] = request.user
    unsent = dialect.add_tools(body, request.tools, request.tool_choice)
    if "tools" in body and request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    unsent += dialect.add_sampling(body, request.sampling)
    return WireRequest(model, body, {w: n for n, w in names.items() if w != n}, unsent)


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """A name of letters, digits, `_` and `-` for each tool, no two alike: OpenAI takes no others.

    A name that is one already stays; else strange characters become `_`, and where that is ambiguous, empty
    or too long, a digest of the name is added.
    """
    plain = {name: re.sub(r"[^a-zA-Z0-9_-]", "_", name) for name in dict.fromkeys(names)}
    uses = Counter(plain.values())
    given: dict[str, str] = {}
    for name, wire in plain.items():
        if name == wire and len(name) <= NAME_CHARS and name:
            given[name] = name
        elif uses[wire] > 1 or len(wire) > NAME_CHARS or not wire.strip("_"):
            digest = blake2b(name.encode(), digest_size=4).hexdigest()
            given[name] = f"{wire[: NAME_CHARS - 9].rstrip('_') or 'tool'}_{digest}"
        else:
            given[name] = wire
    return given


class _Dialect:
    """One server's way of writing messages, tools and settings."""

    def __init__(self, server: OpenAIServer, model: str, names: Mapping[str, str]) -> None:
        self.server = server
        self.model = model
        self.names = names
        self.reasons = server.is_openai_reasoning(model)
        self.system_role = "developer" if self.reasons and server.can.developer_role else "system"
        self.echoes = server.wants_reasoning_back(model)

    def message(self, message: Message) -> dict[str, Any]:
        """A message in OpenAI's form."""
        match message.role:
            case "system":
                return {"role": self.system_role, "content": message.content}
            case "tool":
                return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
            case "assistant":
                return self._assistant(message) | _name(message)
            case "user":
                return {"role": "user", "content": _content(message)} | _name(message)

    def _assistant(self, message: Message) -> dict[str, Any]:
        if not message.tool_calls:
            return {"role": "assistant", "content": message.content}
        written: dict[str, Any] = {
            "role": "assistant",
            "content": message.content or None,
            "tool_calls": [self._call(call) for call in message.tool_calls],
        }
        if self.echoes:
            # DeepSeek refuses the request without it; an empty one counts
            written["reasoning_content"] = message.reasoning or ""
        return written

    def _call(self, call: ToolCall) -> dict[str, Any]:
        function = {"name": self.names[call.name], "arguments": _arguments(call.arguments)}
        return {"id": call.id, "type": "function", "function": function}

    def add_tools(self, body: dict[str, Any], tools: tuple[ToolSpec, ...], choice: str) -> tuple[str, ...]:
        """Write `tools` and `tool_choice`; gives what could not be said to this server.

        A server that knows no tool by name, is offered only the one that must be called.
        """
        forms = self.server.can.tool_choice
        named = choice not in ("auto", "none", "required")
        if named and forms != "full":
            tools = tuple(tool for tool in tools if tool.name == choice)
        if not tools or (choice == "none" and forms == "none"):
            return ()
        body["tools"] = [self._tool(tool) for tool in tools]
        if choice == "auto":
            return ()
        # DeepSeek's reasoning models take no choice but `auto`
        if forms == "none" or (
            choice != "none" and self.server.kind == "deepseek" and "reason" in self.model
        ):
            return ("tool_choice",)
        if not named:
            body["tool_choice"] = choice
        elif forms == "words":
            body["tool_choice"] = "required"
        else:
            function = {"name": self.names.get(choice, choice)}
            body["tool_choice"] = {"type": "function", "function": function}
        return ()

    def _tool(self, tool: ToolSpec) -> dict[str, Any]:
        function: dict[str, Any] = {
            "name": self.names[tool.name],
            "description": tool.description,
            "parameters": dict(tool.parameters),
        }
        if tool.strict is not None:
            function["strict"] = tool.strict
        return {"type": "function", "function": function}

    def add_sampling(self, body: dict[str, Any], sampling: Sampling) -> tuple[str, ...]:
        """Write how words are chosen; gives the settings that the model would refuse."""
        fields: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "stop": list(sampling.stop) or None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        refused: tuple[str, ...] = ()
        if self.reasons and sampling.reasoning_effort != "none":
            refused, given = tuple(given), {}
        length = "max_completion_tokens" if self.reasons else self.server.can.length_field
        rest = {
            length: sampling.max_tokens,
            self.server.can.seed_field: sampling.seed,
            "reasoning_effort": sampling.reasoning_effort,
            "response_format": sampling.response_format,
        }
        body.update(given)
        body.update((name, value) for name, value in rest.items() if value is not None)
        body.update(sampling.extra)
        return refused


def _name(message: Message) -> dict[str, str]:
    return {"name": message.name} if message.name else {}


def _content(message: Message) -> Any:
    """Text, or parts with the text first."""
    others = [dict(part) for part in message.parts if part.get("type") != "text"]
    if not others:
        return message.content
    return [{"type": "text", "text": message.content}, *others] if message.content else others


def _arguments(written: str) -> str:
    """What the model wrote, if it is a JSON object: servers that parse it would refuse the whole request."""
    try:
        if isinstance(json.loads(written), dict):
            return written
    except ValueError:
        pass
    return json.dumps({"unreadable_arguments": written}, ensure_ascii=False) if written.strip() else "{}"
