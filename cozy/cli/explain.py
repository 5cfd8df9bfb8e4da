"""`cozy explain`: the long story of a diagnostic code."""

from __future__ import annotations

import sys

import click


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Tell the long story of a diagnostic code; without one, list them all."""
    from cozy.dsl.explain import explanation, explanations

    if code is None:
        for story in explanations().values():
            click.echo(f"{story.code}  {story.title}")
        return
    story = explanation(code)
    if not sys.stdout.isatty():
        click.echo(story.markdown, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(width=min(Console().width, 100)).print(Markdown(story.markdown))
