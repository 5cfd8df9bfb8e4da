"""What only admins may do."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from cozy.errors import NotFound, PersonalityError
from cozy.interfaces.http.endpoint import Call, endpoint
from cozy.ports.erasure import Erasure
from cozy.ports.operations import AuditEvent
from cozy.turn import UserId


class ReloadResult(BaseModel):
    reloaded: bool
    """False: something is wrong, and the personalities that were there go on."""
    personalities: list[str]
    """That answer now."""
    diagnostics: list[dict[str, Any]]
    """As `cozy check --format json` tells them."""


@endpoint(
    "POST", "/v1/personalities/reload", access="admin", tag="Operations", gives=ReloadResult, errors=(422,)
)
async def reload(call: Call[None, None]) -> Response:
    """Read every personality again, in all processes.

    All are swapped at once; turns under way end as they began. With an error in any file nothing changes,
    and the answer is 422 with every diagnostic.
    """
    result = await call.service.reload()
    call.exchange.code = PersonalityError.code if result.errors else None
    told = ReloadResult(
        reloaded=not result.errors,
        personalities=call.service.engine.library.ids(),
        diagnostics=[dict(d) for d in result.diagnostics],
    )
    await call.note("admin.reload", reloaded=told.reloaded, errors=result.errors)
    return JSONResponse(told.model_dump(), 200 if told.reloaded else 422)


class NotErasedYet(BaseModel):
    target: str
    """`memory/NAME` or `profile/NAME`: an engine that has not forgotten the user yet."""
    since: datetime
    attempts: int
    due_at: datetime
    """When it is asked next."""
    last_error: str | None


class ErasureTold(BaseModel):
    user_id: str
    erased_at: datetime | None
    """When it was last asked for; null: never."""
    done: bool
    """Whether the user was erased, and every engine has forgotten them."""
    waiting: list[NotErasedYet]
    """What could not be erased yet; it is tried until it is."""
    removed: dict[str, int]
    """By table, how many rows went with this request."""


@endpoint(
    "POST",
    "/v1/admin/users/{user_id}/erasure",
    access="admin",
    tag="Operations",
    gives=ErasureTold,
    ids=("user_id",),
    status=202,
    errors=(404,),
)
async def erase(call: Call[None, None]) -> ErasureTold:
    """Erase all that is kept of what a user said.

    Sessions, messages, memories, profile and waiting jobs go at once; engines follow, as `waiting` tells.
    The account stays: it may be used again, or closed.
    """
    user_id = _user_id(call)
    exchange = call.exchange
    event = AuditEvent("user.erased", exchange.user_id, exchange.request_id, payload={"user": str(user_id)})
    erasure = await call.service.erasures.erase(user_id, event)
    call.service.worker.wake()
    return _told(erasure)


@endpoint(
    "GET",
    "/v1/admin/users/{user_id}/erasure",
    access="admin",
    tag="Operations",
    gives=ErasureTold,
    ids=("user_id",),
    errors=(404,),
)
async def erasure(call: Call[None, None]) -> ErasureTold:
    """Tell how far a user is erased."""
    return _told(await call.service.erasures.state(_user_id(call)))


def _user_id(call: Call[None, None]) -> UserId:
    given = call.path("user_id")
    try:
        return UserId(UUID(given))
    except ValueError:
        raise NotFound("user", given[:36]) from None


def _told(erasure: Erasure) -> ErasureTold:
    return ErasureTold(
        user_id=str(erasure.user_id),
        erased_at=erasure.erased_at,
        done=erasure.erased_at is not None and not erasure.waiting,
        waiting=[NotErasedYet(**asdict(one)) for one in erasure.waiting],
        removed=dict(erasure.removed),
    )


ENDPOINTS = (reload, erase, erasure)
