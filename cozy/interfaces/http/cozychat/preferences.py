"""How a user likes the front end to look and behave; Cozy keeps it and reads none of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from cozy.errors import InvalidRequest, NotFound
from cozy.interfaces.http.cozychat.routes import Done, Given, Taken, route
from cozy.interfaces.http.endpoint import Call
from cozy.interfaces.http.service import Service
from cozy.ports.identity import User, UserChange

FAVOURITE = "health_assistant"
"""The personality of a new user, where it is there; else `default`."""


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError):  # unknown, a folder, no name at all
        raise ValueError("expected a time zone such as `Asia/Shanghai`") from None
    return name


class Notifications(Taken):
    email: bool | None = None
    push: bool | None = None
    sound: bool | None = None


class PreferenceChange(Taken):
    """One key or several; those that are not sent keep their value."""

    default_personality: str | None = Field(default=None, max_length=64)
    language: str | None = Field(default=None, max_length=35)
    theme: Literal["blue", "green", "purple", "orange", "pink", "cyan"] | None = None
    auto_tts: bool | None = None
    always_show_voice_input: bool | None = None
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_time_zone)] | None = None
    show_reasoning: bool | None = None
    chat_background_style: str | None = Field(default=None, max_length=100, alias="chatBackgroundStyle")
    notifications: Notifications | None = None
    privacy: dict[str, bool | str | int | None] | None = Field(default=None, max_length=20)


class Preferences(Given):
    preferences: dict[str, Any]


class ChangedPreferences(Done, Preferences):
    pass


@route("GET", "/v1/users/me/preferences", gives=Preferences)
async def show(call: Call[None, None]) -> Preferences:
    """Give one's preferences: all of them, those that were never set too."""
    user = await call.service.identity.user(call.caller.user_id)
    return Preferences(preferences=preferences_of(user, call.service))


@route("PUT", "/v1/users/me/preferences", body=PreferenceChange, gives=ChangedPreferences)
async def change(call: Call[PreferenceChange, None]) -> ChangedPreferences:
    """Change some preferences; the others stay."""
    wanted = call.body.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    if (personality := wanted.get("default_personality")) is not None:
        _check(personality, call.service)
    user = await call.service.identity.change_user(call.caller.user_id, UserChange(preferences=wanted))
    return ChangedPreferences(message="saved", preferences=preferences_of(user, call.service))


def preferences_of(user: User, service: Service) -> dict[str, Any]:
    """What the user has set over what a new user has."""
    known = service.engine.library.ids()
    default = FAVOURITE if FAVOURITE in known else "default"
    found: dict[str, Any] = {
        "default_personality": default,
        "language": "zh-CN",
        "theme": "blue",
        "auto_tts": False,
        "always_show_voice_input": False,
        "timezone": "Asia/Shanghai",
        "show_reasoning": False,
        **user.preferences,
    }
    # it may be gone since; the front end would send it with every message
    if found["default_personality"] not in known:
        found["default_personality"] = default
    return found


def _check(personality: str, service: Service) -> None:
    try:
        service.engine.library.graph(personality)
    except NotFound as error:
        raise InvalidRequest(
            f"`default_personality`: {error.message}", param="default_personality", hint=error.hint
        ) from None


ENDPOINTS = (show, change)
