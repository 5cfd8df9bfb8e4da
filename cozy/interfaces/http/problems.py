"""Errors as HTTP tells them: a status, and one JSON shape that OpenAI's SDKs read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from cozy.errors import CozyError, InvalidRequest, NotFound
from cozy.events import TurnFailed

# the type is OpenAI's word for the kind of error; SDKs look at the status, people at both
_STATUS: Mapping[str, tuple[int, str]] = {
    "AUTH_REQUIRED": (401, "authentication_error"),
    "AUTH_INVALID_TOKEN": (401, "authentication_error"),
    "AUTH_WRONG_PASSWORD": (401, "authentication_error"),
    "AUTH_SECOND_FACTOR_REQUIRED": (401, "authentication_error"),
    "RESOURCE_NOT_FOUND": (404, "not_found_error"),
    "RESOURCE_METHOD_NOT_ALLOWED": (405, "invalid_request_error"),
    "RESOURCE_CONFLICT": (409, "conflict_error"),
    "RESOURCE_NOT_IMPLEMENTED": (501, "not_implemented_error"),
    "model_not_found": (404, "invalid_request_error"),
    "VALIDATION_TOO_LARGE": (413, "invalid_request_error"),
    "VALIDATION_HEADERS_TOO_LARGE": (431, "invalid_request_error"),
    "VALIDATION_CLIENT_LEFT": (499, "invalid_request_error"),
    "VALIDATION_TIMEOUT": (408, "invalid_request_error"),
    "RATE_LIMIT_EXCEEDED": (429, "rate_limit_error"),
    "RATE_LIMIT_OVERLOADED": (503, "overloaded_error"),
    "ENGINE_RATE_LIMITED": (429, "rate_limit_error"),
    "ENGINE_INVALID_REQUEST": (400, "invalid_request_error"),
    "ENGINE_TIMEOUT": (504, "timeout_error"),
    "ENGINE_TURN_TIMEOUT": (504, "timeout_error"),
    "STORAGE_FAILED": (503, "storage_error"),
}
_DOMAINS: Mapping[str, tuple[int, str]] = {
    "AUTH": (403, "permission_error"),
    "VALIDATION": (400, "invalid_request_error"),
    "ENGINE": (502, "upstream_error"),
}
_ELSE = (500, "server_error")
_OUTSIDE: Mapping[str, str] = {
    "ENGINE_INIT": "what this personality needs is not set up on this server",
    "ENGINE_AUTH": "the model's server does not let this server in",
    "ENGINE_RATE_LIMITED": "the model's server is busy; try again later",
    "ENGINE_TIMEOUT": "the answer took too long; try again",
    "ENGINE_UNAVAILABLE": "the model's server cannot be reached, or failed; try again",
    "ENGINE_INVALID_REQUEST": "the model's server refused the request",
    "ENGINE_CIRCUIT_OPEN": "what this personality needs has failed too often; try again later",
    "STORAGE_FAILED": "nothing can be stored or read just now; try again",
    "TURN_TEMPLATE_FAILED": "the personality has an error in its prompt",
}
"""Code → what everybody may know of it."""
_ENGINE_OUTSIDE: Mapping[str, str] = {
    "ENGINE_INIT": "it is not set up on this server",
    "ENGINE_AUTH": "it does not let this server in",
    "ENGINE_RATE_LIMITED": "it is busy",
    "ENGINE_TIMEOUT": "it did not answer in time",
    "ENGINE_UNAVAILABLE": "it cannot be reached, or failed",
    "ENGINE_CIRCUIT_OPEN": "it has failed too often, and is left alone for a while",
    "ENGINE_INVALID_REQUEST": "it refused the question",
}
"""The same of an engine of the personal context, which an answer can do without."""
_TOLD = frozenset(
    {"status", "code", "type", "param", "model", "complaint", "retry_after_s", "stage", "timeout_s"}
)
"""Details that everybody may know."""


class UnknownModel(NotFound):
    """Neither a personality nor a model that clients may name."""

    code = "model_not_found"
    param = "model"

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__("model", name, known=known)


class HeadersTooLarge(InvalidRequest):
    code = "VALIDATION_HEADERS_TOO_LARGE"


class AmbiguousLength(InvalidRequest):
    code = "VALIDATION_AMBIGUOUS_LENGTH"


class TooSlow(InvalidRequest):
    code = "VALIDATION_TIMEOUT"


class ClientLeft(InvalidRequest):
    """In the middle of its body; nobody reads what is said of it but the log."""

    code = "VALIDATION_CLIENT_LEFT"


class MethodNotAllowed(CozyError):
    code = "RESOURCE_METHOD_NOT_ALLOWED"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, ready to be told."""

    status: int
    code: str
    type: str
    message: str
    param: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    retry_after_s: float | None = None

    def body(self, request_id: str) -> dict[str, Any]:
        """`{"error": …}`."""
        error = {
            "code": self.code,
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "request_id": request_id,
            "details": dict(self.details),
        }
        return {"error": error}

    def headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.retry_after_s is not None:
            found["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            found["www-authenticate"] = "Bearer"
        return found

    def response(self, request_id: str) -> JSONResponse:
        return JSONResponse(self.body(request_id), self.status, self.headers())


def problem_of(error: CozyError, *, in_full: bool = False) -> Problem:
    """How an error that was raised is told; `in_full` to those who run the installation."""
    return _problem(
        error.code,
        error.message,
        error.hint,
        error.details,
        param=getattr(error, "param", None),
        retry_after_s=getattr(error, "retry_after_s", None),
        in_full=in_full,
    )


def failed_turn(event: TurnFailed, *, in_full: bool) -> Problem:
    """How a turn that failed is told; `in_full` to those who run the installation."""
    details: dict[str, Any] = dict(event.details) | ({"stage": event.stage} if event.stage else {})
    wait_s = details.get("retry_after_s")
    return _problem(
        event.code, event.message, event.hint, details, param=None, retry_after_s=wait_s, in_full=in_full
    )


def _problem(
    code: str,
    message: str,
    hint: str | None,
    details: Mapping[str, Any],
    *,
    param: str | None,
    retry_after_s: float | None,
    in_full: bool,
) -> Problem:
    """Of what goes on behind this server (addresses, names of variables, a model server's own words) a client
    is told nothing; only what was said of the request itself may help who wrote that."""
    status, kind = status_of(code)
    outside = None if in_full else _OUTSIDE.get(code)
    if outside is None:
        words = f"{message} ({hint})" if hint else message
    else:
        details = {name: value for name, value in details.items() if name in _TOLD}
        words = f"{outside}: {complaint}" if (complaint := details.get("complaint")) else outside
    return Problem(status, code, kind, words, param or details.get("param"), details, retry_after_s)


def engine_reason(outcome: str, reason: str, *, in_full: bool) -> str:
    """Why an engine of the personal context brought nothing, or something old; empty where it did well.

    `reason` may quote its server: only who runs the installation is told that.
    """
    if outcome in ("ok", "empty"):
        return ""
    return reason if in_full else _ENGINE_OUTSIDE.get(outcome, "it failed")


def unexpected() -> Problem:
    """A bug: what happened is in the log, not in the answer."""
    return Problem(
        500, "INTERNAL_ERROR", "server_error", "something went wrong inside Cozy; the log says what"
    )


def status_of(code: str) -> tuple[int, str]:
    """The HTTP status and OpenAI's type of a stable error code."""
    return _STATUS.get(code) or _DOMAINS.get(code.partition("_")[0]) or _ELSE
