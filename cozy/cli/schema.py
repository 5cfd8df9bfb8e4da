"""`cozy schema`: JSON Schemas for editors."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("kind", type=click.Choice(["personality", "pipeline"]), required=False)
@click.option("--write", is_flag=True, help="Write both into the folder `schemas/`.")
def schema(kind: str | None, write: bool) -> None:
    """Print the JSON Schema of a KIND of file, or write both for your editor.

    A file tells the editor of its schema in its first line:
    `# yaml-language-server: $schema=../schemas/personality.schema.json`
    """
    from cozy.dsl.schema import schemas

    if write:
        folder = Path("schemas")
        folder.mkdir(exist_ok=True)
        for name, text in schemas().items():
            (folder / name).write_text(text, "utf-8")
            click.echo(f"wrote {folder / name}", err=True)
        return
    if kind is None:
        raise click.UsageError("name a kind, `personality` or `pipeline`, or say `--write`")
    click.echo(schemas()[f"{kind}.schema.json"], nl=False)
