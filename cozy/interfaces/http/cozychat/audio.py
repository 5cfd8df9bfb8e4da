"""Speech over HTTP: the routes are there, what is behind them comes with a later version."""

from __future__ import annotations

from cozy.errors import NotImplementedYet
from cozy.interfaces.http.cozychat.routes import also, route
from cozy.interfaces.http.endpoint import Call


@route("POST", "/v1/audio/transcriptions", access="chat", errors=(501,))
async def transcribe(_call: Call[None, None]) -> None:
    """Write down what is said in a recording: not in this version."""
    raise NotImplementedYet("speech recognition")


@route("POST", "/v1/audio/speech", access="chat", errors=(501,))
async def speak(_call: Call[None, None]) -> None:
    """Say a text aloud: not in this version."""
    raise NotImplementedYet("speech")


@route("POST", "/v1/realtime/calls", access="anyone", errors=(501,))
async def realtime(_call: Call[None, None]) -> None:
    """Begin a voice call over WebRTC: not in this version. A caller shows a lent token, not one of ours."""
    raise NotImplementedYet("voice calls through this server")


ENDPOINTS = (
    transcribe,
    speak,
    also(transcribe, "/v1/audio/stt"),
    also(speak, "/v1/audio/tts"),
    also(speak, "/v1/audio/speech/stream"),
    also(speak, "/v1/audio/tts/stream"),
    realtime,
    also(realtime, "/v1/realtime/webrtc/session"),
)
