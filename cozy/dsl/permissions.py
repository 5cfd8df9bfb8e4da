"""Models, tools, engines and datasets that a personality names, and those that an installation has."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from cozy.dsl.diagnostics import Diagnostic, Place, error, warning
from cozy.dsl.parse import Document, KeyPath
from cozy.dsl.spec import EnginesSpec, PersonalitySpec
from cozy.dsl.wording import any_of, quoted
from cozy.dsl.world import World
from cozy.dsl.written import Entry, Layer, Written
from cozy.errors import did_you_mean
from cozy.stages.base import EMBEDDED
from cozy.stages.fetch_context import FetchContextSettings
from cozy.stages.intent import IntentSettings
from cozy.stages.llm import LlmSettings
from cozy.stages.model import ModelSettings

AUTO = "auto"

NOT_ALLOWED = frozenset({"CZ093", "CZ096"})
"""What is wrong with nothing but the configuration's leave."""


@dataclass(frozen=True, slots=True)
class Named:
    """A name, and where it is written."""

    name: str
    place: Place


def of_personality(spec: PersonalitySpec, document: Document, world: World) -> Iterator[Diagnostic]:
    """What a personality's own `model`, `engines` and `tools` ask for."""
    at = Written(spec.id, (Layer(document, (), document.data),), document.data)
    fallbacks = _items(spec.model.fallbacks, at, ("model", "fallbacks"))
    yield from _models(spec.model.name or AUTO, _first(spec.model, at), fallbacks, world)
    yield from _window(spec.model, at)
    yield from _engines(spec.engines, at, world)
    for i, tool in enumerate(_items(spec.tools, at, ("tools",))):
        yield from _tool(tool, spec.tools[:i], world)


def of_stage(entry: Entry, spec: PersonalitySpec | None, world: World) -> Iterator[Diagnostic]:
    """What a stage asks for; `spec` is the personality that has it, None where a pipeline stands alone."""
    model = spec and (spec.model.name or AUTO)
    knowledge = spec and (spec.engines.knowledge or world.knowledge)
    settings = entry.settings
    if isinstance(settings, LlmSettings):
        own = _items(settings.fallbacks, entry.at, ("fallbacks",))
        models = _items(settings.model.fallbacks, entry.at, ("model", "fallbacks"))
        first = settings.model.name or model
        yield from _models(first, _first(settings.model, entry.at), models, world)
        yield from _models(first, None, own, world)
        yield from _window(settings.model, entry.at)
    elif isinstance(settings, IntentSettings) and settings.model is not None:
        fallbacks = _items(settings.model.fallbacks, entry.at, ("model", "fallbacks"))
        yield from _models(settings.model.name or model, _first(settings.model, entry.at), fallbacks, world)
        yield from _window(settings.model, entry.at)
    elif isinstance(settings, FetchContextSettings):
        for dataset in _items(settings.datasets, entry.at, ("datasets",)):
            yield from _dataset(dataset, knowledge, world)


def _dataset(dataset: Named, engine: str | None, world: World) -> Iterator[Diagnostic]:
    """A dataset that is not there, or that the engine is not to be asked about; `engine` is None where a
    pipeline is looked at by itself."""
    if engine is not None and (searched := world.engine_datasets.get(engine)) is not None:
        if dataset.name not in searched:
            message = f"the engine `{engine}` does not search the dataset `{dataset.name}`"
            hint = did_you_mean(dataset.name, searched) or ""
            if not hint.endswith("?"):
                hint += f"; others are named in `cozy.toml`, as `datasets` of `[engines.{engine}]`"
            yield warning("CZ117", message, dataset.place, hint)
    elif world.datasets is not None and dataset.name not in world.datasets:
        hint = (
            did_you_mean(dataset.name, world.datasets) or "add it: `cozy knowledge add PATH --dataset NAME`"
        )
        yield warning("CZ098", f"there is no dataset `{dataset.name}` yet", dataset.place, hint)


# -- models --------------------------------------------------------------------------------------------


def _first(model: ModelSettings, at: Written) -> Named | None:
    name = model.name
    return None if name is None else Named(name, at.value("model", "name"))


def _items(names: Sequence[str], at: Written, path: KeyPath) -> list[Named]:
    return [Named(name, at.item(path, i)) for i, name in enumerate(names)]


def _models(
    first: str | None, written: Named | None, fallbacks: Sequence[Named], world: World
) -> Iterator[Diagnostic]:
    """The models to be tried; `first` is known even where it is not written here."""
    tried = set[str]() if first is None else {_real(first, world)}
    if written is not None:
        yield from _model(written, world)
    for fallback in fallbacks:
        name = _real(fallback.name, world)
        if name in tried:
            message = f"`{name}` has been tried already, when this fallback's turn comes"
            yield warning("CZ094", message, fallback.place, "name another model, or none")
        else:
            yield from _model(fallback, world)
        tried.add(name)


def _real(name: str, world: World) -> str:
    return world.default_model if name == AUTO else name


def _model(model: Named, world: World) -> Iterator[Diagnostic]:
    name = model.name
    if name == AUTO:
        return
    provider, slash, rest = name.partition("/")
    if not (slash and provider and rest) or re.search(r"\s", name):
        message = f"`{name}` is no model: a model is named `provider/model`"
        yield error("CZ059", message, model.place, _with_provider(provider, world))
    elif world.providers is not None and provider not in world.providers:
        message = f"there is no provider `{provider}`"
        place = replace(model.place, length=min(len(provider), model.place.length))
        yield error("CZ092", message, place, did_you_mean(provider, world.providers))
    elif not _allowed(name, world.allowed_models):
        message = f"the configuration does not allow the model `{name}`"
        yield error("CZ093", message, model.place, f"allowed: {', '.join(quoted(world.allowed_models))}")


def _with_provider(word: str, world: World) -> str:
    if word and (world.providers is None or word in world.providers) and "/" not in word:
        known = word in (world.providers or ())
        return f"for example `{word}/NAME`" if known else f"for example `openai/{word}`"
    if world.providers and word:
        return f"for example {any_of(f'`{provider}/{word}`' for provider in sorted(world.providers))}"
    return "for example `openai/NAME`"


def _window(model: ModelSettings, at: Written) -> Iterator[Diagnostic]:
    if model.max_tokens and model.context_tokens and model.max_tokens >= model.context_tokens:
        yield error(
            "CZ080",
            f"an answer of {model.max_tokens} tokens leaves no room for a prompt in a window of "
            f"{model.context_tokens}",
            at.value("model", "max_tokens"),
            "`context_tokens` is prompt and answer together",
        )


# -- engines -------------------------------------------------------------------------------------------


def _engines(spec: EnginesSpec, at: Written, world: World) -> Iterator[Diagnostic]:
    """Engines that are not there, or bring something else than they are named for."""
    if world.engines is None:
        return
    for kind in EnginesSpec.model_fields:
        name: str | None = getattr(spec, kind)
        known = {EMBEDDED, *world.engines.get(kind, ())}
        if name is None or name in known or at.written(("engines", kind)) is None:
            continue  # one under a misspelled key has been told of
        place = at.value("engines", kind)
        other = next((brought for brought, names in world.engines.items() if name in names), None)
        if other is not None:
            hint = f"for {kind} there is {any_of(quoted(sorted(known)))}"
            yield error("CZ111", f"the engine `{name}` brings {other}, not {kind}", place, hint)
        else:
            hint = did_you_mean(name, known) or ""
            if not hint.endswith("?"):
                hint += "; others are configured in `cozy.toml`, as `[engines.NAME]`"
            yield error("CZ110", f"there is no engine `{name}`", place, hint)


# -- tools ---------------------------------------------------------------------------------------------


def _tool(tool: Named, before: Collection[str], world: World) -> Iterator[Diagnostic]:
    name = tool.name
    if name.startswith("mcp/"):
        problem, hint = _wrong_mcp(name, world)
    else:
        found = any(fnmatchcase(known, name) for known in world.tools)
        problem, hint = (None, None) if found else (f"there is no tool `{name}`", _known_tools(name, world))
    if problem:
        yield error("CZ095", problem, tool.place, hint)
    elif not _allowed(name, world.allowed_tools):
        message = f"the configuration does not allow the tool `{name}`"
        yield error("CZ096", message, tool.place, f"allowed: {', '.join(quoted(world.allowed_tools))}")
    elif name in before:
        yield warning("CZ094", f"the tool `{name}` is named twice", tool.place)


def _wrong_mcp(name: str, world: World) -> tuple[str | None, str | None]:
    _, server, *rest = name.split("/", 2)
    if server != "*" and not any(rest):  # `mcp/*` is every tool of every server
        return f"`{name}` names no tool of the server `{server}`", f"`mcp/{server}/*` names all of them"
    if any(fnmatchcase(known, server) for known in world.tool_servers):
        return None, None
    hint = did_you_mean(server, world.tool_servers) or "a tool server is configured in `cozy.toml`"
    return f"there is no tool server `{server}`", hint


def _known_tools(name: str, world: World) -> str | None:
    servers = [f"mcp/{server}/*" for server in world.tool_servers]
    return did_you_mean(name, [*world.tools, *servers])


def _allowed(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
