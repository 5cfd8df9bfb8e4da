"""`cozy check`: every problem of every file in one run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="For people, for programs, for code hosts.",
)
def check(paths: tuple[Path, ...], form: Literal["text", "json", "sarif"]) -> None:
    """Find every problem in personalities and pipelines.

    PATHS are files, folders of them, or project folders; without any, all that the configuration names are
    checked. Exits with 1 where there is an error; warnings alone exit with 0.
    """
    import json

    from cozy.app import check_all
    from cozy.configuration import load_settings
    from cozy.dsl.reports import as_json, as_sarif

    result = check_all(load_settings(), paths)
    found = result.diagnostics
    match form:
        case "json":
            click.echo(json.dumps(as_json(found), ensure_ascii=False, indent=2))
        case "sarif":
            click.echo(json.dumps(as_sarif(found, result.texts), ensure_ascii=False, indent=2))
        case "text":
            if found:
                # without a terminal click takes the colours out again
                click.echo(_coloured(result.text()), color=False if os.environ.get("NO_COLOR") else None)
    click.echo(_summary(len(result.texts), result.errors, len(found) - result.errors), err=True)
    sys.exit(1 if result.errors else 0)


_COLOURS = {"error": "red", "warning": "yellow", "note": "blue", "hint": "cyan"}


def _coloured(text: str) -> str:
    """The first word of a line, and carets, in colour."""
    text = re.sub(
        r"^(error|warning|note|hint)(?=: )",
        lambda word: click.style(word[1], fg=_COLOURS[word[1]], bold=True),
        text,
        flags=re.MULTILINE,
    )
    return re.sub(
        r"(?<=\| )( *)(\^+)$", lambda m: m[1] + click.style(m[2], bold=True), text, flags=re.MULTILINE
    )


def _summary(files: int, errors: int, warnings: int) -> str:
    """`5 files checked: 1 error, 2 warnings`."""

    def counted(number: int, noun: str) -> str:
        return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

    parts = [counted(n, noun) for n, noun in ((errors, "error"), (warnings, "warning")) if n]
    return f"{counted(files, 'file')} checked: {', '.join(parts) or 'all fine'}"
