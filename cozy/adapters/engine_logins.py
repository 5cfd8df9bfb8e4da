"""Who Cozy is to an engine outside: a key, or an account whose login all requests share."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from cozy.errors import EngineAuthError, EngineError, EngineUnavailable

_log = logging.getLogger("cozy.engines")

PAUSE_S = 5.0
"""After a login that failed, so long nobody tries again: servers count failures, and lock accounts."""


@dataclass(frozen=True, slots=True)
class Key:
    """Fills `Credentials` with a header that stays."""

    header: str
    value: str
    secret: str

    async def headers(self) -> Mapping[str, str]:
        return {self.header: self.value}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        return False

    @property
    def secrets(self) -> Sequence[str]:
        return [self.secret]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives."""

    access: str
    refresh: str = ""
    """Good for one renewal, where there is one."""


class Account:
    """Fills `Credentials` with the token of a login.

    One login at a time, in `tasks`: it goes on though the turn that needed it first has no more time, and
    whoever needs one meanwhile waits for the same. Its failure is everybody's, for `PAUSE_S`.
    """

    def __init__(
        self, name: str, tasks: TaskGroup, password: str, login: Callable[[Tokens | None], Awaitable[Tokens]]
    ) -> None:
        self._name = name
        self._tasks = tasks
        self._password = password
        self._login = login
        self._tokens: Tokens | None = None
        self._failure: EngineError | None = None
        self._failed_at = 0.0
        self._under_way: anyio.Event | None = None

    async def headers(self) -> Mapping[str, str]:
        if self._tokens is None:
            await self._log_in()
        return self._header()

    async def renew(self, refused: Mapping[str, str]) -> bool:
        if self._tokens is not None and self._header() == refused:
            await self._log_in()
        return True

    @property
    def secrets(self) -> Sequence[str]:
        tokens = [self._tokens.access, self._tokens.refresh] if self._tokens else []
        return [self._password, *tokens]

    def _header(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self._tokens.access}"} if self._tokens else {}

    async def _log_in(self) -> None:
        """Join the login that is under way, or begin one."""
        if self._under_way is None:
            if self._failure is not None and anyio.current_time() < self._failed_at + PAUSE_S:
                raise self._again(self._failure)
            self._under_way = anyio.Event()
            self._tasks.start_soon(self._run, self._under_way)
        await self._under_way.wait()
        if self._failure is not None:
            raise self._again(self._failure)

    async def _run(self, done: anyio.Event) -> None:
        try:
            self._tokens = await self._login(self._tokens)
            self._failure = None
        except EngineError as error:
            self._failed(error)
        except Exception as error:  # raised, it would end everything that runs beside it
            _log.exception("login failed", extra={"engine": self._name})
            self._failed(EngineUnavailable(self._name, f"failed with {type(error).__name__}"))
        finally:
            self._under_way = None
            done.set()

    def _failed(self, error: EngineError) -> None:
        self._tokens, self._failure, self._failed_at = None, error, anyio.current_time()

    def _again(self, failure: EngineError) -> EngineError:
        """The failure as one of its own for each who waits."""
        words = failure.message.removeprefix(f"{self._name}: ")
        return type(failure)(
            self._name,
            words,
            hint=failure.hint,
            details=failure.details,
            retry_after_s=failure.retry_after_s,
        )


def bad_login(name: str) -> EngineAuthError:
    """The server knows no account of this name and password."""
    return EngineAuthError(
        name,
        "refused the account's name or password",
        hint=f"check `engines.{name}.username`, and the variable of `engines.{name}.password_env`",
    )
