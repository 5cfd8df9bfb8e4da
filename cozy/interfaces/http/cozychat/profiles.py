"""What users say of themselves, what Cozy has learned of them, and how much they have talked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from cozy.errors import EngineError
from cozy.interfaces.http.cozychat.routes import Done, Given, Moment, Taken, own_id, route
from cozy.interfaces.http.cozychat.users import UserGiven, user_given
from cozy.interfaces.http.endpoint import Call
from cozy.interfaces.http.service import Service
from cozy.ports.identity import User, UserChange
from cozy.ports.profile import ProfileFact
from cozy.turn import UserId

LONGEST_AVATAR = 5_000_000
"""Characters of the address, the picture in it included."""
MOST_INTERESTS = 100


def _picture(url: str) -> str:
    if url and not url.startswith("data:image/"):
        raise ValueError("expected a picture, as `data:image/…`")
    return url


Picture = Annotated[
    str,
    Field(max_length=LONGEST_AVATAR, json_schema_extra={"pattern": "^(data:image/|$)"}),
    AfterValidator(_picture),
]


class ProfileChange(Taken):
    """One key or several; empty text takes a value away."""

    display_name: str | None = Field(default=None, max_length=400)
    bio: str | None = Field(default=None, max_length=5000)
    avatar_url: Picture | None = None
    interests: list[Annotated[str, StringConstraints(max_length=200)]] | None = Field(
        default=None, max_length=MOST_INTERESTS
    )

    def as_change(self) -> UserChange:
        profile = self.model_dump(include={"bio", "avatar_url", "interests"}, exclude_none=True)
        return UserChange(display_name=self.display_name, profile=profile)


class Learned(Given):
    """What is known of a user."""

    interests: list[str]
    habits: dict[str, Any]
    personality_insights: dict[str, dict[str, str]]
    """Topic → sub-topic → what Cozy has learned."""
    statistics: dict[str, int]


class Profile(Given):
    user_id: str
    display_name: str | None
    bio: str | None
    interests: list[str]
    avatar_url: str | None
    profile: Learned
    generated_at: Moment | None
    """When Cozy has last learned something."""


class Me(UserGiven):
    avatar_url: str | None
    bio: str | None
    created_at: Moment


class ShortUser(Given):
    id: str
    username: str
    display_name: str | None
    avatar_url: str | None
    bio: str | None


class ChangedUser(Done):
    user: ShortUser


class ChangedProfile(Done, Profile):
    pass


class Stats(Given):
    user_id: str
    username: str
    email: str | None
    display_name: str | None
    role: str
    status: str
    total_sessions: int
    total_messages: int
    total_tokens_used: int
    last_login_at: Moment | None
    created_at: Moment
    profile: Learned


# -- routes --------------------------------------------------------------------------------------------


@route("GET", "/v1/users/me", gives=Me)
async def show_me(call: Call[None, None]) -> Me:
    """Tell who the caller is."""
    return _me(await call.service.identity.user(call.caller.user_id), call.service)


@route("GET", "/v1/users/{user_id}", gives=Me)
async def show_user(call: Call[None, None]) -> Me:
    """Tell who the caller is; nobody is told of others."""
    return _me(await call.service.identity.user(own_id(call)), call.service)


@route("PUT", "/v1/users/me", body=ProfileChange, gives=ChangedUser)
async def change_me(call: Call[ProfileChange, None]) -> ChangedUser:
    """Change what the caller says of themselves."""
    return await _change(call, call.caller.user_id)


@route("PUT", "/v1/users/{user_id}", body=ProfileChange, gives=ChangedUser)
async def change_user(call: Call[ProfileChange, None]) -> ChangedUser:
    """Change what the caller says of themselves; nobody changes others."""
    return await _change(call, own_id(call))


@route("GET", "/v1/users/me/profile", gives=Profile)
async def show_my_profile(call: Call[None, None]) -> Profile:
    """Give what the caller says of themselves, and what Cozy has learned of them."""
    return await _profile(await call.service.identity.user(call.caller.user_id), call.service)


@route("GET", "/v1/users/{user_id}/profile", gives=Profile)
async def show_profile(call: Call[None, None]) -> Profile:
    """Give what the caller says of themselves; nobody is told of others."""
    return await _profile(await call.service.identity.user(own_id(call)), call.service)


@route("PUT", "/v1/users/{user_id}/profile", body=ProfileChange, gives=ChangedProfile)
async def change_profile(call: Call[ProfileChange, None]) -> ChangedProfile:
    """Change what the caller says of themselves; nobody changes others."""
    user = await call.service.identity.change_user(own_id(call), call.body.as_change())
    profile = await _profile(user, call.service)
    return ChangedProfile(message="saved", **dict(profile))


@route("GET", "/v1/users/me/stats", gives=Stats)
async def stats(call: Call[None, None]) -> Stats:
    """Count the caller's conversations, messages and tokens."""
    service = call.service
    user = await service.identity.user(call.caller.user_id)
    counted = await service.sessions.stats(user.id)
    return Stats(
        user_id=str(user.id),
        username=user.username,
        email=user.email,
        display_name=user.display_name,
        role=user.role,
        status="active" if user.is_active else "disabled",
        total_sessions=counted.sessions,
        total_messages=counted.messages,
        total_tokens_used=counted.tokens,
        last_login_at=user.last_login_at,
        created_at=user.created_at,
        profile=_learned(user, await _facts(user.id, service)),
    )


# -- in between ----------------------------------------------------------------------------------------


def _me(user: User, service: Service) -> Me:
    return Me(
        **dict(user_given(user, service)),
        avatar_url=_text(user, "avatar_url"),
        bio=_text(user, "bio"),
        created_at=user.created_at,
    )


async def _change(call: Call[ProfileChange, None], user_id: UserId) -> ChangedUser:
    user = await call.service.identity.change_user(user_id, call.body.as_change())
    short = ShortUser(
        id=str(user.id),
        username=user.username,
        display_name=user.display_name,
        avatar_url=_text(user, "avatar_url"),
        bio=_text(user, "bio"),
    )
    return ChangedUser(message="saved", user=short)


async def _profile(user: User, service: Service) -> Profile:
    facts = await _facts(user.id, service)
    return Profile(
        user_id=str(user.id),
        display_name=user.display_name,
        bio=_text(user, "bio"),
        interests=_interests(user),
        avatar_url=_text(user, "avatar_url"),
        profile=_learned(user, facts),
        generated_at=max((fact.updated_at for fact in facts), default=None),
    )


async def _facts(user_id: UserId, service: Service) -> Sequence[ProfileFact]:
    """What Cozy has learned; nothing where the engine that knows is away."""
    try:
        return await service.engine.ports.profiles.facts(user_id)
    except EngineError:
        return ()


def _learned(user: User, facts: Sequence[ProfileFact]) -> Learned:
    insights: dict[str, dict[str, str]] = {}
    for fact in facts:
        insights.setdefault(fact.topic, {})[fact.sub_topic] = fact.content
    return Learned(
        interests=_interests(user),
        habits={},
        personality_insights=insights,
        statistics={"facts": len(facts)},
    )


def _interests(user: User) -> list[str]:
    """Always a list: the front end has no other way of showing them."""
    found: object = user.profile.get("interests")
    return [str(one) for one in found] if isinstance(found, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _text(user: User, name: str) -> str | None:
    return user.profile.get(name) or None


ENDPOINTS = (
    # what is fixed goes before what a path may hold
    show_me,
    change_me,
    show_my_profile,
    stats,
    show_user,
    change_user,
    show_profile,
    change_profile,
)
