"""Exchanges to learn from, and a model that gives the answers it was made with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from cozy.errors import EngineError
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, ModelCard, ReasoningChunk, TextChunk
from cozy.ports.memory import Exchange
from cozy.turn import Message, TurnId, UserId


def exchange(
    user_id: UserId, *said: str, model: str = "demo/demo", turn_id: TurnId | None = None
) -> Exchange:
    """One turn's messages: the user's words first, then in turns."""
    messages = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(said))
    return Exchange(turn_id or TurnId(uuid4()), user_id, None, "default", model, messages)


class AnsweringLLM:
    """Fills the LLM port: one answer after the other, in small pieces; an error is raised in its turn."""

    def __init__(self, *answers: str | EngineError) -> None:
        self._answers = list(answers)
        self.requests: list[LLMRequest] = []
        self.stopped_early = 0

    def card(self, model: str) -> ModelCard:
        return ModelCard(model, context_tokens=8000)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncGenerator[AsyncIterator[Chunk]]:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, EngineError):
            raise answer
        chunks = self._chunks(answer)
        try:
            yield chunks
        finally:
            await chunks.aclose()

    async def _chunks(self, answer: str) -> AsyncGenerator[Chunk]:
        whole = False
        try:
            yield ReasoningChunk('["The user thinks aloud"]')
            for at in range(0, len(answer), 1000):
                yield TextChunk(answer[at : at + 1000])
            yield FinishChunk("stop")
            whole = True
        finally:
            self.stopped_early += not whole
