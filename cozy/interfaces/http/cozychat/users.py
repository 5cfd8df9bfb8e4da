"""Accounts: made, logged into and out of, their passwords and second factors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cozy.errors import AuthRequired, Forbidden
from cozy.interfaces.http.bodies import body_as, read_body
from cozy.interfaces.http.cozychat.preferences import preferences_of
from cozy.interfaces.http.cozychat.routes import Done, Given, Moment, Taken, also, route
from cozy.interfaces.http.endpoint import Call
from cozy.interfaces.http.service import Service
from cozy.ports.identity import Caller, Tokens, User, UserRole

LONGEST_FIELD = 1000
"""Characters of what is only compared; what may be kept is the identity's business."""


class Registration(Taken):
    username: str = Field(max_length=LONGEST_FIELD)
    email: str | None = Field(default=None, max_length=LONGEST_FIELD)
    password: str = Field(max_length=2 * LONGEST_FIELD, repr=False)


class Login(Taken):
    username: str = Field(max_length=LONGEST_FIELD)
    """The name, or the e-mail address."""
    password: str = Field(max_length=2 * LONGEST_FIELD, repr=False)
    code: str | None = Field(default=None, max_length=20, repr=False)
    """Of the second factor, where there is one."""


class UserGiven(Given):
    id: str
    username: str
    email: str | None
    role: UserRole
    display_name: str | None
    preferences: dict[str, Any]


class TokensGiven(Given):
    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    token_type: Literal["Bearer"]
    expires_in: int
    user: UserGiven


class Registered(TokensGiven):
    user_id: str
    username: str
    email: str | None
    created_at: Moment
    message: str


class RefreshToken(Taken):
    refresh_token: str = Field(max_length=8192, repr=False)


class NewPassword(Taken):
    old_password: str = Field(max_length=2 * LONGEST_FIELD, repr=False)
    new_password: str = Field(max_length=2 * LONGEST_FIELD, repr=False)


class FactorOffer(Given):
    secret: str = Field(repr=False)
    """Base32."""
    uri: str = Field(repr=False)
    """`otpauth://…`, for a QR code."""


class FactorCode(Taken):
    code: str = Field(max_length=20, repr=False)


class Password(Taken):
    password: str = Field(max_length=2 * LONGEST_FIELD, repr=False)


# -- routes --------------------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/users/register",
    access="anyone",
    body=Registration,
    gives=Registered,
    status=201,
    errors=(400, 403),
)
async def register(call: Call[Registration, None]) -> Registered:
    """Make an account, and log into it.

    From one network address so many an hour (`auth.registrations_per_hour`); more get 429.
    """
    wanted, identity = call.body, call.service.identity
    address = call.exchange.address
    user = await identity.register(wanted.username, wanted.email, wanted.password, address=address)
    tokens = await identity.login(user.username, wanted.password, address=address)
    call.exchange.user_id = user.id
    await call.note("user.registered")
    return Registered(
        **_tokens(tokens, call.service),
        user_id=str(user.id),
        username=user.username,
        email=user.email,
        created_at=user.created_at,
        message="welcome",
    )


@route("POST", "/v1/users/login", access="anyone", body=Login, gives=TokensGiven, errors=(400, 401))
async def login(call: Call[Login, None]) -> TokensGiven:
    """Give tokens for a name, or an e-mail address, and a password."""
    wanted = call.body
    tokens = await call.service.identity.login(
        wanted.username, wanted.password, code=wanted.code, address=call.exchange.address
    )
    call.exchange.user_id = tokens.user.id
    return TokensGiven(**_tokens(tokens, call.service))


@route(
    "POST",
    "/v1/users/refresh",
    access="anyone",
    documented=(RefreshToken,),
    body_optional=True,
    gives=TokensGiven,
    errors=(401,),
)
async def refresh(call: Call[None, None]) -> TokensGiven:
    """Give new tokens for a refresh token, which is used up by it.

    It stands in the body as `refresh_token`, or in the header as `Authorization: Bearer …`.
    """
    tokens = await call.service.identity.refresh(await _refresh_token(call))
    call.exchange.user_id = tokens.user.id
    return TokensGiven(**_tokens(tokens, call.service))


async def _refresh_token(call: Call[None, None]) -> str:
    body = await read_body(call.request, call.service.settings.server.body_timeout_s)
    if body.strip() not in (b"", b"{}", b"null"):
        return body_as(RefreshToken, body).refresh_token
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthRequired
    return token.strip()


@route("POST", "/v1/users/logout", gives=Done)
async def logout(call: Call[None, None]) -> Done:
    """End the login that the token came from: none of its tokens is good any more."""
    await call.service.identity.logout(logged_in(call))
    return Done(message="logged out")


@route("PUT", "/v1/users/me/password", body=NewPassword, gives=Done)
async def change_password(call: Call[NewPassword, None]) -> Done:
    """Change the password. Every token issued before ends: log in again."""
    caller, wanted = logged_in(call), call.body
    await call.service.identity.change_password(caller.user_id, wanted.old_password, wanted.new_password)
    await call.note("user.password_changed")
    return Done(message="the password is changed; log in again")


@route("POST", "/v1/users/me/second-factor", gives=FactorOffer)
async def offer_factor(call: Call[None, None]) -> FactorOffer:
    """Offer a secret for an authenticator; it is wanted at logins once it was confirmed."""
    offer = await call.service.identity.offer_second_factor(logged_in(call).user_id)
    return FactorOffer(secret=offer.secret, uri=offer.uri)


@route("POST", "/v1/users/me/second-factor/confirm", body=FactorCode, gives=Done)
async def confirm_factor(call: Call[FactorCode, None]) -> Done:
    """Confirm the offered secret with a first code."""
    await call.service.identity.confirm_second_factor(logged_in(call).user_id, call.body.code)
    await call.note("user.second_factor_confirmed")
    return Done(message="a one-time code is wanted at logins from now on")


@route("DELETE", "/v1/users/me/second-factor", body=Password, gives=Done)
async def drop_factor(call: Call[Password, None]) -> Done:
    """Do without a second factor from now on; the password is asked once more."""
    await call.service.identity.drop_second_factor(logged_in(call).user_id, call.body.password)
    await call.note("user.second_factor_dropped")
    return Done(message="no one-time code is wanted any more")


# -- in between ----------------------------------------------------------------------------------------


def logged_in(call: Call[Any, Any]) -> Caller:
    """The caller, where a person has logged in: a key must not change what keeps others out."""
    if call.caller.key_id is not None:
        raise Forbidden("changing an account with an API key")
    return call.caller


def user_given(user: User, service: Service) -> UserGiven:
    """A user, as a front end keeps them."""
    return UserGiven(
        id=str(user.id),
        username=user.username,
        email=user.email,
        role=user.role,
        display_name=user.display_name,
        preferences=preferences_of(user, service),
    )


def _tokens(tokens: Tokens, service: Service) -> dict[str, Any]:
    return {
        "access_token": tokens.access,
        "refresh_token": tokens.refresh,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in_s,
        "user": user_given(tokens.user, service),
    }


ENDPOINTS = (
    register,
    login,
    refresh,
    also(login, "/v1/auth/login"),
    also(refresh, "/v1/auth/refresh"),
    also(register, "/v1/auth/register"),
    logout,
    also(logout, "/v1/auth/logout"),
    change_password,
    offer_factor,
    confirm_factor,
    drop_factor,
)
