"""What commands share that work on an installation."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cozy.app import App, Stored
    from cozy.ports.context import EngineKind
    from cozy.ports.erasure import Erasures
    from cozy.ports.identity import IdentityAdmin
    from cozy.ports.operations import Audit, AuditEvent
    from cozy.ports.outbox import OutboxAdmin
    from cozy.settings import Settings
    from cozy.turn import UserId

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

user_option = click.option(
    "--user", metavar="NAME", help="Who you are; default: COZY_USER, or the name you are logged in with."
)


def with_app(work: Callable[[App], Awaitable[T]], *, works: bool = True) -> T:
    """Do something with the running installation, its worker at work or not. Raises CozyError."""
    from cozy.app import open_app
    from cozy.configuration import load

    loaded = load()
    for words in loaded.warnings:
        click.echo(f"warning: {words}", err=True)
    return _within(open_app(loaded.settings, works=works), work)


def engine_option(*kinds: EngineKind) -> Callable[[F], F]:
    """For engines other than those of `[context]`, such as a personality names."""

    def named(_context: click.Context, _option: click.Parameter, name: str | None) -> EngineOf | None:
        return EngineOf(name, kinds) if name else None

    words = f"An engine for {' or '.join(kinds)}, in place of the one that `[context]` names."
    return click.option("--engine", metavar="NAME", callback=named, help=words)


@dataclass(frozen=True, slots=True)
class EngineOf:
    """An engine that was named at the command line, and what it may be wanted for."""

    name: str
    kinds: Sequence[EngineKind]

    def serving(self, settings: Settings) -> Settings:
        """The settings with this engine in the place of those that they name. Raises ConfigError."""
        from cozy.errors import ConfigError, did_you_mean
        from cozy.ports.context import EMBEDDED
        from cozy.settings import BRINGS

        brought = {name: BRINGS[engine.kind] for name, engine in settings.engines.items()}
        kinds = (
            self.kinds if self.name == EMBEDDED else [k for k in self.kinds if brought.get(self.name) == k]
        )
        if not kinds:
            known = [EMBEDDED, *(name for name, kind in brought.items() if kind in self.kinds)]
            what = f"no engine `{self.name}` brings {' or '.join(self.kinds)}"
            raise ConfigError(what, hint=did_you_mean(self.name, known))
        context = settings.context.model_copy(update=dict.fromkeys(kinds, self.name))
        return settings.model_copy(update={"context": context})


def with_storage(work: Callable[[Stored], Awaitable[T]], engine: EngineOf | None = None) -> T:
    """Do something with what is stored; mistakes in personalities are no hindrance. Raises CozyError."""
    from cozy.adapters.demo_llm import DemoLLM
    from cozy.app import open_storage
    from cozy.configuration import load_settings

    settings = load_settings()
    return _within(open_storage(engine.serving(settings) if engine else settings, DemoLLM()), work)


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
