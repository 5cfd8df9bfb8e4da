"""`cozy config`: what is configured, where it comes from, and whether it will do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from cozy.configuration import Loaded


@click.group()
def config() -> None:
    """Show and check the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every value's type kept.")
def show(as_json: bool) -> None:
    """Print every value and where it comes from: cozy.toml, an environment variable, or the default.

    Secrets are masked. Relative paths and `auto` are shown as what they come to.
    """
    from cozy.cli.tables import columns
    from cozy.configuration import load

    loaded = load()
    for words in loaded.warnings:
        click.echo(f"warning: {words}", err=True)
    values = list(rows(loaded))
    settings = loaded.settings
    if as_json:
        told = {
            "version": settings.version,
            "file": str(settings.file) if settings.file else None,
            "values": {key: {"value": value, "from": origin} for key, value, origin in values},
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    shown = [(key, _as_text(value), origin) for key, value, origin in values]
    click.echo(columns([("key", "value", "from"), *shown]))
    click.echo(f"\nfile: {settings.file or 'none'}\nversion: {settings.version}", err=True)


def rows(loaded: Loaded) -> Iterator[tuple[str, Any, str]]:
    """Every key with its value, secrets masked, and where it comes from."""
    from cozy.configuration.file import leaves
    from cozy.configuration.places import shown_key
    from cozy.configuration.secrets import masked

    dumped = loaded.settings.model_dump(mode="json", exclude={"root", "file"})
    for key, value in leaves(dumped):
        name = shown_key(key)
        yield name, masked(key, value), loaded.origins.get(name, "default")


def _as_text(value: Any) -> str:
    if value is None or value in ("", []):
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[Any]", value)))
    return str(value).lower() if isinstance(value, bool) else str(value)


@config.command()
def check() -> None:
    """Look for everything that would keep `cozy serve` from starting; exits with 1 where there is anything.

    Personalities, the database, signing keys and Redis are looked at as the server would.
    """
    from cozy.configuration import examine

    if not is_fit(examine()):
        sys.exit(1)
    click.echo("ready to serve", err=True)


def is_fit(loaded: Loaded) -> bool:
    """Whether the server could do its work; whatever is wrong or odd is told."""
    import anyio

    from cozy.startup import findings

    found = anyio.run(findings, loaded)
    for words in found.warnings:
        click.echo(f"warning: {words}", err=True)
    for words in found.problems:
        click.echo(f"error: {words}", err=True)
    return not found.problems
