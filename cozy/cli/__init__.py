"""`cozy`: each command's module is loaded when the command is called, so that help stays quick."""

from __future__ import annotations

import logging
import sys
from importlib import import_module

import click

import cozy

# name → (module, attribute, help): help stands here so that listing commands loads none of them
COMMANDS: dict[str, tuple[str, str, str]] = {
    "chat": ("chat", "chat", "Talk to a personality"),
    "serve": ("serve", "serve", "Answer over HTTP: OpenAI's API and CozyChat's"),
    "new": ("new", "new", "Write a commented personality to start from"),
    "check": ("check", "check", "Find every problem in personalities and pipelines"),
    "explain": ("explain", "explain", "Tell the long story of a diagnostic code"),
    "render": ("render", "render", "Print the exact prompt, without calling a model"),
    "graph": ("graph", "graph", "Draw a personality's stages"),
    "test": ("test", "test", "Run pipeline fixtures and show what changed"),
    "knowledge": ("knowledge", "knowledge", "Add, list, search and remove documents"),
    "memory": ("memory", "memory", "List, search, edit and forget what users have told"),
    "tokens": ("tokens", "tokens", "Show how tokens are counted, install an encoding"),
    "config": ("config", "config", "Show and check the configuration"),
    "user": ("user", "user", "Make, list and change users"),
    "key": ("key", "key", "Make, list and revoke API keys"),
    "doctor": ("doctor", "doctor", "Tell whether this installation is fit, and its engines quick enough"),
    "outbox": ("outbox", "outbox", "List, show, retry and drop jobs that turns have left"),
    "db": ("db", "db", "Look after the database"),
    "schema": ("schema", "schema", "Write the JSON Schemas for editors"),
}


class LazyGroup(click.Group):
    """Finds a command by name and imports its module only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        return getattr(import_module(f"cozy.cli.{module}"), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from cozy.errors import did_you_mean

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command `{args[0]}`; {did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(cozy.__version__, prog_name="cozy")
def app() -> None:
    """A chat engine whose personalities are pipelines written in YAML."""


def main() -> None:
    """Run the command line; an error that a user can meet is told in words, with exit code 1."""
    from cozy.errors import ConfigErrors, CozyError, PersonalityError

    if logging.lastResort is not None:  # where no log is set up: commands tell by themselves what goes wrong
        logging.lastResort.setLevel(logging.ERROR)
    try:
        app()
    except (ConfigErrors, PersonalityError) as error:  # these say by themselves what they are
        click.echo(str(error), err=True)
        sys.exit(1)
    except CozyError as error:
        from cozy.interfaces.repl.safe import safe

        click.echo(safe(f"error: {error}"), err=True)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.exit(141)
