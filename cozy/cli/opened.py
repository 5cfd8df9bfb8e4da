"""What commands share that work on a running installation."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from cozy.app import App

T = TypeVar("T")

user_option = click.option(
    "--user", metavar="NAME", help="Who you are; default: COZY_USER, or the name you are logged in with."
)


def with_app(work: Callable[[App], Awaitable[T]]) -> T:
    """Open the installation, do `work` with it, close it. Raises CozyError."""
    import anyio

    from cozy.app import open_app
    from cozy.errors import CozyError
    from cozy.settings import load_settings

    async def run() -> T | CozyError:
        async with open_app(load_settings()) as app:
            try:
                return await work(app)
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
