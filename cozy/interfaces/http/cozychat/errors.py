"""Errors as CozyChat's clients read them: `detail` and `message` at the top, Cozy's own `error` beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import JSONResponse, Response

from cozy.errors import InvalidRequest
from cozy.interfaces.http.openapi import ErrorBody
from cozy.interfaces.http.problems import Problem

# where this API has always answered with another status than the rest of Cozy
_STATUS: Mapping[str, int] = {
    "VALIDATION_FAILED": 422,
    "VALIDATION_UNSUPPORTED": 422,
    "RESOURCE_CONFLICT": 400,
    "AUTH_ACCOUNT_DISABLED": 400,
    "TOOL_FAILED": 400,
    "TOOL_DENIED": 400,
}
_UNREAD = (408, 413)
"""Statuses after which the rest of the body is not worth reading."""


class ErrorGiven(ErrorBody):
    """What every error is told as: the same words where each reader looks for them."""

    detail: str
    message: str


class NotAnId(InvalidRequest):
    """Something in the path is no UUID; told apart from a body that cannot be read."""

    code = "VALIDATION_ID"

    def __init__(self, param: str) -> None:
        super().__init__(f"`{param}` is no id", param=param, hint="an id is a UUID")


def tell(problem: Problem, request_id: str) -> Response:
    """A problem as every reader of this API finds its words: forms, toasts and people."""
    problem = replace(problem, status=_STATUS.get(problem.code, problem.status))
    body = {"detail": problem.message, "message": problem.message, **problem.body(request_id)}
    response = JSONResponse(body, problem.status, problem.headers())
    if problem.status in _UNREAD:
        response.headers["connection"] = "close"
    return response
