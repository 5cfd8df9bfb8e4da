"""`cozy memory`: what users have told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cozy.cli.opened import EngineOf, engine_option, user_option, username, with_storage

if TYPE_CHECKING:
    from cozy.app import Stored
    from cozy.interfaces.repl.memory import Remembered, Remembrance
    from cozy.ports.memory import MemoryItem

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def memory() -> None:
    """List, search, edit and forget what users have told: memory (sentences) and profile (facts by topic)."""


async def _of(stored: Stored, user: str | None) -> Remembrance:
    from cozy.interfaces.repl.memory import Remembrance

    return Remembrance(stored.memories, stored.profiles, await stored.store.user(username(user)))


@memory.command("list")
@json_option
@user_option
@engine_option("memory", "profile")
def list_(as_json: bool, user: str | None, engine: EngineOf | None) -> None:
    """List everything that is remembered of a user."""
    from cozy.cli.tables import columns
    from cozy.interfaces.plain_values import plain

    async def work(stored: Stored) -> Remembered:
        return await (await _of(stored, user)).everything()

    known = with_storage(work, engine)
    if as_json:
        values = {"profile": plain(known.facts), "memory": plain(known.items)}
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    rows = [(f.id[:8], f"{f.topic}/{f.sub_topic}", f.content) for f in known.facts]
    rows += [(m.id[:8], "memory", m.text) for m in known.items]
    if rows:
        click.echo(columns(rows))
    else:
        click.echo("nothing is remembered of this user", err=True)


@memory.command()
@click.argument("query")
@click.option("--top", default=5, show_default=True, type=click.IntRange(1, 100), help="How many.")
@json_option
@user_option
@engine_option("memory")
def search(query: str, top: int, as_json: bool, user: str | None, engine: EngineOf | None) -> None:
    """Show what fits QUERY best, as a personality would be given it."""
    from cozy.cli.tables import columns
    from cozy.interfaces.plain_values import plain

    async def work(stored: Stored) -> Sequence[MemoryItem]:
        user_id = await stored.store.user(username(user))
        return await stored.memories.search(query, user_id=user_id, top_k=top)

    found = with_storage(work, engine)
    if as_json:
        click.echo(json.dumps(plain(found), ensure_ascii=False, indent=2))
    elif found:
        click.echo(columns([(m.id[:8], "" if m.score is None else f"{m.score:.2f}", m.text) for m in found]))
    else:
        click.echo("nothing found", err=True)


@memory.command()
@click.argument("id_", metavar="ID")
@click.argument("text")
@user_option
@engine_option("memory", "profile")
def edit(id_: str, text: str, user: str | None, engine: EngineOf | None) -> None:
    """Put TEXT in place of what is remembered under ID, or under the beginning of one."""

    async def work(stored: Stored) -> None:
        await (await _of(stored, user)).edit(id_, text)

    with_storage(work, engine)
    click.echo("changed", err=True)


@memory.command()
@click.argument("id_", metavar="ID")
@user_option
@engine_option("memory", "profile")
def forget(id_: str, user: str | None, engine: EngineOf | None) -> None:
    """Forget what is under ID, or under the beginning of one; `all` forgets memory and profile whole."""

    async def work(stored: Stored) -> int:
        return await (await _of(stored, user)).forget(id_)

    click.echo(f"forgotten: {with_storage(work, engine)}", err=True)
