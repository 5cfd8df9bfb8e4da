"""OpenAI's chat completion request: every field of it, and what becomes of each.

Source: OpenAI's API reference, as in the official SDK 3.54's `CompletionCreateParams`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Strict(BaseModel):
    """An object that refuses fields it does not know: none is dropped in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TextPart(Strict):
    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None


class RefusalPart(Strict):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(Strict):
    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Strict):
    type: Literal["image_url"]
    image_url: ImageUrl
    prompt_cache_breakpoint: dict[str, Any] | None = None


class OtherPart(BaseModel):
    """A kind of part that Cozy does not take; refused by name."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str


def _type_of(value: Any) -> Any:
    """What an object says it is, read already or not."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get("type")
    return getattr(value, "type", None)


def _part_kind(value: Any) -> str:
    kind = _type_of(value)
    return kind if kind in ("text", "refusal", "image_url") else "other"


Part = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[RefusalPart, Tag("refusal")]
    | Annotated[ImagePart, Tag("image_url")]
    | Annotated[OtherPart, Tag("other")],
    Discriminator(_part_kind),
]
Content = str | list[Part]


class FunctionCall(Strict):
    name: str
    arguments: str


class CalledTool(Strict):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class SystemMessage(Strict):
    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserMessage(Strict):
    role: Literal["user"]
    content: Content
    name: str | None = None


class AssistantMessage(Strict):
    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    audio: dict[str, Any] | None = None
    tool_calls: list[CalledTool] | None = None
    function_call: FunctionCall | None = None
    annotations: list[Any] | None = None
    """What official SDKs keep on an answer and send back; it says nothing to a model."""
    reasoning_content: str | None = None
    """What a reasoning model thought, for servers that want it back."""


class ToolMessage(Strict):
    role: Literal["tool"]
    tool_call_id: str
    content: Content
    name: str | None = None


class FunctionMessage(Strict):
    role: Literal["function"]
    name: str
    content: str | None


RequestMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]


class Function(Strict):
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Strict):
    type: Literal["function"]
    function: Function


class OtherTool(BaseModel):
    """A kind of tool that Cozy does not take; refused by name."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str


def _tool_kind(value: Any) -> str:
    return "function" if _type_of(value) == "function" else "other"


RequestTool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[OtherTool, Tag("other")], Discriminator(_tool_kind)
]


class NamedFunction(Strict):
    name: ToolName


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


class ToolSubset(Strict):
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedTools(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: ToolSubset


ToolChoice = Literal["auto", "none", "required"] | NamedTool | AllowedTools


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CozyOptions(Strict):
    """What Cozy adds to OpenAI's request."""

    personality_id: str | None = None
    """Who answers; wins over `model`."""
    session_id: str | None = None
    """The session whose history counts: its id, or `new` for a new one."""
    use_personalization: bool = True
    """False: knowledge, profile and memory are neither asked nor taught."""
    allowed_tools: tuple[str, ...] | None = None
    """Of the personality's tools, those that may be used: names or patterns."""
    language: str | None = Field(default=None, max_length=35, pattern=r"^[A-Za-z0-9-]+$")
    """BCP 47: the language of this turn, over the personality's."""


class CompletionRequest(Strict):
    """OpenAI's fields, as OpenAI describes them, and `cozy` beside them."""

    messages: list[RequestMessage] = Field(min_length=1)
    """Without a session the whole conversation; with one, what is new: the user's message, or results."""
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """A personality's id, or a `provider/model` that this server offers."""
    cozy: CozyOptions = CozyOptions()
    """What only Cozy knows."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=128)

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: Effort | None = None
    response_format: dict[str, Any] | None = None
    logit_bias: dict[str, float] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    prediction: dict[str, Any] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None

    tools: list[RequestTool] | None = Field(default=None, max_length=128)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = Field(default=None, max_length=128)
    function_call: Literal["auto", "none"] | NamedFunction | None = None

    user: str | None = Field(default=None, max_length=512)
    safety_identifier: str | None = Field(default=None, max_length=512)
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None

    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: dict[str, Any] | None = None
    store: bool | None = None
    moderation: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None


PASSED_ON = (
    "logit_bias",
    "verbosity",
    "prediction",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
)
"""Fields that the model's server is sent as they are."""
