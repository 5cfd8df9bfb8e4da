"""`cozy serve`: answer over HTTP. The only room of Hypercorn's."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cozy.cli.listener import BACKLOG, address_of, bound

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import TaskGroup

    from cozy.cli.json_logs import LogFormat
    from cozy.configuration import Loaded
    from cozy.interfaces.http.service import Service
    from cozy.ports.identity import User
    from cozy.settings import ServerSettings, Settings

_log = logging.getLogger("cozy.server")

ASKING_S = 0.2
"""How long a connection may have been there without a request when the server is told to stop."""
AT_ONCE_S = 2.0
"""How long a server that is to stop now may take to keep what was said so far."""


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen; default: server.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="0: one that the system picks.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that answer; default: one.")
@click.option("--reload", "watch", is_flag=True, help="Read personalities again when their files change.")
@click.option(
    "--log-format",
    type=click.Choice(["json", "text"]),
    help="JSON goes to stdout, text to stderr; default: text on a terminal, else JSON.",
)
@click.option("--child", hidden=True, help="What a supervisor hands down: LISTENER,CONTROL,SHARE.")
def serve(
    host: str | None,
    port: int | None,
    workers: int | None,
    watch: bool,
    log_format: LogFormat | None,
    child: str | None,
) -> None:
    """Answer over HTTP: OpenAI's API, and CozyChat's.

    SIGTERM or Ctrl-C lets answers under way end first, for `server.grace_s` at most; a second one stops at
    once. With several workers SIGHUP starts them anew, one after the other.
    """
    from cozy.cli.json_logs import configure_logs
    from cozy.configuration import examine, load

    loaded = examine() if child is None else load()
    given = {
        "host": host,
        "port": port,
        "workers": workers,
        "watch": watch or None,
        "log_format": log_format,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    server = loaded.settings.server.model_copy(update=changed)
    settings = loaded.settings.model_copy(update={"server": server})
    format_ = chosen_format(settings.server)
    configure_logs(format_, settings.server.log_level, content=settings.server.log_content)
    if child is not None:
        sys.exit(_run(settings, *_handed_down(child)))
    _refuse_what_is_wrong(replace(loaded, settings=settings))
    listener = bound(settings.server)
    _tell_first_admin(settings, listener)
    if settings.server.workers == 1:
        sys.exit(_run(settings, listener))
    _supervise(settings, listener, format_)


def _handed_down(words: str) -> tuple[socket.socket, socket.socket, Path]:
    """What `--child` says: where it listens, where it hears its supervisor, where it keeps its figures."""
    from cozy.cli.shared_metrics import share_of

    listener, control, share = words.split(",")
    return socket.socket(fileno=int(listener)), socket.socket(fileno=int(control)), share_of(share)


def chosen_format(server: ServerSettings) -> LogFormat:
    if server.log_format != "auto":
        return server.log_format
    return "text" if sys.stderr.isatty() else "json"


def _refuse_what_is_wrong(loaded: Loaded) -> None:
    """Tell everything that is wrong; exits with 1 where the server could not do its work."""
    from cozy.cli.config import is_fit

    if not is_fit(loaded):
        click.echo(
            "the server does not start before these are mended; `cozy config check` looks again", err=True
        )
        sys.exit(1)


def _announce(listener: socket.socket) -> None:
    click.echo(f"listening on {address_of(listener)}", err=True)


# -- the first key -----------------------------------------------------------------------------------------


def _tell_first_admin(settings: Settings, listener: socket.socket) -> None:
    import anyio

    from cozy.startup import first_admin

    made = anyio.run(first_admin, settings)
    if made is not None:
        click.echo(first_words(*made, address_of(listener)), err=True)  # never through the log


def first_words(user: User, key: str, address: str) -> str:
    """What the operator is told once, as the installation gets its first admin."""
    return (
        f"\n    This installation has no admin yet, so here is one: `{user.username}`, with this key:\n\n"
        f"        {key}\n\n"
        "    It is shown this once. To use it where clients run, OpenAI's too:\n\n"
        f"        export OPENAI_BASE_URL={address}/v1\n"
        f"        export OPENAI_API_KEY={key}\n\n"
        "    `cozy key create` makes others, `cozy key revoke` ends one.\n"
    )


# -- what the server is told to do -------------------------------------------------------------------------


class Orders:
    """First to stop when what is under way has ended, then to stop at once."""

    def __init__(self) -> None:
        import anyio

        self.drain = anyio.Event()
        self.now = anyio.Event()
        self.signal = 0
        """The one that said `now`."""

    def heard(self, number: int) -> None:
        """A signal from whoever runs the server: the second one means it."""
        if not self.drain.is_set():
            _log.info("stopping when answers under way have ended", extra={"signal": number})
            self.drain.set()
        elif not self.now.is_set():
            self._stop_now(number)
        else:
            os._exit(128 + number)

    def _stop_now(self, number: int) -> None:
        self.signal = number
        _log.warning("stopping at once", extra={"signal": number})
        self.now.set()
        # whatever hangs, the process ends
        timer = threading.Timer(AT_ONCE_S, os._exit, [128 + number])
        timer.daemon = True
        timer.start()

    def obey_signals(self) -> None:
        """Listen to SIGTERM and SIGINT from now on."""
        _on_signals(self.heard)

    async def obey_supervisor(self, control: socket.socket) -> None:
        """Listen to the supervisor, and to SIGTERM; when it is gone, stop as well.

        A signal to the whole group reaches the supervisor and its children alike, so here a second one means
        nothing: the supervisor tells those that are to stop at once.
        """
        import anyio

        from cozy.cli.supervisor import DRAIN, NOW

        _on_signals(lambda _number: self.drain.set())
        told = DRAIN
        while told and NOW not in told:  # nothing: it is gone
            await anyio.wait_readable(control)
            told = control.recv(16)
            self.drain.set()
        if told:
            self._stop_now(signal.SIGTERM)


def _on_signals(heard: Callable[[int], object]) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, heard, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda n, _frame: loop.call_soon_threadsafe(heard, n))


# -- one process -------------------------------------------------------------------------------------------


def _run(
    settings: Settings,
    listener: socket.socket,
    control: socket.socket | None = None,
    share: Path | None = None,
) -> int:
    """Answer until told to stop; gives the exit code. Raises CozyError where the start fails."""
    import anyio

    from cozy.errors import CozyError

    try:
        return anyio.run(_answer, settings, listener, control, share)
    except CozyError:
        raise
    except Exception:
        _log.critical("the server ended by a bug", exc_info=True)
        return 1


async def _answer(
    settings: Settings, listener: socket.socket, control: socket.socket | None, share: Path | None
) -> int:
    import anyio

    from cozy.errors import CozyError
    from cozy.interfaces.http.app import open_http
    from cozy.interfaces.http.metrics import Metrics
    from cozy.service import extensions, open_service

    orders, metrics, failure = Orders(), Metrics(share), None
    async with anyio.create_task_group() as tasks:
        try:
            async with (
                open_service(settings) as service,
                open_http(service, extensions(), metrics) as http,
            ):
                tasks.start_soon(_end_at_once, orders, tasks)
                tasks.start_soon(_drain, orders, service)
                if control is None:
                    orders.obey_signals()
                    _announce(listener)
                else:
                    tasks.start_soon(orders.obey_supervisor, control)
                    control.send(b"r")  # supervisor.py says what it means
                opened = metrics.connections.track_inprogress
                await answer(http, listener, settings.server, orders, opened)
        except CozyError as error:  # a task group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return 128 + orders.signal if orders.signal else 0


async def _end_at_once(orders: Orders, tasks: TaskGroup) -> None:
    await orders.now.wait()
    tasks.cancel_scope.cancel()


async def _drain(orders: Orders, service: Service) -> None:
    """Let no new turn begin, and end after a while those that are under way."""
    import anyio

    await orders.drain.wait()
    service.draining.set()
    await anyio.sleep(service.settings.server.grace_s)
    for scope in tuple(service.under_way):
        scope.cancel()


async def answer(
    app: Any,
    listener: socket.socket,
    server: ServerSettings,
    orders: Orders,
    opened: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Answer at a socket with an ASGI application until told to stop, and then what is under way.

    What `opened` gives is entered for as long as a connection lives.
    """
    import asyncio

    import anyio
    import hypercorn.asyncio

    from cozy.cli.connections import config_of, make_room, use_connections

    untyped: Any = hypercorn.asyncio  # its signature's types lack their parameters

    number = listener.detach()
    config = config_of(server, number)
    config.backlog = BACKLOG
    config.opened = opened
    make_room(server.max_connections)
    use_connections()

    async def told_to_stop() -> None:
        await orders.drain.wait()
        # Hypercorn closes connections that have not asked for anything yet: let those of this moment do so,
        # and leave others to the next process
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().remove_reader(number)
        await anyio.sleep(ASKING_S)

    async def run() -> None:
        try:
            await untyped.serve(app, config, shutdown_trigger=told_to_stop)
        except Exception:
            if not orders.now.is_set():  # cancelled while it waits for answers, it stumbles
                raise

    # in a task of its own: Hypercorn leaves it marked as being cancelled, and all that came after would end
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)


# -- several processes -------------------------------------------------------------------------------------


def _supervise(settings: Settings, listener: socket.socket, format_: LogFormat) -> None:
    from cozy.errors import ConfigError

    if os.name != "posix":
        raise ConfigError("several workers need a POSIX system", hint="set `server.workers` to 1")
    import anyio

    from cozy.cli.shared_metrics import open_shares
    from cozy.cli.supervisor import Supervisor

    command = [sys.executable, "-m", "cozy", "serve", "--log-format", format_]
    command += ["--reload"] if settings.server.watch else []
    with open_shares() as shares:
        supervisor = Supervisor(
            listener,
            command,
            settings.server.workers,
            shares,
            grace_s=settings.server.grace_s,
            on_ready=lambda: _announce(listener),
        )
        code = anyio.run(supervisor.run)
    sys.exit(code)
