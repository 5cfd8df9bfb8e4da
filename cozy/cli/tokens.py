"""`cozy tokens`: how tokens are counted, and the files that make it exact."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cozy.adapters.encoding_files import EncodingFiles

_MODELS = {
    "o200k_base": "gpt-4o, gpt-4.1, gpt-5, the o series, gpt-oss",
    "cl100k_base": "gpt-4, gpt-4-turbo, gpt-3.5-turbo",
}


@click.group(invoke_without_command=True)
@click.pass_context
def tokens(context: click.Context) -> None:
    """Show how tokens are counted, and install what makes the counts exact.

    Without a command: each encoding, whether its file is here, and where.
    """
    if context.invoked_subcommand is None:
        _show(_files())


@tokens.command()
@click.argument("text")
@click.option("--model", help="Count as `provider/model` does; the installation's default if not given.")
def count(text: str, model: str | None) -> None:
    """Count the tokens of TEXT, or of standard input for `-`."""
    import anyio

    from cozy.adapters.token_counter import TikTokenCounter
    from cozy.app import named_encodings
    from cozy.configuration import load_settings

    settings = load_settings()
    model = model or settings.model.default
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    counter = TikTokenCounter(_files(), named_encodings(settings))
    anyio.run(counter.load, model)
    click.echo(counter.count(text, model))
    click.echo(f"{'exact' if counter.is_exact(model) else 'estimated'} for `{model}`", err=True)


@tokens.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def install(path: Path) -> None:
    """Install encoding files from PATH: such a file, or a zip or wheel that holds some.

    The wheels of llama-index-core and litellm hold both; `pip download --no-deps` fetches one of them.
    """
    for written in _files().install(path):
        click.echo(written)


def _files() -> EncodingFiles:
    from cozy.adapters.encoding_files import EncodingFiles
    from cozy.configuration import load_settings

    return EncodingFiles(load_settings().paths.data)


def _show(files: EncodingFiles) -> None:
    missing = False
    for file in files.known.values():
        path = files.whole(file.encoding)
        missing |= path is None
        click.echo(f"{file.encoding}: {'exact' if path else 'estimated'}")
        click.echo(f"  models  {_MODELS[file.encoding]}")
        click.echo(f"  file    {path or 'none'}")
        for damaged in files.damaged(file.encoding):
            click.echo(f"  damaged {damaged}")
        if path is None:
            for folder in files.folders:
                click.echo(f"  looked  {folder / file.name}")
    click.echo("other models: estimated, corrected by what their servers count")
    if missing:
        click.echo("hint: a file makes the counts exact, see `cozy tokens install --help`", err=True)
