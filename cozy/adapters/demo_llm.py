"""The demo model: an honest stand-in that needs no key and no network.

It says that it is one and how to connect a real model, streams, calls tools, and uses what memory, profile
and knowledge bring. The same request has the same answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio
import anyio.lowlevel

from cozy.adapters.demo_replies import Reply, reply_to
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, ModelCard, TextChunk, ToolCallChunk
from cozy.usage import Usage

CONTEXT_TOKENS = 32_768

_HAN = "\u3000-\u303f\u3400-\u9fff\uff00-\uffef“”‘’…—"
# Chinese by two characters, everything else by the word with the space before it
_PIECE = re.compile(rf"[{_HAN}]{{1,2}}|\s*[^\s{_HAN}]+|\s+")
_TOKEN = re.compile(rf"[{_HAN}]|\w+|[^\w\s]")


class DemoLLM:
    """Fills `LLM`. `delay_s` is waited before each piece of an answer."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s

    def card(self, model: str) -> ModelCard:
        return ModelCard(model, CONTEXT_TOKENS)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncGenerator[AsyncIterator[Chunk]]:
        async with aclosing(self._chunks(request)) as chunks:
            yield chunks

    async def _chunks(self, request: LLMRequest) -> AsyncGenerator[Chunk]:
        reply = reply_to(request)
        words, cut = _bounded(reply.text, request)
        for piece in words:
            # a loop that never waits could not be cancelled
            await (anyio.sleep(self._delay_s) if self._delay_s else anyio.lowlevel.checkpoint())
            yield TextChunk(piece)
        for index, call in enumerate(reply.calls):
            await anyio.lowlevel.checkpoint()
            yield ToolCallChunk(index, call.id, call.name)
            yield ToolCallChunk(index, arguments=call.arguments)
        reason = "tool_calls" if reply.calls else "length" if cut else "stop"
        yield FinishChunk(reason, _usage(request, reply, words), "demo")


def _bounded(text: str, request: LLMRequest) -> tuple[list[str], bool]:
    """The pieces up to the first stop text and within `max_tokens`, and whether that limit cut them."""
    for stop in filter(None, request.sampling.stop):
        text = text.partition(stop)[0]
    pieces = _PIECE.findall(text)
    limit = request.sampling.max_tokens
    if limit is None:
        return pieces, False
    tokens = 0
    for i, piece in enumerate(pieces):
        tokens += tokens_in(piece)
        if tokens > limit:
            return pieces[:i], True
    return pieces, False


def _usage(request: LLMRequest, reply: Reply, words: list[str]) -> Usage:
    prompt = sum(tokens_in(m.content) + 3 for m in request.messages)
    calls = sum(tokens_in(call.name) + tokens_in(call.arguments) for call in reply.calls)
    return Usage(prompt, sum(map(tokens_in, words)) + calls)


def tokens_in(text: str) -> int:
    """A simple count: characters of Chinese, words and signs of the rest."""
    return len(_TOKEN.findall(text))
