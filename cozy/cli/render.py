"""`cozy render`: the exact prompt, without calling a model."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from cozy.cli.opened import user_option, username, with_app

if TYPE_CHECKING:
    from cozy.app import App
    from cozy.engine.preview import Preview

UNLIMITED = 10_000
"""Columns, where no terminal sets a limit: each line of the prompt stays one line."""


@click.command()
@click.argument("personality")
@click.argument("text")
@click.option(
    "--session", metavar="ID", help="With this session's history: the beginning of its id, or `last`."
)
@click.option("--json", "as_json", is_flag=True, help="Print every piece with its source as JSON.")
@user_option
def render(personality: str, text: str, session: str | None, as_json: bool, user: str | None) -> None:
    """Print what a model would be sent if TEXT were said to PERSONALITY.

    Runs what the prompt waits for (history, knowledge, profile, memory, budget) and asks no model. Each line
    is shown with the part of the personality, or the data, that it comes from.
    """

    async def work(app: App) -> list[Preview]:
        from cozy.engine.preview import previews
        from cozy.interfaces.repl.conversation import find_session
        from cozy.turn import Turn

        user_id = await app.store.user(username(user))
        found = await find_session(app.store, user_id, session) if session else None
        turn = Turn(text, user_id, personality, session_id=found.id if found else None)
        return await previews(app.engine.library.graph(personality), turn, app.engine.ports)

    found = with_app(work, works=False)  # a job may ask a model
    if as_json:
        click.echo(json.dumps([_values(preview) for preview in found], ensure_ascii=False, indent=2))
    else:
        _show(found)


def _values(preview: Preview) -> dict[str, Any]:
    from cozy.interfaces.plain_values import plain

    return {
        "stage": preview.stage,
        "tokens": preview.prompt.tokens,
        "sections": plain(preview.prompt.sections),
        "messages": [
            {
                "section": m.section,
                "role": m.message.role,
                "content": m.message.content,
                "tool_calls": plain(m.message.tool_calls),
                "pieces": plain(m.pieces),
            }
            for m in preview.messages
        ],
        "tools": json.loads(preview.tools or "[]"),
        "asks": plain(preview.asks),
        "budget": plain(preview.budget),
        "degraded": plain(preview.degraded),
        "unasked": list(preview.unasked),
    }


def _show(found: list[Preview]) -> None:
    from rich.console import Console

    from cozy.interfaces.repl.prompt_view import preview_view
    from cozy.interfaces.repl.wording import degraded_lines

    if not found:
        click.echo("this personality has no `render_prompt` stage", err=True)
    console = Console(width=None if sys.stdout.isatty() else UNLIMITED)
    for preview in found:
        if len(found) > 1:
            console.print(f"prompt of {preview.stage}", style="bold", highlight=False, markup=False)
        console.print(preview_view(preview, console.width - 1), highlight=False, markup=False)
        for line in degraded_lines(preview.degraded):
            click.echo(f"warning: {line}", err=True)
        if preview.unasked:
            names = ", ".join(f"`{name}`" for name in preview.unasked)
            click.echo(
                f"note: {names} would ask a model first; here it is as if it had said nothing", err=True
            )
