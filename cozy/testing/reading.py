"""A fixture's file → a fixture, and the compiled personality that it speaks to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.adapters.scripted_engines import ScriptedToolbox, ToolScript
from cozy.adapters.toolboxes import Toolboxes
from cozy.dsl.check import CheckedPersonality, check
from cozy.dsl.diagnostics import Diagnostic, error, in_order
from cozy.dsl.parse import Document, parse_file
from cozy.dsl.project import Loaded, Project
from cozy.dsl.spec import PersonalitySpec, PipelineSpec
from cozy.dsl.validate import validate
from cozy.dsl.world import World
from cozy.engine.compile import compile_graph
from cozy.engine.graph import Graph
from cozy.errors import ConfigError, ToolError, did_you_mean
from cozy.ports.tools import Toolbox, ToolSpec
from cozy.stages.tool_arguments import compile_tools
from cozy.testing.fixture import Fixture, MessageSpec

MODEL = "scripted/model"
"""What answers where a personality names no model."""
INCONSISTENT = "CZ100"
"""The code of a fixture that contradicts itself, or names what is not there."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The built-in tools and those of the fixture."""

    toolbox: Toolbox
    scripted: ScriptedToolbox


@dataclass(frozen=True, slots=True)
class Case:
    """A fixture that is fit to run."""

    path: Path
    document: Document
    fixture: Fixture
    graph: Graph
    tools: Tools


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A fixture that is not, and why."""

    path: Path
    diagnostics: tuple[Diagnostic, ...]
    texts: Mapping[str, str]
    """Of the files that the diagnostics are about, by name."""


def read_case(path: Path, name: str, project: Project) -> Case | Unreadable:
    """The fixture at `path`, shown as `name`; personalities and pipelines that it names are the project's."""
    parsed = parse_file(path, name)
    texts = {**project.texts, name: parsed.text}
    document, found = parsed.document, list(parsed.diagnostics)
    if document is None or found:
        return Unreadable(path, in_order(found), texts)
    validated = validate(Fixture, document.data, document, "a fixture")
    found += validated.diagnostics
    fixture = validated.value
    if fixture is None or found:
        return Unreadable(path, in_order(found), texts)
    found += _contradictions(fixture, document)
    loaded = _personality(fixture, document, project, found)
    tools = _tools(fixture, document, found)
    if loaded is None or tools is None or found:
        return Unreadable(path, in_order(found), texts)
    specs = tools.toolbox.specs()
    checked = _checked(loaded, project, specs, found)
    if checked is None:
        return Unreadable(path, in_order(found), texts)
    # errors of templates name the file; snapshots must not tell where one stood when they were written
    checked = replace(checked, file=Path(checked.file).name)
    return Case(path, document, fixture, compile_graph(checked, specs, MODEL), tools)


def _tools(fixture: Fixture, document: Document, found: list[Diagnostic]) -> Tools | None:
    """The built-in tools, with a clock and dice of the fixture's own, and those that it adds."""
    builtin = BuiltinTools(timezone="UTC", now=lambda: fixture.now, chance=Random(0))
    scripted = ScriptedToolbox(ToolScript(tools=fixture.tools))
    try:
        compile_tools(scripted.specs())
        return Tools(Toolboxes(builtin, scripted), scripted)
    except (ConfigError, ToolError) as problem:
        found.append(error(INCONSISTENT, problem.message, document.key("tools"), problem.hint))
        return None


def _personality(
    fixture: Fixture, document: Document, project: Project, found: list[Diagnostic]
) -> Loaded[PersonalitySpec] | None:
    """The project's, or the one that stands in the fixture."""
    if isinstance(fixture.personality, str):
        loaded = project.personalities.get(fixture.personality)
        if loaded is None:
            hint = did_you_mean(fixture.personality, project.personalities)
            place = document.value("personality")
            found.append(error(INCONSISTENT, f"there is no personality `{fixture.personality}`", place, hint))
        return loaded
    inner = _inner(document, "personality")
    data = {"id": "fixture", "name": "Fixture", **inner.data}
    validated = validate(PersonalitySpec, data, inner, "a personality")
    found += validated.diagnostics
    return Loaded(validated.value, inner, validated.sound) if validated.value else None


def _inner(document: Document, key: str) -> Document:
    """The mapping at `key` as a document of its own, whose places are those of the whole."""
    positions = {path[1:]: at for path, at in document.positions.items() if path[0] == key and len(path) > 1}
    return Document(document.path, document.name, document.text, document.data[key], positions)


def _checked(
    loaded: Loaded[PersonalitySpec], project: Project, tools: Sequence[ToolSpec], found: list[Diagnostic]
) -> CheckedPersonality | None:
    spec = loaded.spec
    pipelines: dict[str, Loaded[PipelineSpec]] = {}
    if isinstance(spec.pipeline, str) and spec.pipeline in project.pipelines:
        pipelines[spec.pipeline] = project.pipelines[spec.pipeline]
    files = {loaded.document.name, *(pipeline.document.name for pipeline in pipelines.values())}
    alone = Project(
        {spec.id: loaded},
        pipelines,
        project.pipeline_names,
        project.texts,
        tuple(d for d in project.diagnostics if d.place.file in files),
    )
    names = frozenset(tool.name for tool in tools)
    servers = frozenset(name.split("/")[1] for name in names if name.startswith("mcp/"))
    result = check(alone, World(MODEL, tools=names, tool_servers=servers))
    if result.personalities:
        return result.personalities[0]
    found += (d for d in result.diagnostics if d.severity == "error")
    return None


# -- what the models cannot tell -----------------------------------------------------------------------


def _contradictions(fixture: Fixture, document: Document) -> Iterator[Diagnostic]:
    for i, message in enumerate(fixture.history):
        yield from _speakers(message, document, ("history", i))
    for i, turn in enumerate(fixture.turns):
        for j, message in enumerate(turn.history):
            yield from _speakers(message, document, ("turns", i, "history", j))
        for key in ("retry_of", "resumes"):
            if (other := getattr(turn, key)) is not None and other > i:
                yield error(
                    INCONSISTENT, f"there is no turn {other} before this one", document.value("turns", i, key)
                )
        for j, message in enumerate(turn.results):
            yield from _speakers(message, document, ("turns", i, "results", j))
        if turn.together and i == 0:
            place = document.value("turns", i, "together")
            yield error(INCONSISTENT, "there is no turn before this one", place)
    if fixture.knowledge and fixture.knowledge.passages and fixture.knowledge.documents:
        yield error(
            INCONSISTENT,
            "passages are found in place of a search of documents",
            document.key("knowledge", "documents"),
            "keep one of the two",
        )


def _speakers(message: MessageSpec, document: Document, path: tuple[str | int, ...]) -> Iterator[Diagnostic]:
    speakers = message.model_fields_set & {"user", "assistant", "tool"}
    if len(speakers) != 1:
        said = "nobody says this" if not speakers else "only one can say this"
        yield error(
            INCONSISTENT,
            said,
            document.key(*path),
            "write one of `user`, `assistant` and `tool`, with its text",
        )
