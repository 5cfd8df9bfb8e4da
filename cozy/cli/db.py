"""`cozy db`: the database's tables."""

from __future__ import annotations

import click


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Bring the database up to this version's tables."""
    import anyio

    from cozy.configuration import load_settings
    from cozy.storage import migrate

    async def work(url: str) -> None:
        before, head = await migrate.current(url)
        if await migrate.upgrade(url):
            click.echo(f"upgraded from {before or 'nothing'} to {head}", err=True)
        else:
            click.echo(f"up to date at {head}", err=True)

    anyio.run(work, load_settings().database.url)


@db.command()
def status() -> None:
    """Tell which revision the database has; exits with 1 where it is not this version's."""
    import anyio

    from cozy.configuration import load_settings
    from cozy.storage import migrate

    have, _ = anyio.run(migrate.current, load_settings().database.url)
    click.echo(have or "empty")
    if problem := migrate.unfit(have):
        click.echo(problem, err=True)
        raise SystemExit(1)
