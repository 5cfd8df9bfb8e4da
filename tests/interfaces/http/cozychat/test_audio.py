"""Rows 16, 17 and 23: speech, which comes later, is refused in words that the client shows."""

from __future__ import annotations

import httpx2
import pytest

RECORDING = {"file": ("recording.wav", b"RIFF" + b"\0" * 300_000, "audio/wav")}
SPEECH = ["/v1/audio/speech", "/v1/audio/speech/stream", "/v1/audio/tts", "/v1/audio/tts/stream"]


def is_refused(response: httpx2.Response) -> None:
    body = response.json()
    assert response.status_code == 501
    assert body["error"]["code"] == "RESOURCE_NOT_IMPLEMENTED"
    assert isinstance(body["detail"], str)
    assert body["detail"] == body["message"]


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/stt"])
async def test_a_recording_is_refused(ann: httpx2.AsyncClient, path: str) -> None:
    form = {"language": "zh-CN", "personality_id": "default"}
    is_refused(await ann.post(path, files=RECORDING, data=form))


@pytest.mark.parametrize("path", SPEECH)
async def test_a_text_is_not_spoken(ann: httpx2.AsyncClient, path: str) -> None:
    is_refused(await ann.post(path, json={"input": "hi", "model": "tts-1", "speed": 1}))


@pytest.mark.parametrize("path", ["/v1/realtime/calls", "/v1/realtime/webrtc/session"])
async def test_a_call_with_a_lent_token_is_refused(nobody: httpx2.AsyncClient, path: str) -> None:
    headers = {"authorization": "Bearer ek_1", "content-type": "application/sdp"}
    is_refused(await nobody.post(path, content=b"v=0", headers=headers))


async def test_the_connection_is_good_for_the_next_request(ann: httpx2.AsyncClient) -> None:
    for _ in range(3):
        is_refused(await ann.post("/v1/audio/transcriptions", files=RECORDING))
        assert (await ann.get("/v1/users/me")).status_code == 200


async def test_a_stranger_is_refused_first(nobody: httpx2.AsyncClient) -> None:
    response = await nobody.post("/v1/audio/speech", json={"input": "hi"})
    assert response.status_code == 401
    assert isinstance(response.json()["detail"], str)
