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


def problem_of(error: CozyError) -> Problem:
    """How an error that was raised is told."""
    status, kind = status_of(error.code)
    return Problem(
        status=status,
        code=error.code,
        type=kind,
        message=f"{error.message} ({error.hint})" if error.hint else error.message,
        param=getattr(error, "param", None),
        details=error.details,
        retry_after_s=getattr(error, "retry_after_s", None),
    )


def failed_turn(event: TurnFailed) -> Problem:
    """How a turn that failed is told."""
    status, kind = status_of(event.code)
    details: dict[str, Any] = dict(event.details) | ({"stage": event.stage} if event.stage else {})
    return Problem(
        status=status,
        code=event.code,
        type=kind,
        message=f"{event.message} ({event.hint})" if event.hint else event.message,
        details=details,
        retry_after_s=details.get("retry_after_s"),
    )


def unexpected() -> Problem:
    """A bug: what happened is in the log, not in the answer."""
    return Problem(
        500, "INTERNAL_ERROR", "server_error", "something went wrong inside Cozy; the log says what"
    )


def status_of(code: str) -> tuple[int, str]:
    """The HTTP status and OpenAI's type of a stable error code."""
    return _STATUS.get(code) or _DOMAINS.get(code.partition("_")[0]) or _ELSE
