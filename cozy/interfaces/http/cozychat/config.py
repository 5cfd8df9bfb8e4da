"""What a voice call between a browser and a realtime server needs of this one."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field
from starlette.requests import Request

from cozy.errors import EngineError, EngineUnavailable, NotImplementedYet
from cozy.interfaces.http.cozychat.routes import Given, route
from cozy.interfaces.http.endpoint import Call

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class OpenAIConfig(Given):
    api_key: Literal[""] = ""
    """Always empty: the provider's key stays here."""
    base_url: str
    """This server's own, up to and including `/v1`."""


class Transcription(Given):
    model: str = "whisper-1"


class Transport(Given):
    type: Literal["websocket", "webrtc"] = "websocket"
    """`websocket`: the browser talks to OpenAI's server, whatever address it is told."""


class AudioBuffer(Given):
    min_size: float = 3.0
    max_size: float = 5.0


class Socket(Given):
    """In seconds, and in how many tries."""

    ping_interval: int = 30
    ping_timeout: int = 10
    reconnect_interval: int = 5
    max_reconnect_attempts: int = 5
    audio_buffer: AudioBuffer = AudioBuffer()


class RealtimeConfig(Given):
    voice: str = "shimmer"
    model: str = "gpt-realtime"
    temperature: float = 0.8
    max_response_output_tokens: int = 4096
    input_audio_transcription: Transcription = Transcription()
    transport: Transport = Transport()
    websocket: Socket = Socket()


class TokenGiven(Given):
    token: str = Field(repr=False)
    """Begins with `ek_`; good for a minute or so."""
    url: str
    model: str


@route("GET", "/v1/config/openai-config", access="chat", gives=OpenAIConfig)
async def openai_config(call: Call[None, None]) -> OpenAIConfig:
    """Tell under which address this server speaks OpenAI's API."""
    return OpenAIConfig(base_url=f"{_own_address(call.request)}/v1")


@route("GET", "/v1/config/realtime-config", access="chat", gives=RealtimeConfig)
async def realtime_config(_call: Call[None, None]) -> RealtimeConfig:
    """Give the settings of a voice call, where its personality has none of its own."""
    return RealtimeConfig()


@route("POST", "/v1/config/realtime-token", access="chat", gives=TokenGiven, errors=(501, 502))
async def realtime_token(call: Call[None, None]) -> TokenGiven:
    """Lend a token with which a browser calls the realtime server by itself."""
    if call.service.realtime is None:
        raise NotImplementedYet("voice calls without an OpenAI key")
    try:
        lent = await call.service.realtime.token()
    except EngineError as error:
        # the client takes every status below 500 for success, a 429 of the upstream's too
        raise EngineUnavailable(error.engine, "lent no token for a voice call", hint=error.hint) from error
    return TokenGiven(token=lent.value, url=lent.url, model=lent.model)


def _own_address(request: Request) -> str:
    """How the client has reached this server, by what proxies say; told to that client alone."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", request.url.scheme).partition(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "")).partition(",")[0].strip()
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/") or request.scope.get("root_path", "")
    if scheme not in ("http", "https"):
        scheme = request.url.scheme
    if not _HOST.fullmatch(host):
        host = "{}:{}".format(*(request.scope.get("server") or ("127.0.0.1", 80)))
    return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"


ENDPOINTS = (openai_config, realtime_config, realtime_token)
