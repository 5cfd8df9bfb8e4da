"""`cozy chat`: talk to a personality."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cozy.cli.opened import user_option, username, with_app

if TYPE_CHECKING:
    from cozy.app import App
    from cozy.interfaces.repl.conversation import Conversation, Installation

DEFAULT_PERSONALITY = "default"
STDIN = "-"


@click.command()
@click.argument("personality", required=False)
@click.option(
    "--once", metavar="TEXT", help="Say this, print the answer, and leave; `-` reads it from stdin."
)
@click.option("--json", "as_json", is_flag=True, help="Print every event as one line of JSON.")
@click.option("--session", metavar="ID", help="Go on with a session: the beginning of its id, or `last`.")
@click.option("--model", metavar="NAME", help="A model in place of the personality's own: provider/name.")
@user_option
def chat(
    personality: str | None,
    once: str | None,
    as_json: bool,
    session: str | None,
    model: str | None,
    user: str | None,
) -> None:
    """Talk to PERSONALITY, or to `default`.

    Without a terminal each line of stdin is a turn, and the answers are plain text. The exit code is 1 when a
    turn failed.
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    by_lines = once is not None or as_json or not is_terminal

    async def work(app: App) -> int:
        from cozy.interfaces.repl.conversation import Conversation

        place = installation(app)
        if model is not None:
            place.check_model(model)
        user_id = await app.store.user(username(user))
        conversation = Conversation(place, user_id, personality or DEFAULT_PERSONALITY, model=model)
        if session is not None:
            await conversation.resume(session)
            if personality is not None:
                conversation.personality_id = personality
        app.engine.library.graph(conversation.personality_id)  # better now than after the first words
        if by_lines:
            return await _plain(conversation, once, as_json=as_json)
        _log_to(app.settings.paths.data / "cozy.log")
        return await _in_terminal(app, conversation)

    code = with_app(work)
    if code:
        sys.exit(code)


async def _in_terminal(app: App, conversation: Conversation) -> int:
    from rich.console import Console

    from cozy.interfaces.repl.loop import converse

    console = Console()
    await converse(conversation, console, history=app.settings.paths.data / "chat_history")
    if app.worker.busy:  # else one wonders why the shell does not come back
        console.print("keeping what was told …", style="dim")
    return 0


async def _plain(conversation: Conversation, once: str | None, *, as_json: bool) -> int:
    from cozy.interfaces.repl.plain import UNREAD, Plain, lines_of, one, whole
    from cozy.interfaces.repl.safe import safe

    def out(text: str) -> None:
        # where a screen is the reader, it gets nothing that it would obey
        sys.stdout.write(safe(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()

    if once is None:
        texts = lines_of(sys.stdin.fileno())
    else:
        texts = whole(sys.stdin.fileno()) if once == STDIN else one(once)
    code = await Plain(conversation, out, sys.stderr.write, as_json).say_all(texts)
    if code == UNREAD:  # else Python complains at exit that it cannot flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def installation(app: App) -> Installation:
    from cozy.cli.save_test import save_test
    from cozy.interfaces.repl.conversation import Installation
    from cozy.testing.recording import Recorder

    settings = app.settings
    recorder = Recorder()
    app.engine.ports = recorder.over(app.engine.ports)
    providers = [f"{name}/{p.default_model}" for name, p in settings.providers.items() if p.default_model]
    return Installation(
        engine=app.engine,
        store=app.store,
        memories=app.context.memories,
        profiles=app.context.profiles,
        reload=app.reload,
        check_model=lambda name: _check_model(app, name),
        models=tuple(dict.fromkeys((settings.model.default, "demo/demo", *providers))),
        begin_turn=recorder.begin,
        save_test=lambda said, path: save_test(app, recorder, said, path),
    )


def _check_model(app: App, name: str) -> None:
    from fnmatch import fnmatchcase

    from cozy.errors import ConfigError

    app.engine.ports.llm.card(name)
    allowed = app.settings.model.allow
    if allowed and not any(fnmatchcase(name, pattern) for pattern in allowed):
        raise ConfigError(
            f"the configuration does not allow the model `{name}`", hint=f"allowed: {', '.join(allowed)}"
        )


def _log_to(file: Path) -> None:
    """Send what is logged to a file: on the screen it would run into the answer."""
    from cozy.cli.json_logs import JsonFormatter

    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
