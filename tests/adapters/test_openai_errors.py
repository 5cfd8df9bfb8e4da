"""Answers that are errors, and connections that break → EngineError."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_errors import (
    LONGEST_WAIT_S,
    MAX_SHOWN_CHARS,
    retry_after_s,
    status_error,
    transport_error,
)
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
)

OPENAI = OpenAIServer("openai", "https://api.openai.com/v1", "sk-very-secret")
KEYLESS = OpenAIServer("openai", "https://api.openai.com/v1")
OLLAMA = OpenAIServer("ollama", "http://127.0.0.1:11434/v1")


def openai_error(message: str, **fields: Any) -> dict[str, Any]:
    return {"message": message, **fields}


@pytest.mark.parametrize(
    ("server", "status", "body", "kind", "message", "hint"),
    [
        pytest.param(
            OPENAI,
            401,
            openai_error("Incorrect API key provided: sk-very-secret", code="invalid_api_key"),
            EngineAuthError,
            "openai: https://api.openai.com/v1 refused the API key: Incorrect API key provided: …",
            "set OPENAI_API_KEY to a valid key",
            id="wrong key",
        ),
        pytest.param(
            KEYLESS,
            401,
            None,
            EngineAuthError,
            "openai: https://api.openai.com/v1 wants an API key, and none is set",
            "set OPENAI_API_KEY",
            id="no key",
        ),
        pytest.param(
            OPENAI,
            403,
            openai_error("Project has no access"),
            EngineAuthError,
            "openai: https://api.openai.com/v1 does not let this key use `m`: Project has no access",
            "check the rights of the key in OPENAI_API_KEY, or choose another model",
            id="no right",
        ),
        pytest.param(
            OPENAI,
            402,
            openai_error("Insufficient Balance"),
            EngineAuthError,
            "openai: the account has no credit left: Insufficient Balance",
            "add credit at https://api.openai.com/v1, or choose another model",
            id="no credit",
        ),
        pytest.param(
            OPENAI,
            429,
            openai_error("You exceeded your current quota", code="insufficient_quota"),
            EngineAuthError,
            "openai: the account has no credit left: You exceeded your current quota",
            "add credit at https://api.openai.com/v1, or choose another model",
            id="no credit, said as too many requests",
        ),
        pytest.param(
            OPENAI,
            404,
            openai_error("The model `m` does not exist", code="model_not_found"),
            EngineInvalidRequest,
            "openai: https://api.openai.com/v1 has no model `m`: The model `m` does not exist",
            "check the model's name; https://api.openai.com/v1/models lists those of the server",
            id="no such model",
        ),
        pytest.param(
            OLLAMA,
            404,
            openai_error("model 'm' not found", type="not_found_error"),
            EngineInvalidRequest,
            "ollama: http://127.0.0.1:11434/v1 has no model `m`: model 'm' not found",
            "fetch it with `ollama pull m`",
            id="a model that Ollama has not fetched",
        ),
        pytest.param(
            OLLAMA,
            404,
            "404 page not found",
            EngineInvalidRequest,
            "ollama: there are no chat completions at http://127.0.0.1:11434/v1: 404 page not found",
            "check `base_url` of the provider `ollama`: most servers want it to end in `/v1`",
            id="a wrong path",
        ),
        pytest.param(
            OPENAI,
            400,
            openai_error("maximum context length is 8192 tokens", code="context_length_exceeded"),
            EngineInvalidRequest,
            "openai: the prompt is longer than `m` reads: maximum context length is 8192 tokens",
            "set `context_tokens` of `openai/m` to what the server gives it",
            id="too long",
        ),
        pytest.param(
            OPENAI,
            400,
            openai_error("Unsupported value: 'temperature'", param="temperature"),
            EngineInvalidRequest,
            "openai: https://api.openai.com/v1 refused the request for `m` (400): "
            "Unsupported value: 'temperature'",
            None,
            id="refused",
        ),
        pytest.param(
            OPENAI,
            422,
            {
                "object": "error",
                "message": {
                    "detail": [
                        {
                            "type": "extra_forbidden",
                            "loc": ["body", "user"],
                            "msg": "Extra inputs are not permitted",
                        }
                    ]
                },
            },
            EngineInvalidRequest,
            "openai: https://api.openai.com/v1 refused the request for `m` (422): "
            "body.user: Extra inputs are not permitted",
            None,
            id="Mistral's and FastAPI's form",
        ),
        pytest.param(
            OPENAI,
            429,
            openai_error("Rate limit reached"),
            EngineRateLimited,
            "openai: https://api.openai.com/v1 asks us to slow down, for 2 s: Rate limit reached",
            "wait, or name `fallbacks` for the model",
            id="too fast",
        ),
        pytest.param(
            OPENAI,
            408,
            None,
            EngineTimeout,
            "openai: https://api.openai.com/v1 gave up on the request (408)",
            None,
            id="the server's own timeout",
        ),
        pytest.param(
            OPENAI,
            502,
            "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            EngineUnavailable,
            "openai: https://api.openai.com/v1 failed (502): 502 Bad Gateway",
            None,
            id="a gateway's page",
        ),
        pytest.param(
            OPENAI,
            503,
            {"detail": "模型正在加载"},
            EngineUnavailable,
            "openai: https://api.openai.com/v1 failed (503): 模型正在加载",
            None,
            id="Chinese",
        ),
    ],
)
def test_an_error_answer_says_whose_it_is_and_what_to_do(
    server: OpenAIServer, status: int, body: Any, kind: type[EngineError], message: str, hint: str | None
) -> None:
    error = status_error(server, "m", status, body, {"retry-after": "2"} if status == 429 else {})
    assert type(error) is kind
    assert error.message == message
    assert error.hint == hint
    assert error.engine == server.name
    assert error.details["status"] == status


def test_the_details_hold_what_the_server_calls_it() -> None:
    body = openai_error("x", code="c", type="t", param="p")
    error = status_error(OPENAI, "m", 400, body, {"x-request-id": "req_1"})
    assert dict(error.details) == {
        "status": 400,
        "code": "c",
        "type": "t",
        "param": "p",
        "model": "m",
        "request_id": "req_1",
        "complaint": "x",
    }


def test_a_long_complaint_is_cut() -> None:
    error = status_error(OPENAI, "m", 500, openai_error("很 " * 1000), {})
    assert len(error.message) < MAX_SHOWN_CHARS + 100
    assert error.message.endswith("…")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "3", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "9" * 400}, LONGEST_WAIT_S),
        ({"retry-after": "Fri, 01 Jan 9999 00:00:00 GMT"}, LONGEST_WAIT_S),
        ({"retry-after": "soon"}, None),
        ({"retry-after": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}, None),
        ({"retry-after": f"Mon, 01 Jan 2026 00:00:00 +{'9' * 20}"}, None),
        ({}, None),
    ],
    ids=[
        "seconds",
        "a fraction",
        "milliseconds",
        "a date that is past",
        "more seconds than there are",
        "a date nobody will see",
        "nonsense",
        "a year that is none",
        "a zone that is none",
        "nothing",
    ],
)
def test_how_long_to_wait_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_a_date_to_wait_for_lies_in_the_future() -> None:
    seconds = retry_after_s({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"})
    assert seconds is not None
    assert seconds > 3600


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


class ConnectTimeout(Exception):
    """As the transports call it."""


@pytest.mark.parametrize(
    ("error", "spoken", "kind", "message", "hint"),
    [
        pytest.param(
            caused(OSError(), socket.gaierror(-2, "Name or service not known")),
            False,
            EngineUnavailable,
            "ollama: the host `127.0.0.1` is not known",
            "check `base_url` of the provider `ollama`, and the network",
            id="DNS",
        ),
        pytest.param(
            caused(OSError(), ssl.SSLCertVerificationError("self-signed certificate")),
            False,
            EngineUnavailable,
            "ollama: no safe connection to `127.0.0.1`: ('self-signed certificate',)",
            "a server without TLS wants `http://`; one with a certificate of your own "
            "wants it in the system's store",
            id="TLS",
        ),
        pytest.param(
            caused(OSError(), ExceptionGroup("all", [ConnectionRefusedError()])),
            False,
            EngineUnavailable,
            "ollama: nothing listens at http://127.0.0.1:11434/v1",
            "is Ollama running at http://127.0.0.1:11434/v1? start it with `ollama serve`",
            id="refused",
        ),
        pytest.param(
            caused(ConnectTimeout(), TimeoutError()),
            False,
            EngineTimeout,
            "ollama: no connection to http://127.0.0.1:11434/v1 within 5 s",
            "is it reachable from here?",
            id="connect timeout",
        ),
        pytest.param(
            caused(OSError(), TimeoutError()),
            True,
            EngineTimeout,
            "ollama: http://127.0.0.1:11434/v1 was silent for 60 s",
            None,
            id="read timeout",
        ),
        pytest.param(
            ConnectTimeout("Server disconnected"),
            False,
            EngineUnavailable,
            "ollama: the connection to http://127.0.0.1:11434/v1 broke: Server disconnected",
            None,
            id="a broken connection that is called a timeout",
        ),
        pytest.param(
            OSError("reset"),
            True,
            EngineUnavailable,
            "ollama: http://127.0.0.1:11434/v1 broke off in the middle of the answer",
            None,
            id="cut",
        ),
    ],
)
def test_a_broken_connection_says_what_broke(
    error: Exception, spoken: bool, kind: type[EngineError], message: str, hint: str | None
) -> None:
    made = transport_error(OLLAMA, error, spoken=spoken)
    assert type(made) is kind
    assert made.message == message
    assert made.hint == hint
