"""`cozy serve`: where it listens, who may come in, how often."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Literal

from pydantic import Field, field_validator

from cozy.settings.part import Part, is_address


def _is_origin(value: str) -> bool:
    """As browsers write it: no path and no closing slash, or it would fit no page."""
    return is_address(value, re.compile(r"[a-z][a-z0-9+.-]*")) and not re.search(
        r"[/?#@*A-Z]", value.partition("://")[2]
    )


def _is_host(value: str) -> bool:
    if ":" in value or re.fullmatch(r"[\d.]*", value):  # IPv6 may name an interface: `fe80::1%eth0`
        try:
            ip_address(value)
        except ValueError:
            return False
        return True
    return re.fullmatch(r"[\w.-]{1,253}", value) is not None


class ServerSettings(Part):
    """`cozy serve`."""

    host: str = "127.0.0.1"
    """The address to listen at; `0.0.0.0` or `::` is every address of the machine."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0: one that the system picks."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer."""
    watch: bool = False
    """Reload personalities and pipelines when their files change."""
    grace_s: float = Field(default=30, ge=0, le=3600)
    """How long answers under way may go on when the server is being stopped."""
    max_body_bytes: int = Field(default=20_000_000, ge=1024)
    """The longest request body that is taken; longer ones get 413."""
    max_header_bytes: int = Field(default=32_768, ge=1024)
    """The longest head of a request, its path and all headers together; longer ones get 431."""
    head_timeout_s: float = Field(default=10, gt=0, le=3600)
    """How long a request's head may take to arrive, from its first byte or, the first time, from the
    connection's beginning."""
    body_timeout_s: float = Field(default=30, gt=0, le=3600)
    """How long a request's body may take to arrive."""
    write_timeout_s: float = Field(default=30, gt=0, le=3600)
    """How long a reader may take nothing of an answer before it is cut off."""
    ping_s: float = Field(default=10, gt=0, le=300)
    """A stream that has been silent for so long carries a comment, so that proxies keep it open."""
    max_connections: int = Field(default=1000, ge=1)
    """Connections that are open at once in one process; more get 503."""
    max_turns: int = Field(default=256, ge=1)
    """Turns under way at once in one process."""
    queue: int = Field(default=256, ge=0)
    """Requests that may wait for a turn; more get 503."""
    queue_timeout_s: float = Field(default=10, ge=0, le=600)
    """How long one may wait before it gets 503."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may call the API; `*` is all of them: no cookies are used."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` is believed."""
    models: tuple[str, ...] = ()
    """Patterns of `provider/model` that clients may name beside personalities; empty: none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What weighs less is not logged."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text where stderr is a terminal, else JSON. JSON goes to stdout, text to stderr."""
    log_content: bool = False
    """Show in the log what errors say, be it a user's words or a key: to find a fault, not for every day."""

    @field_validator("host")
    @classmethod
    def _can_be_bound(cls, value: str) -> str:
        if not _is_host(value):
            raise ValueError(f"`{value}` is no address and no name of a machine, such as `127.0.0.1`")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin not in ("*", "null") and not _is_origin(origin):
                raise ValueError(f"`{origin}` is no origin such as `https://chat.example.org`, and not `*`")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                ip_network(name, strict=False)
            except ValueError:
                raise ValueError(f"`{name}` is no address and no network such as `10.0.0.0/8`") from None
        return value


class AuthSettings(Part):
    """Who may come in. `COZY_JWT_KEYS` (`id=secret`, several with commas, the first signs) takes the place of
    the signing keys in the database."""

    registration: Literal["open", "closed"] = "open"
    """Whether anybody may make an account over HTTP."""
    registrations_per_hour: int = Field(default=20, ge=0)
    """Accounts that may be made from one network address in an hour; 0 is no limit."""
    access_ttl_s: int = Field(default=2_592_000, ge=60)
    """How long an access token is good. CozyChat's front end cannot renew its own: 30 days."""
    refresh_ttl_s: int = Field(default=7_776_000, ge=60)
    """How long a refresh token is good: 90 days."""
    login_attempts: int = Field(default=5, ge=1, le=1000)
    """Wrong passwords of one name from one address that are answered at once; after that it slows down.
    From all addresses together, and of all names from one address, five times as many."""
    login_refill_s: float = Field(default=60, gt=0)
    """After so long one more is answered."""


class LimitSettings(Part):
    """Requests a minute, each counted by itself; 0 is no limit."""

    per_address: int = Field(default=600, ge=0)
    """From one network address."""
    per_user: int = Field(default=300, ge=0)
    """Of one user, over all keys and tokens."""
    per_key: int = Field(default=300, ge=0)
    """With one API key."""


class RedisSettings(Part):
    """What processes and machines share for speed: counts of requests, answers of engines, ended logins.
    Nothing is lost with it."""

    url: str = ""
    """`redis://host:6379/0`, the password from the environment; empty: each process counts and keeps for
    itself."""
    prefix: str = "cozy"
    """What every key begins with."""

    @field_validator("url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with `redis://`, `rediss://` or `unix://`")
        return value
