"""CozyChat's way of speaking to the chat route: flat fields in, an answer that shows its tools out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from pydantic import ConfigDict, Field
from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.responses import Response

from cozy.interfaces.http.ask import Ask, session_named
from cozy.interfaces.http.bodies import body_as, json_object
from cozy.interfaces.http.cozychat.chat_answer import ChatRenderer, apology
from cozy.interfaces.http.cozychat.errors import tell
from cozy.interfaces.http.cozychat.routes import Taken
from cozy.interfaces.http.cozychat.titles import give_title
from cozy.interfaces.http.cozychat.wording import failure, texts_in
from cozy.interfaces.http.ending import Ending
from cozy.interfaces.http.openai_answer import answer_id
from cozy.interfaces.http.openai_ask import ask_of
from cozy.interfaces.http.openai_request import (
    AssistantMessage,
    CompletionRequest,
    FunctionMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from cozy.interfaces.http.problems import Problem
from cozy.interfaces.http.service import Service
from cozy.turn import Turn, TurnId

_SPOKEN_BY = ("personality_id", "session_id", "use_memory", "memory_options")
"""Any of these at the top of a body tells this client from OpenAI's."""
_LOGIN = re.compile(r"Bearer *(null|undefined|[\w-]+\.[\w-]+\.[\w-]+)?", re.IGNORECASE | re.ASCII)
_KEPT = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "seed",
    "response_format",
    "reasoning_effort",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
)
"""Fields of OpenAI's that mean here what they mean there."""
_MESSAGES = {
    "system": SystemMessage,
    "developer": SystemMessage,
    "user": UserMessage,
    "assistant": AssistantMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
}


class MemoryOptions(Taken):
    include_user_memory: bool = True
    """False: as `use_memory: false`."""


class ChatRequest(Taken):
    """What CozyChat adds to OpenAI's request, and what it says in its own way.

    `user_id` and `engine_type` are taken and have no effect: the user is whose token came with the request,
    the engine is the personality's.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [name]} for name in _SPOKEN_BY]})

    messages: list[Any] = Field(min_length=1)
    """As OpenAI's; the whole visible history."""
    personality_id: str | None = Field(default=None, max_length=64)
    """Who answers; over the session's own personality."""
    session_id: str | None = None
    """The conversation. The last message alone is new to it."""
    use_memory: bool | None = None
    memory_options: MemoryOptions | None = None
    model: str | None = Field(default=None, max_length=256)
    """`provider/name` in place of the personality's model, where the configuration offers it."""
    stream: bool | None = None

    @property
    def named_model(self) -> str | None:
        """A bare name was another service's: it counts only where nothing else says who answers."""
        is_needed = not (self.personality_id or self.session_id) or "/" in (self.model or "")
        return self.model or None if is_needed else None

    @property
    def personalized(self) -> bool:
        options = self.memory_options
        return self.use_memory is not False and (options is None or options.include_user_memory)


class CozyChatDialect:
    """The dialect of CozyChat's front end.

    That client cannot live with an error where it wants a stream, so it is told of one in the stream.
    """

    body = ChatRequest

    def speaks(self, body: Mapping[str, Any] | None, headers: Headers) -> bool:
        return _is_front_end(headers) if body is None else any(n in body for n in _SPOKEN_BY)

    def ask(self, body: bytes) -> Ask:
        values = json_object(body)
        own = body_as(ChatRequest, body)
        request = body_as(CompletionRequest, to_json(_in_openais_words(values, own)))
        return replace(
            ask_of(request),
            model=own.named_model,
            personality_id=own.personality_id or None,
            session=session_named(own.session_id, "session_id") if own.session_id else None,
            personalized=own.personalized,
        )

    def renderer(self, ask: Ask, personality_id: str, turn_id: TurnId) -> ChatRenderer:
        return ChatRenderer(ask, personality_id, answer_id(turn_id))

    async def answered(self, service: Service, turn: Turn, ending: Ending) -> None:
        await give_title(service, turn)

    def refused(self, problem: Problem, body: Mapping[str, Any] | None, request_id: str) -> Response:
        # its pages always ask for a stream
        if body is not None and body.get("stream") is not True:
            return tell(problem, request_id)
        return apology(failure(problem, texts_in(body or {}), request_id))


def _is_front_end(headers: Headers) -> bool:
    """Whether a page of this client's has sent them, as far as can be told without the body.

    It is a browser's, and brings the token of a login, or none yet: who programs for OpenAI's API has a key.
    """
    is_sdk = any(name.startswith("x-stainless-") for name in headers)
    return "origin" in headers and not is_sdk and bool(_LOGIN.fullmatch(headers.get("authorization", "")))


def _in_openais_words(values: Mapping[str, Any], own: ChatRequest) -> dict[str, Any]:
    """The body as OpenAI's clients would have sent it; what neither knows is left out."""
    kept = {name: values[name] for name in _KEPT if values.get(name) is not None}
    messages = [_message(one) for one in own.messages if not _is_empty_reply(one)]
    return {**kept, "messages": messages, "stream": own.stream}


def _message(given: Any) -> Any:
    """A message without fields that nobody knows; what is none is left to be refused."""
    if not isinstance(given, Mapping):
        return cast("object", given)
    fields = cast("Mapping[str, Any]", given)
    model = _MESSAGES.get(str(fields.get("role")))
    return {name: fields[name] for name in fields if model is None or name in model.model_fields}


def _is_empty_reply(given: Any) -> bool:
    """What an earlier failure has left in the client's history."""
    if not isinstance(given, Mapping):
        return False
    fields = cast("Mapping[str, Any]", given)
    return fields.get("role") == "assistant" and not fields.get("content") and not fields.get("tool_calls")


DIALECT = CozyChatDialect()
