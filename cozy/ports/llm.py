"""A language model: a request in, a stream of pieces out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from cozy.events import FinishReason
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, Sampling
from cozy.usage import Usage

ToolChoice = str
"""`auto`, `none`, `required`, or the name of the one tool that must be called."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model before it is called."""

    name: str
    """`provider/name`."""
    context_tokens: int
    """How much it reads, prompt and answer together."""
    encoding: str = "o200k_base"
    """tiktoken's name of the vocabulary, or the nearest one."""
    price_in: float | None = None
    """Per million prompt tokens, in the currency of the configuration."""
    price_cached: float | None = None
    """Per million prompt tokens that the server had seen before."""
    price_out: float | None = None
    """Per million tokens of the answer."""


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """Everything a model is sent."""

    model: str
    """`provider/name`."""
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    """Whether several calls at once are wanted; None: the server's default."""
    sampling: Sampling = Sampling()
    user: str | None = None
    """An opaque, stable id of the end user, for the server's abuse checks."""


@dataclass(frozen=True, slots=True)
class TextChunk:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningChunk:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A piece of a call: pieces of one call share `index`; `id` and `name` stand on the first only."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class FinishChunk:
    """The last piece: why it ended and what it cost. A stream without one is an error of the adapter."""

    reason: FinishReason
    usage: Usage | None = None
    model: str | None = None
    """The model that answered, by the server's word."""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the answer that nobody here reads."""


Chunk = TextChunk | ReasoningChunk | ToolCallChunk | FinishChunk


class LLM(Protocol):
    """Raises EngineError, and nothing else, for whatever goes wrong outside."""

    def card(self, model: str) -> ModelCard:
        """What is known of `provider/name`; a guess on the careful side for an unknown one."""
        ...

    def stream(self, request: LLMRequest) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """The answer, piece by piece; leaving the block stops the model at once."""
        ...
