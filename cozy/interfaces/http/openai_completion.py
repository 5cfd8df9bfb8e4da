"""OpenAI's chat completion: what comes back where no stream was asked for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Given(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class CalledFunction(Given):
    name: str
    arguments: str
    """JSON, as the model wrote it."""


class GivenCall(Given):
    id: str
    type: Literal["function"]
    function: CalledFunction


class Answer(Given):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None = None
    annotations: list[Any] = []
    tool_calls: list[GivenCall] | None = None
    """Calls of the client's own tools."""
    function_call: CalledFunction | None = None
    """The same where the client speaks of `functions`."""


class Choice(Given):
    index: int
    message: Answer
    logprobs: None = None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class PromptDetails(Given):
    cached_tokens: int
    audio_tokens: int


class CompletionDetails(Given):
    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class CompletionUsage(Given):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class EngineAnswer(Given):
    """How one of the engines that bring the personal context did."""

    stage: str
    """That asked it."""
    engine: Literal["knowledge", "profile", "memory"]
    provider: str
    """Its name in the configuration."""
    outcome: str
    """`ok`, `empty`, or the code of what went wrong."""
    ms: float
    """How long the turn waited."""
    cache: Literal["", "l1", "l2", "stale"]
    """Where the answer was kept: in the process, in Redis, or an old one in place of none; empty: nowhere."""
    items: int
    reason: str
    """What went wrong, in a sentence; an admin is told all of it."""


class Facts(Given):
    """What Cozy adds to OpenAI's answer; and more of what the turn cost."""

    request_id: str
    turn_id: str
    session_id: str | None
    personality_id: str
    model: str
    """That has answered."""
    degraded: bool
    """Something was left out, so that there is an answer."""
    degrade_reasons: list[dict[str, Any]]
    engines: list[EngineAnswer]
    """How each question to an engine of the personal context went."""


class Completion(Given):
    """An answer, or `n` of them."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    system_fingerprint: str | None = None
    cozy: Facts
