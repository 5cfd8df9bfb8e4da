"""Bytes that a client sent → values, or an error that says where it is wrong."""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar, cast

import anyio
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request

from cozy.errors import InvalidRequest
from cozy.interfaces.http.problems import ClientLeft, TooSlow

M = TypeVar("M", bound=BaseModel)

_MOST_TOLD = 10


# a whole pair, one half of a pair, or any other escape, so that a backslash that is itself escaped is none
_SURROGATES = re.compile(
    rb"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)


def _json_text(body: bytes) -> bytes:
    """The body as it is read: without a byte order mark, halves of characters as U+FFFD.

    JSON.stringify writes a cut emoji as half a pair, which is no text; the rest of what was said is.
    """
    text = body.removeprefix(b"\xef\xbb\xbf")
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    return _SURROGATES.sub(lambda found: rb"\ufffd" if found["half"] else found[0], text)


async def read_body(request: Request, within_s: float) -> bytes:
    """The whole body. Raises TooSlow, and TooLarge where it is longer than is taken."""
    with anyio.move_on_after(within_s):
        try:
            return await request.body()
        except ClientDisconnect:
            raise ClientLeft("the body was cut off") from None
    raise TooSlow(f"the body did not arrive within {within_s:g} s")


def json_value(body: bytes) -> Any:
    """What a JSON body holds. Raises InvalidRequest with the place of what is wrong."""
    if not body.strip():
        raise InvalidRequest("the body is empty", hint="send a JSON object")
    try:
        value = from_json(_json_text(body), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    if not _finite(value):
        raise InvalidRequest("the body is not valid JSON: a number is too large")
    return value


def json_object(body: bytes) -> dict[str, Any]:
    """What a JSON body holds, where it is an object."""
    value = json_value(body)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return cast("dict[str, Any]", value)


def body_as(model: type[M], body: bytes) -> M:
    """A JSON body as `model`. Raises InvalidRequest."""
    json_object(body)
    try:
        return model.model_validate_json(_json_text(body), strict=True)
    except ValidationError as error:
        raise invalid(error) from None


def query_as(model: type[M], query: QueryParams) -> M:
    """Query parameters as `model`; one that is given several times is a list. Raises InvalidRequest."""
    values: dict[str, Any] = {}
    for name in query:
        given = query.getlist(name)
        values[name] = given if len(given) > 1 else given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidRequest:
    """What pydantic found, in OpenAI's words: the first problem's place is `param`."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        {"param": param_of(p["loc"]), "message": _told(p["type"], p["msg"])} for p in problems[:_MOST_TOLD]
    ]
    first = told[0]
    more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
    return InvalidRequest(
        f"`{first['param']}`: {first['message']}{more}" if first["param"] else f"{first['message']}{more}",
        param=first["param"] or None,
        details={"problems": told} if len(problems) > 1 else {},
    )


def param_of(loc: tuple[int | str, ...]) -> str:
    """`("messages", 0, "user", "content")` as OpenAI writes it: `messages[0].content`."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():  # the tags of unions, such as `tagged-union[…]`, are no part of the body
            path += f".{part}" if path else part
    return path[:200]


def _told(kind: str, message: str) -> str:
    message = message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind == "missing":
        return "is missing"
    return message[0].lower() + message[1:]


def _finite(value: Any) -> bool:
    """Whether no number is beyond what a float holds: JSON has no infinity, whatever writes it out again.

    Looked for in the values: a search through the bytes of a large picture takes half a second.
    """
    left = [[value]]
    while left:
        group = left.pop()
        for item in group:
            if isinstance(item, float):
                if not math.isfinite(item):
                    return False
            elif isinstance(item, list):
                left.append(cast("list[Any]", item))
            elif isinstance(item, dict):
                left.append(list(cast("dict[str, Any]", item).values()))
    return True
