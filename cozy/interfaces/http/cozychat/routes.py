"""What the routes of this API share: how they are declared, ids in their paths, moments in their answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from cozy.errors import NotFound
from cozy.interfaces.http.cozychat.errors import ErrorGiven, NotAnId, tell
from cozy.interfaces.http.endpoint import Access, Call, Endpoint, Told, endpoint
from cozy.turn import SessionId, UserId

TAG = "CozyChat"
_IDS = ("session_id", "key_id")
"""Parts of paths that are read by `uuid_of`."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


Moment = Annotated[
    datetime,
    PlainSerializer(_iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""Told with its offset: clients take a time without one for their own."""


def _plausible(moment: datetime) -> datetime:
    if not 1970 <= moment.year < 9999:
        raise ValueError("expected a time of an age with computers")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


TakenMoment = Annotated[datetime, AfterValidator(_plausible)]
"""A time that a client sends; without an offset, in UTC."""


class Taken(BaseModel):
    """A body or a query. Fields that nobody here knows are let through: clients differ in age."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=True
    )


class Given(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Done(Given):
    message: str


def route(
    method: str,
    path: str,
    *,
    access: Access = "account",
    body: type[BaseModel] | None = None,
    documented: tuple[type[BaseModel], ...] = (),
    body_optional: bool = False,
    query: type[BaseModel] | None = None,
    gives: type[BaseModel] | None = None,
    status: int = 200,
    errors: tuple[int, ...] = (),
) -> Callable[[Callable[[Call[Any, Any]], Awaitable[Told]]], Endpoint]:
    """Declare the function beneath as a route of this API."""
    told = {*errors, 400} if access != "anyone" else {*errors}
    told |= {422} if body or documented or query else set()
    told |= {404} if "{" in path else set()
    return endpoint(
        method,
        path,
        access=access,
        tag=TAG,
        body=body,
        documented=documented,
        body_optional=body_optional,
        query=query,
        gives=gives,
        ids=tuple(name for name in _IDS if f"{{{name}}}" in path),
        status=status,
        errors=tuple(sorted(told)),
        tell=tell,
        error_body=ErrorGiven,
    )


def also(declared: Endpoint, path: str, method: str | None = None) -> Endpoint:
    """The same route under another path, as other callers know it."""
    return replace(declared, path=path, method=method or declared.method)


def own_id(call: Call[Any, Any], name: str = "user_id") -> UserId:
    """The caller's own id, which the path names: as it is, or as `me`.

    Raises NotFound for another user's, as for one that does not exist.
    """
    named, user_id = call.path(name), call.caller.user_id
    if named not in ("me", str(user_id)):
        raise NotFound("user", named[:100])
    return user_id


def uuid_of(text: str, param: str) -> UUID:
    """An id as clients write it. Raises NotAnId."""
    if not _UUID.fullmatch(text):
        raise NotAnId(param)
    return UUID(text)


def session_in(call: Call[Any, Any], text: str | None = None) -> SessionId:
    """The session that the path, or `text`, names; noted for the log. Raises NotAnId."""
    session_id = SessionId(uuid_of(call.path("session_id") if text is None else text, "session_id"))
    call.exchange.session_id = session_id
    return session_id
