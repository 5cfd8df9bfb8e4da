"""Tokens for OpenAI's realtime server, made with the installation's own key, which no browser sees.

Source: OpenAI's API reference, `POST /v1/realtime/client_secrets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlsplit

import anyio

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_clients import OpenAIClients, outside_errors
from cozy.adapters.openai_errors import status_error, transport_error
from cozy.errors import EngineTimeout, EngineUnavailable
from cozy.ports.realtime import RealtimeToken

REALTIME_MODEL = "gpt-realtime"
TRANSCRIBER = "whisper-1"
"""Writes down what the user says, so that the call can be read afterwards."""
WITHIN_S = 15.0


@dataclass(frozen=True, slots=True)
class OpenAIRealtime:
    """Fills RealtimeTokens."""

    server: OpenAIServer
    clients: OpenAIClients
    model: str = REALTIME_MODEL
    within_s: float = WITHIN_S

    async def token(self) -> RealtimeToken:
        with anyio.move_on_after(self.within_s):
            return RealtimeToken(_value_in(await self._ask(), self.server), self.model, self._url)
        raise EngineTimeout(self.server.name, f"lent no token within {self.within_s:g} s")

    async def _ask(self) -> object:
        import openai

        transcription = {"transcription": {"model": TRANSCRIBER}}
        session = {"type": "realtime", "model": self.model, "audio": {"input": transcription}}
        client = await self.clients.client(self.server)
        try:
            return await client.post("/realtime/client_secrets", body={"session": session}, cast_to=object)
        except openai.APIStatusError as error:
            raise status_error(
                self.server, self.model, error.status_code, error.body, error.response.headers
            ) from error
        except (*outside_errors(), ValueError) as error:  # ValueError: an answer that is no JSON
            raise transport_error(self.server, error, spoken=False) from error

    @property
    def _url(self) -> str:
        """Where a browser opens its WebSocket: the key's own server, without what the key's owner adds."""
        parts = urlsplit(self.server.shown_url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return f"{scheme}://{parts.netloc}{parts.path}/realtime?model={quote(self.model)}"


def _value_in(answer: object, server: OpenAIServer) -> str:
    """The token. Raises EngineUnavailable for an answer that holds none a browser could use."""
    fields = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    value = fields.get("value")
    if not isinstance(value, str) or not value.startswith("ek_"):
        raise EngineUnavailable(server.name, "answered without a token for a voice call")
    return value
