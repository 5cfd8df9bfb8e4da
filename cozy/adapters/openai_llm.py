"""Models behind any server that speaks OpenAI's API: OpenAI, Azure, Ollama, vLLM, LM Studio, DeepSeek …

The SDK makes the request and names the errors; the answer is read raw, which costs an eighth of what the
SDK's objects do and keeps what they would hide: fields they do not know, and answers that are none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

import anyio

from cozy.adapters.model_cards import card_of
from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_answer import CompletionReader
from cozy.adapters.openai_clients import OpenAIClients, outside_errors
from cozy.adapters.openai_errors import status_error, transport_error
from cozy.adapters.openai_request import WireRequest, wire_request
from cozy.errors import EngineError
from cozy.ports.llm import Chunk, LLMRequest, ModelCard

AFTER_FINISH_S = 2.0
"""How long a whole answer waits for its usage and for the end of the stream."""
AFTER_DONE_S = 0.1
"""How long the end of the body is waited for, so that the connection can be used again."""


class OpenAILLM:
    """The models of one server."""

    def __init__(self, server: OpenAIServer, clients: OpenAIClients) -> None:
        self._server = server
        self._clients = clients

    def card(self, model: str) -> ModelCard:
        return card_of(self._server, model)

    async def prepare(self) -> None:
        """Load what the first request would load, which takes about a second. Raises EngineInitError."""
        await self._clients.client(self._server)

    @asynccontextmanager
    async def stream(self, request: LLMRequest) -> AsyncGenerator[AsyncIterator[Chunk]]:
        """The answer, piece by piece; leaving early closes the connection, which stops the model."""
        client = await self._clients.client(self._server)
        sent = wire_request(self._server, request)
        # everything in `extra_body`: the SDK walks its own parameters through their type annotations, which
        # takes 3 ms of CPU for 20 messages and changes nothing
        opening = client.chat.completions.with_streaming_response.create(
            model=sent.model, messages=(), stream=True, extra_body=sent.body
        )
        try:
            response = await opening.__aenter__()
        except outside_errors() as error:
            raise self._failure(sent, error, spoken=False) from error
        reader = CompletionReader(self._server, sent)
        source = response.iter_bytes()
        try:
            async with aclosing(self._chunks(source, sent, reader, response.headers)) as chunks:
                yield chunks
            if reader.done:
                with anyio.move_on_after(AFTER_DONE_S):
                    await _read_out(source)
        finally:
            with anyio.CancelScope(shield=True):
                await response.close()

    async def _chunks(
        self,
        source: AsyncIterator[bytes],
        sent: WireRequest,
        reader: CompletionReader,
        headers: Mapping[str, str],
    ) -> AsyncGenerator[Chunk]:
        try:
            while not reader.done:
                if reader.finished:
                    data = b""
                    with anyio.move_on_after(AFTER_FINISH_S):
                        data = await anext(source, b"")
                else:
                    data = await anext(source, b"")
                if not data:
                    break
                for chunk in reader.feed(data):
                    yield chunk
        except outside_errors() as error:
            if not reader.finished:
                raise self._failure(sent, error, spoken=reader.spoken) from error
        for chunk in reader.end(headers):
            yield chunk

    def _failure(self, sent: WireRequest, error: Exception, *, spoken: bool) -> EngineError:
        import openai

        if isinstance(error, openai.APIStatusError):
            return status_error(
                self._server, sent.model, error.status_code, error.body, error.response.headers
            )
        return transport_error(self._server, error, spoken=spoken)


async def _read_out(source: AsyncIterator[bytes]) -> None:
    try:
        async for _ in source:
            pass
    except outside_errors():
        return
