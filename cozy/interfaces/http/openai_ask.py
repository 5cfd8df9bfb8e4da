"""OpenAI's request → Ask: what is implemented, what is passed on, what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from cozy.errors import InvalidRequest, Unsupported
from cozy.interfaces.http.ask import Ask, session_named
from cozy.interfaces.http.openai_request import (
    PASSED_ON,
    AllowedTools,
    AssistantMessage,
    CompletionRequest,
    Content,
    FunctionMessage,
    FunctionTool,
    ImagePart,
    NamedFunction,
    NamedTool,
    OtherPart,
    RefusalPart,
    RequestMessage,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from cozy.turn import ClientTool, Message, Sampling, ToolCall

MOST_CHOICES = 8
"""Answers to one request: each is a turn of its own."""
_FORMATS = ("text", "json_object", "json_schema")


def ask_of(request: CompletionRequest) -> Ask:
    """Raises Unsupported, or InvalidRequest, with the field in `param`."""
    _refuse(request)
    legacy = request.functions is not None
    tools, choice = _functions(request) if legacy else _tools(request)
    system, messages = _messages(request.messages)
    session = request.cozy.session_id
    return Ask(
        messages=messages,
        system=system,
        model=request.model,
        personality_id=request.cozy.personality_id,
        session=session_named(session, "cozy.session_id") if session is not None else None,
        stream=bool(request.stream),
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
        n=request.n or 1,
        sampling=_sampling(request),
        tools=tools,
        tool_choice=choice,
        # the deprecated way knows one call an answer
        parallel_tool_calls=False if legacy else request.parallel_tool_calls,
        allowed_tools=request.cozy.allowed_tools,
        personalized=request.cozy.use_personalization,
        language=request.cozy.language,
        end_user=request.safety_identifier or request.user,
        metadata=request.metadata or {},
        legacy_functions=legacy,
    )


def _refuse(request: CompletionRequest) -> None:
    """What cannot be had here, whichever model answers."""
    refused: Mapping[str, bool] = {
        "logprobs": bool(request.logprobs),
        "top_logprobs": request.top_logprobs not in (None, 0),
        "modalities": "audio" in (request.modalities or ()),
        "audio": request.audio is not None,
        "store": bool(request.store),
        "moderation": request.moderation is not None,
        "web_search_options": request.web_search_options is not None,
        "stream_options.include_obfuscation": bool(
            request.stream_options and request.stream_options.include_obfuscation
        ),
    }
    for param, wanted in refused.items():
        if wanted:
            raise Unsupported(f"`{param}` is not supported", param=param, hint="leave it out")
    if request.stream_options is not None and not request.stream:
        raise InvalidRequest(
            "`stream_options` goes with `stream: true`", param="stream_options", hint="leave it out"
        )
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise InvalidRequest(
            "`max_tokens` is the old name of `max_completion_tokens`",
            param="max_tokens",
            hint="send one of them",
        )
    if (request.n or 1) > MOST_CHOICES:
        raise Unsupported(f"`n` is at most {MOST_CHOICES}", param="n")
    if (request.n or 1) > 1:
        for param, given in (
            ("tools", request.tools or request.functions),
            ("cozy.session_id", request.cozy.session_id),
        ):
            if given:
                raise Unsupported(f"`n` above 1 does not go with `{param}`", param="n")
    kind = (request.response_format or {"type": "text"}).get("type")
    if kind not in _FORMATS:
        raise InvalidRequest(
            f"`response_format.type` must be one of {', '.join(_FORMATS)}", param="response_format.type"
        )


def _sampling(request: CompletionRequest) -> Sampling:
    stop = request.stop
    wanted = request.response_format
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        seed=request.seed,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        reasoning_effort=request.reasoning_effort,
        response_format=wanted if wanted and wanted.get("type") != "text" else None,
        extra={name: value for name in PASSED_ON if (value := getattr(request, name)) is not None},
    )


# -- tools ---------------------------------------------------------------------------------------------


def _tools(request: CompletionRequest) -> tuple[tuple[ClientTool, ...], str]:
    if request.function_call is not None:
        raise InvalidRequest("`function_call` goes with `functions`", param="function_call")
    tools: list[ClientTool] = []
    for index, tool in enumerate(request.tools or ()):
        if not isinstance(tool, FunctionTool):
            param = f"tools[{index}].type"
            raise Unsupported(f"`{param}`: only `function` is supported", param=param)
        function = tool.function
        tools.append(
            ClientTool(
                function.name,
                function.description or "",
                function.parameters or _NO_PARAMETERS,
                function.strict,
            )
        )
    _each_once(tools, "tools[{}].function.name")
    return _chosen(tuple(tools), request.tool_choice)


_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


def _chosen(tools: tuple[ClientTool, ...], choice: Any) -> tuple[tuple[ClientTool, ...], str]:
    names = {tool.name for tool in tools}
    match choice:
        case None:
            return tools, "auto"
        case "required" if not tools:
            raise InvalidRequest("`tool_choice: required` needs `tools`", param="tool_choice")
        case str():
            return tools, choice
        case NamedTool(function=NamedFunction(name=name)):
            _known({name}, names)
            return tools, name
        case AllowedTools(allowed_tools=subset):
            wanted = {tool.function.name for tool in subset.tools}
            _known(wanted, names)
            return tuple(tool for tool in tools if tool.name in wanted), subset.mode
        case _:
            raise InvalidRequest("`tool_choice` cannot be read", param="tool_choice")


def _known(wanted: set[str], names: set[str]) -> None:
    if unknown := sorted(wanted - names):
        raise InvalidRequest(
            f"`tool_choice`: there is no tool `{unknown[0]}` in `tools`", param="tool_choice"
        )


def _functions(request: CompletionRequest) -> tuple[tuple[ClientTool, ...], str]:
    """The deprecated spelling of tools."""
    for param in ("tools", "tool_choice", "parallel_tool_calls"):
        if getattr(request, param) is not None:
            raise InvalidRequest(f"`{param}` does not go with `functions`", param=param, hint="use `tools`")
    tools = tuple(
        ClientTool(f.name, f.description or "", f.parameters or _NO_PARAMETERS, f.strict)
        for f in request.functions or ()
    )
    _each_once(tools, "functions[{}].name")
    called = request.function_call
    if not isinstance(called, NamedFunction):
        return tools, called or "auto"
    if called.name not in {tool.name for tool in tools}:
        raise InvalidRequest(f"there is no function `{called.name}` in `functions`", param="function_call")
    return tools, called.name


def _each_once(tools: Sequence[ClientTool], param: str) -> None:
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.name in seen:
            raise InvalidRequest(f"there are two tools `{tool.name}`", param=param.format(index))
        seen.add(tool.name)


# -- messages ------------------------------------------------------------------------------------------


def _messages(given: Sequence[RequestMessage]) -> tuple[str, tuple[Message, ...]]:
    """The client's system messages as one text, and the others in order."""
    system: list[str] = []
    messages: list[Message] = []
    legacy = 0
    for index, message in enumerate(given):
        where = f"messages[{index}]"
        match message:
            case SystemMessage(content=content):
                system.append(_text(content, where))
            case UserMessage(content=content, name=name):
                parts = _images(content, where)
                messages.append(Message("user", _text(content, where, images=True), parts=parts, name=name))
            case AssistantMessage():
                legacy += message.function_call is not None
                messages.append(_assistant(message, where, legacy))
            case ToolMessage(content=content, tool_call_id=call):
                messages.append(Message("tool", _text(content, where), tool_call_id=call))
            case FunctionMessage(content=content):
                messages.append(Message("tool", content or "", tool_call_id=_legacy_id(legacy)))
    return "\n\n".join(text for text in system if text.strip()), tuple(messages)


def _legacy_id(count: int) -> str:
    """The id of a function's call, which the deprecated way has none for."""
    return f"call_function_{count}"


def _assistant(message: AssistantMessage, where: str, legacy: int) -> Message:
    if message.audio is not None:
        raise Unsupported(f"`{where}.audio` is not supported", param=f"{where}.audio")
    calls = [ToolCall(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()]
    if message.function_call is not None:
        calls.append(
            ToolCall(_legacy_id(legacy), message.function_call.name, message.function_call.arguments)
        )
    text = _text(message.content, where) if message.content is not None else message.refusal or ""
    return Message(
        "assistant",
        text,
        tool_calls=tuple(calls),
        reasoning=message.reasoning_content,
        name=message.name,
    )


def _text(content: Content, where: str, *, images: bool = False) -> str:
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for index, part in enumerate(content):
        match part:
            case TextPart(text=text):
                texts.append(text)
            case RefusalPart(refusal=refusal):
                texts.append(refusal)
            case OtherPart(type=kind):
                param = f"{where}.content[{index}].type"
                raise Unsupported(f"`{param}`: parts of type `{kind[:40]}` are not supported", param=param)
            case ImagePart():
                if not images:
                    param = f"{where}.content[{index}].type"
                    raise Unsupported(f"`{param}`: only users send images", param=param)
    return "\n".join(texts)


def _images(content: Content, where: str) -> tuple[Mapping[str, Any], ...]:
    if isinstance(content, str):
        return ()
    images: list[Mapping[str, Any]] = []
    for index, part in enumerate(content):
        if isinstance(part, ImagePart):
            url = part.image_url.url
            if not url.startswith(("https://", "http://", "data:image/")):
                param = f"{where}.content[{index}].image_url.url"
                raise InvalidRequest(f"`{param}` must be an http(s) address or `data:image/…`", param=param)
            images.append(cast("Mapping[str, Any]", part.model_dump(exclude_none=True)))
    return tuple(images)
