"""What commands share that work on an installation."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from cozy.app import App, Stored
    from cozy.ports.erasure import Erasures
    from cozy.ports.identity import IdentityAdmin
    from cozy.ports.operations import Audit, AuditEvent
    from cozy.ports.outbox import OutboxAdmin
    from cozy.turn import UserId

T = TypeVar("T")
R = TypeVar("R")

user_option = click.option(
    "--user", metavar="NAME", help="Who you are; default: COZY_USER, or the name you are logged in with."
)


def with_app(work: Callable[[App], Awaitable[T]]) -> T:
    """Do something with the running installation. Raises CozyError."""
    from cozy.app import open_app
    from cozy.configuration import load

    loaded = load()
    for words in loaded.warnings:
        click.echo(f"warning: {words}", err=True)
    return _within(open_app(loaded.settings), work)


def with_storage(work: Callable[[Stored], Awaitable[T]]) -> T:
    """Do something with what is stored; mistakes in personalities are no hindrance. Raises CozyError."""
    from cozy.adapters.demo_llm import DemoLLM
    from cozy.app import open_storage
    from cozy.configuration import load_settings

    return _within(open_storage(load_settings(), DemoLLM()), work)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Users and keys, and the record of what is done to them."""

    identity: IdentityAdmin
    audit: Audit
    erasures: Erasures
    outbox: OutboxAdmin

    async def note(self, what: str, user_id: UserId | None = None, **facts: str | list[str]) -> None:
        """Put on record that somebody at this terminal did it, to this user."""
        await self.audit.record(self.event(what, user_id, **facts))

    def event(self, what: str, user_id: UserId | None = None, **facts: str | list[str]) -> AuditEvent:
        """That somebody at this terminal did it, to this user."""
        from cozy.ports.operations import AuditEvent

        to = {} if user_id is None else {"user": str(user_id)}
        payload = {"by": "command line", "terminal_user": username(None), **to, **facts}
        return AuditEvent(what, payload=payload)


def with_accounts(work: Callable[[Accounts], Awaitable[T]]) -> T:
    """Do something with users and keys. Raises CozyError."""
    from cozy.adapters.demo_llm import DemoLLM
    from cozy.adapters.identity import open_identity
    from cozy.adapters.memory_limits import MemoryLimits
    from cozy.adapters.sql_audit import SqlAudit
    from cozy.adapters.sql_erasure import SqlErasures
    from cozy.app import engine_targets, open_storage
    from cozy.configuration import load_settings
    from cozy.storage.outbox_admin import SqlOutboxAdmin

    settings = load_settings()

    @asynccontextmanager
    async def opening() -> AsyncGenerator[Accounts]:
        async with (
            open_storage(settings, DemoLLM()) as stored,
            open_identity(stored.database, settings.auth, MemoryLimits(), redis=settings.redis) as identity,
        ):
            database = stored.database
            yield Accounts(
                identity,
                SqlAudit(database),
                SqlErasures(database, engine_targets(settings)),
                SqlOutboxAdmin(database),
            )

    return _within(opening(), work)


def _within(opening: AbstractAsyncContextManager[R], work: Callable[[R], Awaitable[T]]) -> T:
    import anyio

    from cozy.errors import CozyError

    async def run() -> T | CozyError:
        async with opening as opened:
            try:
                return await work(opened)
            except CozyError as error:  # as a value: a task group would wrap it
                return error

    result = anyio.run(run)
    if isinstance(result, CozyError):
        raise result
    return result


def username(given: str | None) -> str:
    """The name of the user at this terminal."""
    from getpass import getuser

    try:
        return given or os.environ.get("COZY_USER") or getuser()
    except (OSError, KeyError):  # a user id without a name, as in containers
        return "local"
