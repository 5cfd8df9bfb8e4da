"""What only admins may do."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from cozy.errors import PersonalityError
from cozy.interfaces.http.endpoint import Call, endpoint


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


ENDPOINTS = (reload,)
