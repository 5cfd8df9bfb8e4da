"""Every problem of every file in one run, and the personalities that have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from cozy.dsl import permissions
from cozy.dsl.checks import broken_rules
from cozy.dsl.diagnostics import Diagnostic, Place, Related, as_text, error, in_order, warning
from cozy.dsl.naming import cache_order, not_brought, not_shown, scope_of, wrong_names
from cozy.dsl.parse import Document
from cozy.dsl.project import Loaded, Project
from cozy.dsl.resolve import personality_texts, resolve, resolve_pipeline
from cozy.dsl.spec import PersonalitySpec, PipelineSpec
from cozy.dsl.wiring import Wired, Wiring, loops_tools, wire
from cozy.dsl.world import World
from cozy.dsl.written import Pipeline, Resolved
from cozy.errors import did_you_mean

MOST_NAMES = 20
"""How many wrong names of one template are told of."""


@dataclass(frozen=True, slots=True)
class CheckedPersonality:
    """A personality without errors, its stages merged and wired."""

    spec: PersonalitySpec
    file: str
    """Its file, as diagnostics show it."""
    pipeline: str
    """The name of its pipeline, or its own id where the pipeline stands in its file."""
    timeout_s: float
    """For the whole turn."""
    stages: tuple[Wired, ...]
    """In the order of the pipeline."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What is fit to run, and what is to be said of the files, sorted by place."""

    personalities: tuple[CheckedPersonality, ...]
    diagnostics: tuple[Diagnostic, ...]
    texts: Mapping[str, str]
    """The text of each file that was read, by the name that places use."""

    @property
    def errors(self) -> int:
        """How many of the diagnostics are errors."""
        return sum(d.severity == "error" for d in self.diagnostics)

    def text(self) -> str:
        """All that is to be said, for a terminal."""
        return as_text(self.diagnostics, self.texts)


def check(project: Project, world: World) -> CheckResult:
    """Every personality with its pipeline, and every pipeline by itself."""
    found = list(project.diagnostics)
    for name, loaded in project.pipelines.items():
        problems = _check_pipeline(Pipeline(name, loaded.spec, loaded.document), world)
        # a shipped one is nobody's who could change it: each personality that uses it is told
        lenient = _is_shipped(loaded.document, world)
        found += [d for d in problems if not (lenient and d.code in permissions.NOT_ALLOWED)]
    told = {_fact(d) for d in found}
    passed: list[CheckedPersonality] = []
    for loaded in project.personalities.values():
        checked, problems = _check_personality(loaded, project, world)
        if _is_shipped(loaded.document, world):
            problems = _left_out(loaded.spec, problems)
        # what is wrong with a pipeline is told of once, not once for each of its personalities
        found += [d for d in problems if _fact(d) not in told or d.place.file == loaded.document.name]
        told |= {_fact(d) for d in problems if d.place.file != loaded.document.name}
        passed += [checked] if checked else []
    return CheckResult(tuple(passed), in_order(found), project.texts)


def _fact(problem: Diagnostic) -> tuple[str, str, Place]:
    return problem.code, problem.severity, problem.place


def _is_shipped(document: Document, world: World) -> bool:
    return document.path.absolute().parent in world.shipped


def _left_out(spec: PersonalitySpec, problems: list[Diagnostic]) -> list[Diagnostic]:
    """The problems of a shipped personality: one warning where nothing but leave is what it lacks."""
    errors = [d for d in problems if d.severity == "error"]
    if not errors or any(d.code not in permissions.NOT_ALLOWED for d in errors):
        return problems
    first = in_order(errors)[0]
    hint = f"to have it, allow what it asks for, or write `{spec.id}.yaml` yourself; {first.hint}"
    told = warning(first.code, f"`{spec.id}` is left out: {first.message}", first.place, hint, first.related)
    return [*(d for d in problems if d.severity == "warning"), told]


def _check_pipeline(pipeline: Pipeline, world: World) -> Iterator[Diagnostic]:
    """A pipeline by itself, so that one that nobody uses is checked too."""
    resolved = resolve_pipeline(pipeline)
    yield from _stage_problems(wire(resolved, ()), None, world)


def _check_personality(
    loaded: Loaded[PersonalitySpec], project: Project, world: World
) -> tuple[CheckedPersonality | None, list[Diagnostic]]:
    spec, document = loaded.spec, loaded.document
    texts, found = personality_texts(spec, document)
    found += permissions.of_personality(spec, document, world)
    if not spec.prompt.strip():
        found.append(
            warning(
                "CZ099",
                f"`{spec.id}` has no `prompt`: the model is not told who it is",
                document.key("prompt"),
                "say it in a sentence or two",
            )
        )
    pipeline = _pipeline_of(loaded, project)
    resolved = resolve(spec, document, pipeline) if pipeline else None
    found += cache_order(texts, resolved)
    for text in texts:
        found += islice(wrong_names(text, scope_of(text, resolved)), MOST_NAMES)
    if resolved is None:
        return None, [*found, *_unknown_pipeline(loaded, project)]
    wiring = wire(resolved, texts)
    found += not_brought(texts, resolved)
    found += not_shown(texts, resolved)
    found += _tools_without_loop(spec, document, resolved)
    for problem in _stage_problems(wiring, spec, world):
        found.append(_by_way_of(loaded, problem))
    if not _is_sound(loaded, project) or any(d.severity == "error" for d in found):
        return None, found
    pipeline_name = resolved.pipeline.name
    return CheckedPersonality(spec, document.name, pipeline_name, resolved.timeout_s, wiring.stages), found


def _stage_problems(wiring: Wiring, spec: PersonalitySpec | None, world: World) -> Iterator[Diagnostic]:
    """What is wrong with the stages of a personality, or of a pipeline by itself."""
    resolved = wiring.resolved
    yield from resolved.diagnostics
    yield from wiring.diagnostics
    yield from broken_rules(wiring)
    for entry in resolved.entries:
        for text in entry.texts:
            yield from islice(wrong_names(text, scope_of(text, resolved, entry.id)), MOST_NAMES)
        yield from permissions.of_stage(entry, spec, world)


def _by_way_of(loaded: Loaded[PersonalitySpec], problem: Diagnostic) -> Diagnostic:
    """A problem that a pipeline's file has for one personality says for which."""
    if problem.place.file == loaded.document.name:
        return problem
    used = Related(f"as personality `{loaded.spec.id}` uses it", loaded.document.value("pipeline"))
    return replace(problem, related=(*problem.related, used))


# -- the pipeline of a personality ---------------------------------------------------------------------


def _pipeline_of(loaded: Loaded[PersonalitySpec], project: Project) -> Pipeline | None:
    """The pipeline that a personality names or holds; None where there is none to be read."""
    spec = loaded.spec
    if isinstance(spec.pipeline, PipelineSpec):
        return Pipeline(spec.id, spec.pipeline, loaded.document, ("pipeline",))
    shared = project.pipelines.get(spec.pipeline)
    return Pipeline(spec.pipeline, shared.spec, shared.document) if shared else None


def _unknown_pipeline(loaded: Loaded[PersonalitySpec], project: Project) -> Iterator[Diagnostic]:
    name = str(loaded.spec.pipeline)
    if name not in project.pipeline_names:  # else its own file tells what is wrong with it
        hint = did_you_mean(name, project.pipeline_names)
        yield error("CZ050", f"there is no pipeline `{name}`", loaded.document.value("pipeline"), hint)


def _is_sound(loaded: Loaded[PersonalitySpec], project: Project) -> bool:
    shared = project.pipelines.get(loaded.spec.pipeline) if isinstance(loaded.spec.pipeline, str) else None
    return loaded.sound and (shared is None or shared.sound)


def _tools_without_loop(
    spec: PersonalitySpec, document: Document, resolved: Resolved
) -> Iterator[Diagnostic]:
    """Tools that no stage would run."""
    if spec.tools and not any(e.info is None or loops_tools(e.info) for e in resolved.entries):
        message = (
            f"no stage of the pipeline `{resolved.pipeline.name}` runs tools, so the model is not offered any"
        )
        yield warning("CZ097", message, document.key("tools"), "a `tool_loop` stage below the `llm` does")
