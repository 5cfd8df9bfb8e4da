"""`cozy graph`: a personality's stages, drawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from cozy.engine.graph import Graph


@click.command()
@click.argument("name")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "json", "svg"]),
    default="text",
    show_default=True,
    help="For a terminal, for Markdown pages, for programs, for a browser.",
)
def graph(name: str, form: Literal["text", "mermaid", "json", "svg"]) -> None:
    """Draw the stages of the personality NAME.

    Stages side by side may run at the same time. In each box: its id, its type, how long it may take, and
    whether its failure fails the turn or degrades it.

    The JSON has `nodes` in the order of the pipeline (`id`, `type`, `level`, `timeout_s`, `on_error`,
    `retries`, `when`, `speaks`, the `models` of an `llm`, the `engine` that a `fetch_context` asks, the
    `settings` that were set) and `edges` (`source`, `target`, `kind`, `implied`). Nodes of one level may run
    side by side. An edge `takes` the value or only `waits`; an implied one is not drawn, for a longer way
    leads there too.
    """
    from cozy.engine.drawing import as_json, as_mermaid
    from cozy.engine.drawing_svg import as_svg
    from cozy.engine.drawing_text import as_text

    compiled = _compiled(name)
    match form:
        case "text":
            click.echo(as_text(compiled, shutil.get_terminal_size((100, 24)).columns))
        case "mermaid":
            click.echo(as_mermaid(compiled), nl=False)
        case "json":
            click.echo(json.dumps(as_json(compiled), ensure_ascii=False, indent=2))
        case "svg":
            click.echo(as_svg(compiled), nl=False)


def _compiled(name: str) -> Graph:
    """The graph of one personality. Raises NotFound, or PersonalityError where it does not pass the check."""
    from cozy.adapters.builtin_tools import BuiltinTools
    from cozy.app import check_all, engines_of
    from cozy.configuration import load_settings
    from cozy.engine.compile import compile_graph
    from cozy.errors import NotFound, PersonalityError

    settings = load_settings()
    result = check_all(settings)
    for checked in result.personalities:
        if checked.spec.id == name:
            specs = BuiltinTools().specs()
            return compile_graph(checked, specs, settings.model.default, engines_of(settings))
    if any(d.severity == "error" and Path(d.place.file).stem == name for d in result.diagnostics):
        raise PersonalityError(f"`{name}` does not pass the check:\n\n{result.text()}")
    raise NotFound("personality", name, known=[checked.spec.id for checked in result.personalities])
