"""What models and engines gave during a turn, so that a fixture can be made of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from cozy.adapters.scripted import ENGINE_ERRORS, Fault, Reply, ScriptedCall, ScriptedUsage
from cozy.errors import EngineError, EngineTimeout
from cozy.ports import Ports
from cozy.ports.context import Context, Found, Question
from cozy.ports.knowledge import Passage
from cozy.ports.llm import (
    LLM,
    Chunk,
    FinishChunk,
    LLMRequest,
    ModelCard,
    ReasoningChunk,
    TextChunk,
    ToolCallChunk,
)
from cozy.ports.memory import MemoryItem
from cozy.ports.profile import ProfileFact
from cozy.usage import Usage

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


@dataclass(slots=True)
class Given:
    """What an engine gave, and how it failed where it did."""

    asked: bool = False
    passages: list[Passage] = field(default_factory=list[Passage])
    facts: list[ProfileFact] = field(default_factory=list[ProfileFact])
    items: list[MemoryItem] = field(default_factory=list[MemoryItem])
    fault: Fault | None = None

    @contextmanager
    def asking(self) -> Generator[None]:
        self.asked = True
        try:
            yield
        except BaseException:  # cancelled: its time was over
            self.fault = Fault(kind="stall")
            raise

    def taken(self, found: Found[T]) -> Sequence[T]:
        """What a question brought; how it failed is kept."""
        if isinstance(found.error, EngineTimeout):
            self.fault = Fault(kind="stall")
        elif found.error is not None:
            self.fault = fault_of(found.error)
        return found.items


def fault_of(error: EngineError) -> Fault:
    """How a script lets the same happen."""
    name = type(error).__name__
    kind = name if name in ENGINE_ERRORS else "EngineUnavailable"
    return given(Fault, kind=kind, message=error.message)


def given(kind: type[M], /, **fields: Any) -> M:
    """A model with those of the fields that say something: only they are written to a file."""
    return kind.model_validate({k: v for k, v in fields.items() if v not in (None, "", (), 0)})


def _usage(usage: Usage) -> ScriptedUsage:
    return given(
        ScriptedUsage,
        prompt=usage.prompt_tokens,
        completion=usage.completion_tokens,
        cached=usage.cached_tokens,
        reasoning=usage.reasoning_tokens,
    )


@dataclass(slots=True)
class Answer:
    """One request to a model, and what came of it."""

    request: LLMRequest
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    fault: Fault | None = None

    @property
    def text(self) -> str:
        return "".join(c.text for c in self.chunks if isinstance(c, TextChunk))

    def reply(self, model: str | None) -> Reply:
        """The same as an entry of a script, each kind of words in one piece; for `model` only, if given."""
        reasoning = "".join(c.text for c in self.chunks if isinstance(c, ReasoningChunk))
        calls = self._calls()
        finish = next((c for c in self.chunks if isinstance(c, FinishChunk)), None)
        pieces = bool(reasoning) + bool(self.text) + len(calls)
        usual = "tool_calls" if calls else "stop"
        return given(
            Reply,
            model=model,
            reasoning=(reasoning,) if reasoning else (),
            text=(self.text,) if self.text else (),
            tool_calls=calls,
            finish_reason=finish.reason if finish and finish.reason != usual else None,
            usage=_usage(finish.usage) if finish and finish.usage else None,
            fault=self.fault.model_copy(update={"after": pieces}) if self.fault else None,
        )

    def _calls(self) -> tuple[ScriptedCall, ...]:
        found: dict[int, tuple[str, str, str]] = {}
        for chunk in self.chunks:
            if isinstance(chunk, ToolCallChunk):
                id_, name, arguments = found.get(chunk.index, ("", "", ""))
                found[chunk.index] = (id_ or chunk.id, name or chunk.name, arguments + chunk.arguments)
        return tuple(
            given(ScriptedCall, id=id_, name=name, arguments=(arguments,) if arguments else ())
            for _, (id_, name, arguments) in sorted(found.items())
        )


class Recorder:
    """Stands between an engine and its ports, and keeps what they gave during the last turn."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget the turn before."""
        self.answers: list[Answer] = []
        self.knowledge, self.profile, self.memory = Given(), Given(), Given()

    def over(self, ports: Ports) -> Ports:
        """The same ports, listened to."""
        return replace(
            ports,
            llm=_HeardLLM(ports.llm, self),
            context=_HeardContext(ports.context, self),
        )


@dataclass(frozen=True, slots=True)
class _HeardLLM:
    inner: LLM
    recorder: Recorder

    def card(self, model: str) -> ModelCard:
        return self.inner.card(model)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncGenerator[AsyncIterator[Chunk]]:
        answer = Answer(request)
        self.recorder.answers.append(answer)
        try:
            async with self.inner.stream(request) as chunks, aclosing(_kept(chunks, answer)) as kept:
                yield kept
        except EngineError as error:
            answer.fault = fault_of(error)
            raise
        finally:
            if answer.fault is None and not any(isinstance(c, FinishChunk) for c in answer.chunks):
                answer.fault = Fault(kind="stall")  # it was stopped: there it would have gone on


async def _kept(chunks: AsyncIterator[Chunk], answer: Answer) -> AsyncGenerator[Chunk]:
    async for chunk in chunks:
        answer.chunks.append(chunk)
        yield chunk


@dataclass(frozen=True, slots=True)
class _HeardContext:
    inner: Context
    recorder: Recorder

    @property
    def timeout_s(self) -> float:
        return self.inner.timeout_s

    async def knowledge(self, question: Question) -> Found[Passage]:
        given = self.recorder.knowledge
        with given.asking():
            found = await self.inner.knowledge(question)
        given.passages += given.taken(found)
        return found

    async def profile(self, question: Question) -> Found[ProfileFact]:
        given = self.recorder.profile
        with given.asking():
            found = await self.inner.profile(question)
        given.facts += given.taken(found)
        return found

    async def memory(self, question: Question) -> Found[MemoryItem]:
        given = self.recorder.memory
        with given.asking():
            found = await self.inner.memory(question)
        given.items += given.taken(found)
        return found
