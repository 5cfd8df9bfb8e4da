"""A model that speaks from a script: for tests, for `cozy test`, and to replay what happened.

A script is data, as YAML or JSON gives it; every value may be text. It holds replies, and a request takes the
first unused one that fits it:

```yaml
- text: It is five o'clock.          # a list says it in several pieces
- model: openai/gpt-4o               # only requests to this model take it
  fault:
    kind: EngineUnavailable          # a class of cozy.errors, or `stall`, or `cut`
    after: 2                         # pieces
  text:
    - One
    - " two"
- tool_calls:
    - name: calculator
      arguments: '{"expression": "1+1"}'
```
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

import anyio
import anyio.lowlevel
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cozy.errors import (
    CozyError,
    EngineAuthError,
    EngineError,
    EngineInitError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
    ToolError,
)
from cozy.events import FinishReason
from cozy.ports.llm import (
    Chunk,
    FinishChunk,
    LLMRequest,
    ModelCard,
    ReasoningChunk,
    TextChunk,
    ToolCallChunk,
)
from cozy.usage import Usage

ENGINE_ERRORS: Mapping[str, type[EngineError]] = {
    error.__name__: error
    for error in (
        EngineInitError,
        EngineTimeout,
        EngineAuthError,
        EngineRateLimited,
        EngineInvalidRequest,
        EngineUnavailable,
    )
}


class ScriptError(Exception):
    """What happened is not what the script says. No EngineError: it must not be degraded away."""


class Part(BaseModel):
    """A piece of a script. A key without a value is as good as none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_values(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {k: v for k, v in cast("Mapping[str, Any]", data).items() if v != "" and v is not None}


def _pieces(value: Any) -> Any:
    """One text is one piece."""
    return (value,) if isinstance(value, str) else value


def _json_pieces(value: Any) -> Any:
    return (json.dumps(value, ensure_ascii=False),) if isinstance(value, Mapping) else _pieces(value)


Pieces = Annotated[tuple[str, ...], BeforeValidator(_pieces)]
JsonPieces = Annotated[tuple[str, ...], BeforeValidator(_json_pieces)]
Milliseconds = Annotated[float, Field(ge=0)]


class Fault(Part):
    """How something goes wrong."""

    kind: Literal[
        "EngineInitError",
        "EngineTimeout",
        "EngineAuthError",
        "EngineRateLimited",
        "EngineInvalidRequest",
        "EngineUnavailable",
        "ToolError",
        "stall",
        "cut",
    ]
    """A class of `cozy.errors`; `stall`: nothing comes any more, until somebody gives up; `cut`: the
    connection breaks."""
    after: int = Field(default=0, ge=0)
    """How many pieces of a model's answer come first."""
    times: int | None = Field(default=None, ge=1)
    """How often an engine or a tool fails before it works; none given: always."""
    message: str | None = None
    retry_after_s: float | None = Field(default=None, ge=0)

    async def happen(self, engine: str) -> None:
        """Raise the error, or never come back."""
        if self.kind == "stall":
            await anyio.sleep_forever()
        raise self._error(engine)

    def _error(self, engine: str) -> CozyError:
        if self.kind == "ToolError":
            return ToolError(self.message or "the script lets it fail")
        if self.kind == "cut":
            return EngineUnavailable(engine, self.message or "broke off in the middle of the answer")
        message = self.message or f"the script lets it fail with {self.kind}"
        return ENGINE_ERRORS[self.kind](engine, message, retry_after_s=self.retry_after_s)


def _not_a_tools(fault: Fault) -> Fault:
    if fault.kind == "ToolError":
        raise ValueError("only tools fail with ToolError")
    return fault


EngineFault = Annotated[Fault, AfterValidator(_not_a_tools)]


class Gates:
    """Points at which something waits for the test, by name."""

    def __init__(self) -> None:
        self._reached: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
        self._open: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)

    async def reached(self, name: str) -> None:
        """Wait until somebody stands before the gate."""
        await self._reached[name].wait()

    def open(self, name: str) -> None:
        """Let through who stands there, and who comes later."""
        self._open[name].set()

    async def pass_through(self, name: str) -> None:
        self._reached[name].set()
        await self._open[name].wait()


class ScriptedCall(Part):
    """A call of a tool."""

    name: str
    arguments: JsonPieces = ("{}",)
    """JSON, as text or as a mapping; a list of texts says it in several pieces."""
    id: str | None = None
    """None given: `call_1`, `call_2` … over the whole script."""


class ScriptedUsage(Part):
    """What the answer costs, in tokens."""

    prompt: int = Field(default=0, ge=0)
    completion: int = Field(default=0, ge=0)
    cached: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)

    def value(self) -> Usage:
        return Usage(self.prompt, self.completion, self.cached, self.reasoning)


class Reply(Part):
    """One answer of a model: reasoning, then words, then calls; each list entry is one piece."""

    model: str | None = None
    """Only requests to this model (`provider/name`) take it."""
    contains: str | None = None
    """Only requests whose last message holds this text take it."""
    reasoning: Pieces = ()
    text: Pieces = ()
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish_reason: FinishReason | None = None
    """None given: `tool_calls` where there are calls, else `stop`."""
    usage: ScriptedUsage | None = None
    answers_as: str | None = None
    """The model that answered, by the server's word; none given: the one that was asked."""
    first_delay_ms: Milliseconds = 0
    """Before the first piece."""
    delay_ms: Milliseconds = 0
    """Before each piece."""
    pause: str | None = None
    """A gate at which the answer waits until the test opens it."""
    pause_after: int = Field(default=0, ge=0)
    """How many pieces come before the gate."""
    fault: EngineFault | None = None
    times: int = Field(default=1, ge=1)
    """How many requests it answers."""

    def fits(self, request: LLMRequest) -> bool:
        last = request.messages[-1].content if request.messages else ""
        return self.model in (None, request.model) and (self.contains is None or self.contains in last)


@dataclass(slots=True, eq=False)
class Heard:
    """A request that came, and what became of its answer."""

    request: LLMRequest
    reply: Reply
    pieces: int = 0
    """How many were given."""
    ended: Literal["running", "whole", "failed", "left"] = "running"
    """`left`: the reader went away before the end."""


@dataclass(slots=True, eq=False)
class _Take:
    """A reply of the script, and how often it is still good."""

    reply: Reply
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.reply.times


class ScriptedLLM(Gates):
    """Fills `LLM`.

    `ScriptedLLM("Hi", " there")` says these two pieces, once; a whole script goes into `replies`. A request
    without a reply raises ScriptError; `finish` does for replies without a request.
    """

    def __init__(
        self,
        *words: str,
        replies: Iterable[Reply | Mapping[str, Any]] = (),
        context_tokens: int = 32_768,
        cards: Mapping[str, ModelCard] | None = None,
    ) -> None:
        super().__init__()
        script = [Reply(text=words)] if words else []
        script += [r if isinstance(r, Reply) else Reply.model_validate(r) for r in replies]
        self._takes = [_Take(reply) for reply in script]
        self._context_tokens = context_tokens
        self._cards = dict(cards or {})
        self._calls = 0
        self._missing: list[str] = []
        self.heard: list[Heard] = []
        """Every request that got a reply, in order."""

    @property
    def requests(self) -> list[LLMRequest]:
        return [heard.request for heard in self.heard]

    def card(self, model: str) -> ModelCard:
        return self._cards.get(model) or ModelCard(model, self._context_tokens)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncGenerator[AsyncIterator[Chunk]]:
        heard = Heard(request, self._reply(request))
        self.heard.append(heard)
        try:
            async with aclosing(self._chunks(heard)) as chunks:
                yield chunks
        finally:
            if heard.ended == "running":
                heard.ended = "left"

    def finish(self) -> None:
        """Raise ScriptError if requests had no reply, or replies had no request."""
        unused = [_described(take.reply) for take in self._takes if take.left == take.reply.times]
        short = [_described(take.reply) for take in self._takes if 0 < take.left < take.reply.times]
        wrong = [
            *self._missing,
            *(f"no request took the reply {reply}" for reply in unused),
            *(f"too few requests took the reply {reply}" for reply in short),
        ]
        if wrong:
            raise ScriptError("\n".join(wrong))

    def _reply(self, request: LLMRequest) -> Reply:
        for take in self._takes:
            if take.left and take.reply.fits(request):
                take.left -= 1
                return take.reply
        last = request.messages[-1] if request.messages else None
        words = f", which ends in {last.role}: {_short(last.content)}" if last else ""
        missing = f"the script has no reply for request {len(self.heard) + 1} to `{request.model}`{words}"
        self._missing.append(missing)
        left = [_described(take.reply) for take in self._takes if take.left]
        raise ScriptError(missing + (f"; unused: {', '.join(left)}" if left else "; all replies are used"))

    async def _chunks(self, heard: Heard) -> AsyncGenerator[Chunk]:
        reply, engine = heard.reply, heard.request.model.partition("/")[0]
        pieces = list(self._said(reply))
        await _wait(reply.first_delay_ms)
        for place in range(len(pieces) + 1):
            if reply.pause is not None and reply.pause_after == place:
                await self.pass_through(reply.pause)
            if reply.fault is not None and place == min(reply.fault.after, len(pieces)):
                heard.ended = "running" if reply.fault.kind == "stall" else "failed"
                await reply.fault.happen(engine)
            if place < len(pieces):
                await _wait(reply.delay_ms)
                heard.pieces += 1
                yield pieces[place]
        reason = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
        usage = reply.usage.value() if reply.usage else None
        heard.ended = "whole"
        yield FinishChunk(reason, usage, reply.answers_as or heard.request.model.partition("/")[2])

    def _said(self, reply: Reply) -> Iterator[Chunk]:
        yield from map(ReasoningChunk, reply.reasoning)
        yield from map(TextChunk, reply.text)
        for index, call in enumerate(reply.tool_calls):
            self._calls += 1
            first, *rest = call.arguments or ("",)
            yield ToolCallChunk(index, call.id or f"call_{self._calls}", call.name, first)
            yield from (ToolCallChunk(index, arguments=piece) for piece in rest)


async def _wait(milliseconds: float) -> None:
    if milliseconds:
        await anyio.sleep(milliseconds / 1000)
    else:
        await anyio.lowlevel.checkpoint()  # a script that never waits can still be cancelled


def _described(reply: Reply) -> str:
    if reply.text:
        said = _short("".join(reply.text))
    elif reply.tool_calls:
        said = ", ".join(f"{call.name}(…)" for call in reply.tool_calls)
    else:
        said = reply.fault.kind if reply.fault else "without words"
    wanted = [f"to `{reply.model}`"] if reply.model else []
    wanted += [f"asked {_short(reply.contains)}"] if reply.contains else []
    return " ".join([said, *wanted])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= 60 else line[:59] + '…'}”"
