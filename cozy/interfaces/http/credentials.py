"""Who sends a request, and whether they may."""

from __future__ import annotations

from starlette.requests import Request

from cozy.errors import AuthRequired, Forbidden, RateLimited
from cozy.interfaces.http.exchange import exchange_of
from cozy.interfaces.http.gate import per_minute
from cozy.interfaces.http.service import Service
from cozy.ports.identity import Caller, Scope


async def caller_of(request: Request, service: Service, scope: Scope) -> Caller:
    """Whom the request's credential stands for, counted against their limits.

    Raises AuthRequired, InvalidToken, AccountDisabled, Forbidden, RateLimited.
    """
    caller = await service.identity.authenticate(_credential(request))
    exchange = exchange_of(request.scope)
    exchange.user_id = caller.user_id
    # a key that an admin has lent for chats may stand in a page that everybody reads
    exchange.may_see_inside = caller.role == "admin" and "admin" in caller.scopes
    if scope not in caller.scopes or (scope == "admin" and caller.role != "admin"):
        raise Forbidden(f"what needs `{scope}`")
    await _count(caller, request, service)
    return caller


def _credential(request: Request) -> str:
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    # a front end that has stored none sends these
    if scheme.lower() != "bearer" or credential.strip() in ("", "null", "undefined"):
        raise AuthRequired
    return credential.strip()


async def _count(caller: Caller, request: Request, service: Service) -> None:
    """Take the request from the buckets of its user and its key; the fuller one is told of in the answer."""
    limits = service.settings.limits
    buckets = [(f"user:{caller.user_id}", limits.per_user, "user")]
    if caller.key_id is not None:
        buckets.append((f"key:{caller.key_id}", limits.per_key, "key"))
    exchange = exchange_of(request.scope)
    for key, count, what in buckets:
        if not count:
            continue
        allowance = await service.limits.take(key, per_minute(count))
        if exchange.allowance is None or allowance.remaining <= exchange.allowance.remaining:
            exchange.allowance = allowance
        if not allowance.allowed:
            exchange.limit = what
            raise RateLimited(f"requests of this {what}", allowance.retry_after_s)
