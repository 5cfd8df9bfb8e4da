"""Writes docs/reference from the code: `python docs/generate.py`. A test fails while it is stale."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cozy import cli, errors, events
from cozy.dsl.explain import explanations
from cozy.dsl.spec import EnginesSpec, PersonalitySpec, PipelineSpec
from cozy.interfaces.http.app import endpoints
from cozy.interfaces.http.chat import Chat
from cozy.interfaces.http.metrics import Metrics
from cozy.ports.context import EngineRecord
from cozy.service import extensions
from cozy.settings import (
    BRINGS,
    ENGINE_URLS,
    KNOWN_PROVIDERS,
    CardSettings,
    EngineSettings,
    ProviderSettings,
    Settings,
)
from cozy.stages.base import StageSettings
from cozy.stages.intent_rules import IntentRule
from cozy.stages.model import ModelSettings
from cozy.stages.registry import StageInfo, stage_types
from cozy.stages.templates import VARIABLES

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- written by docs/generate.py from the code: change it there -->\n"


def pages() -> Mapping[str, str]:
    """File name → text, for every generated page."""
    return {
        "stages.md": "\n".join(stages()),
        "personality.md": "\n".join(personality()),
        "configuration.md": "\n".join(configuration()),
        "events.md": "\n".join(event_page()),
        "commands.md": "\n".join(commands()),
        "diagnostics.md": "\n".join(diagnostics()),
        "http.md": "\n".join(http()),
        "engines.md": "\n".join(engines()),
    }


def engines() -> Iterator[str]:
    yield NOTE
    yield "# Engines\n"
    yield "What engines of the personal context can do wrong, and how it is told."
    yield "[Engines](../concepts/engines.md) says what stands around them.\n"
    yield "## What can go wrong\n"
    yield "| code | what | counts against the engine | `retries` and the outbox try again |"
    yield "|---|---|---|---|"
    for kind in (
        errors.EngineInitError,
        errors.EngineTimeout,
        errors.EngineAuthError,
        errors.EngineRateLimited,
        errors.EngineInvalidRequest,
        errors.EngineUnavailable,
        errors.EngineCircuitOpen,
    ):
        again = "yes" if kind.retryable else "the outbox alone"
        if kind is errors.EngineInvalidRequest:
            again = "no"
        yield f"| `{kind.code}` | {inspect.getdoc(kind)} | {'yes' if kind.counts else 'no'} | {again} |"
    yield ""
    yield "A question that is cancelled, because its client left or the turn ended, counts for nothing."
    yield "A write that is late does not count: an engine may be slow to learn and quick to answer."
    yield "An error that none of these fits is a bug: it is in the log, and counts as `ENGINE_UNAVAILABLE`.\n"
    yield "## What a turn has on record\n"
    yield from table_of(EngineRecord)


def table_of(cls: type[Any]) -> Iterator[str]:
    """The fields of a dataclass with what their docstrings say."""
    texts = field_texts(Path(inspect.getfile(cls)))
    yield "| field | what |"
    yield "|---|---|"
    for name in cls.__dataclass_fields__:
        yield f"| `{name}` | {cell(texts.get((cls.__name__, name), ''))} |"


def http() -> Iterator[str]:
    yield NOTE
    yield "# HTTP routes\n"
    yield "`GET /openapi.json` has every body and answer, `GET /docs` shows it as a page."
    yield "Who may call: `anyone`, or a bearer whose key or token has that scope.\n"
    declared = endpoints(Chat.complete, Metrics(), extensions())  # pyright: ignore[reportArgumentType]
    for tag in dict.fromkeys(e.tag for e in declared):
        yield f"## {tag}\n"
        yield "| | | who | |\n|---|---|---|---|"
        for e in declared:
            if e.tag == tag:
                who = "chat" if e.authenticates else e.access
                yield f"| {e.method} | `{e.path}` | {who} | {e.summary} |"
        yield ""


def stages() -> Iterator[str]:
    yield NOTE
    yield "# Stage types\n"
    yield "Every stage takes these settings:\n"
    yield from table(StageSettings, leave_out=())
    for info in stage_types().values():
        yield f"## `{info.name}`\n"
        yield info.description + "\n"
        yield f"Takes {takes(info)}, gives `{info.gives.__name__}`."
        if not info.has_empty:
            yield "It has no empty value: neither `when` nor `on_error: degrade` is allowed."
        yield ""
        own = [name for name in info.settings.model_fields if name not in StageSettings.model_fields]
        if own:
            yield from table(info.settings, leave_out=tuple(StageSettings.model_fields))
        if info.name == "intent":
            yield "Below `rules` each label has these, none of them required:\n"
            yield from table(IntentRule)
        yield fields_of(info.gives)
        yield ""


def takes(info: StageInfo) -> str:
    words = {"one": "one `{}`", "optional": "one `{}` if there is one", "many": "every `{}` above it"}
    needs = [
        " or, where nothing gives one, ".join(words[count].format(t.__name__) for t, count in need.types)
        for need in info.needs
    ]
    return " and ".join(needs) or "nothing of other stages"


def fields_of(cls: type[Any]) -> str:
    names = [*getattr(cls, "__dataclass_fields__", {})]
    names += [n for n, v in vars(cls).items() if isinstance(v, property)]
    return f"Templates may read of it: {', '.join(f'`{n}`' for n in names)}." if names else ""


def diagnostics() -> Iterator[str]:
    yield NOTE
    yield "# Diagnostics\n"
    yield "What `cozy check` says, by code; `cozy explain CODE` shows the same in the terminal.\n"
    for story in explanations().values():
        yield story.markdown


def personality() -> Iterator[str]:
    yield NOTE
    yield "# Personality files\n"
    yield from table(PersonalitySpec)
    yield "## `model`\n"
    yield from table(ModelSettings)
    yield "## `engines`\n"
    yield from table(EnginesSpec)
    yield "## Pipeline files\n"
    yield from table(PipelineSpec)
    yield "## What templates may name\n"
    yield "Beside the stages above them, templates may name these."
    yield "How steady each is decides where it may stand: see [prompt order](../concepts/prompt-order.md).\n"
    yield "| name | steadiness |\n|---|---|"
    words = {"stable": "the same on every turn", "slow": "changes now and then", "turn": "new every turn"}
    for name, steadiness in VARIABLES.items():
        yield f"| `{name}` | {words[steadiness]} |"
    yield ""


def configuration() -> Iterator[str]:
    yield NOTE
    yield "# Configuration\n"
    yield (
        "What `cozy.toml` says goes before the environment, the environment before the defaults. "
        "The environment's name of `database.url` is `COZY_DATABASE_URL`, and so on. "
        "`${NAME}` and `${NAME:-default}` inside `cozy.toml` take a value from the environment. "
        "Nothing starts with a value that cannot be: all of them are told at once, each with its line; "
        "a `COZY_…` variable that looks like a setting and is none is warned of.\n"
    )
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield f"## `[{name}]`\n"
            yield f"{inspect.getdoc(model)}\n"
            yield from table(model)
    yield "## `[providers.NAME]`\n"
    yield f"{inspect.getdoc(ProviderSettings)}\n"
    yield from table(ProviderSettings)
    yield "These are known by name and need no entry:\n"
    yield "| name | address | key | model of `auto` |\n|---|---|---|---|"
    for name, (url, key, model) in KNOWN_PROVIDERS.items():
        cells = (f"`{value}`" if value else "none" for value in (name, url, key, model))
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "## `[providers.NAME.models.MODEL]`\n"
    yield f"{inspect.getdoc(CardSettings)}\n"
    yield from table(CardSettings)
    yield "## `[engines.NAME]`\n"
    yield f"{inspect.getdoc(EngineSettings)}\n"
    yield from table(EngineSettings)
    yield "| kind | brings | address where `url` is empty |\n|---|---|---|"
    for kind, brings in BRINGS.items():
        yield f"| `{kind}` | {brings} | `{ENGINE_URLS[kind]}` |"
    yield ""


def event_page() -> Iterator[str]:
    yield NOTE
    yield "# Events\n"
    yield f"{(events.__doc__ or '').strip().partition(chr(10))[2].strip()}\n"
    texts = field_texts(Path(events.__file__))
    for event in get_args(events.Event):
        yield f"## `{event.__name__}`\n"
        yield f"{inspect.getdoc(event)}\n"
        yield "| field | type | |\n|---|---|---|"
        for name, hint in get_type_hints(event).items():
            yield f"| `{name}` | {cell(shown_type(hint))} | {cell(texts.get((event.__name__, name), ''))} |"
        yield ""


def commands() -> Iterator[str]:
    yield NOTE
    yield "# Commands\n"
    for name in cli.COMMANDS:
        command = cli.app.get_command(click.Context(cli.app), name)
        if command is not None:
            yield from command_help(command, f"cozy {name}", level=2)


def command_help(command: click.Command, path: str, *, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=path, max_content_width=90, terminal_width=90)
    yield f"{'#' * level} `{path}`\n"
    yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (sub := command.get_command(context, name)) is not None:
                yield from command_help(sub, f"{path} {name}", level=level + 1)


def table(model: type[BaseModel], *, leave_out: tuple[str, ...] = ("root", "file")) -> Iterator[str]:
    yield "| key | type | default | |\n|---|---|---|---|"
    schema = model.model_json_schema(mode="validation")
    for name, field in model.model_fields.items():
        if name in leave_out:
            continue
        key = field.alias or name
        kind = shown_schema(schema["properties"][key], schema.get("$defs", {}))
        yield f"| `{key}` | {cell(kind)} | {cell(shown_default(field))} | {cell(field.description or '')} |"
    yield ""


def shown_default(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default == "" or default in ((), {}) or isinstance(default, BaseModel):
        return ""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, tuple):
        return ", ".join(f"`{d}`" for d in default)
    return f"`{default}`"


def shown_schema(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return shown_schema(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "enum" in schema:
        return " or ".join(f"`{v}`" for v in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kinds = [shown_schema(s, defs) for s in schema[key] if s.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        return f"list of {shown_schema(schema.get('items', {}), defs)}"
    if schema.get("pattern", "").endswith("(ms|s|m)$"):
        return "duration"
    bounds = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
    limits = [words.format(f"{schema[k]:g}") for k, words in bounds.items() if k in schema]
    name = {"object": "mapping", "string": "text"}.get(schema.get("type", ""), schema.get("type", "any"))
    return f"{name} {', '.join(limits)}".strip()


def shown_type(hint: Any) -> str:
    text = inspect.formatannotation(hint)
    for word in ("cozy.turn.", "cozy.usage.", "typing.", "collections.abc.", "uuid."):
        text = text.replace(word, "")
    return f"`{text}`"


def field_texts(path: Path) -> Mapping[tuple[str, str], str]:
    """(class, field) → the words beneath the field."""
    found: dict[tuple[str, str], str] = {}
    for cls in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(cls, ast.ClassDef):
            continue
        for field, words in zip(cls.body, cls.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(words, ast.Expr)
                and isinstance(words.value, ast.Constant)
            ):
                found[cls.name, field.target.id] = str(words.value.value)
    return found


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text.rstrip() + "\n", encoding="utf-8")
        click.echo(f"wrote docs/reference/{name}", err=True)


if __name__ == "__main__":
    main()
