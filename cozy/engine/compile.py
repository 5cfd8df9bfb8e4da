"""Checked personality → Graph: templates, `when:` and tool schemas compiled once, edges as indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cozy.dsl.check import CheckedPersonality
from cozy.dsl.spec import PersonalitySpec, TtsSpec
from cozy.dsl.wiring import Wired
from cozy.engine.graph import Graph, Node, Slot
from cozy.ports.context import EngineChoice
from cozy.ports.tools import ToolSpec
from cozy.stages.base import About, ModelChoice, NodeInfo, Persona, StageSettings
from cozy.stages.intent import ANSWER_TOKENS, IntentSettings
from cozy.stages.llm import LlmSettings
from cozy.stages.model import ModelSettings
from cozy.stages.offer import tools_text
from cozy.stages.prompting import default_context
from cozy.stages.templates import Expression, Template
from cozy.stages.tool_arguments import compile_tools, matching_tools

_EMBEDDED = EngineChoice()


def compile_graph(
    checked: CheckedPersonality,
    tools: Sequence[ToolSpec],
    default_model: str,
    engines: EngineChoice = _EMBEDDED,
) -> Graph:
    """The graph of a personality that has passed the check.

    `tools` are those of the installation; a personality is given the ones it names. `engines` serve where it
    names none. Raises ToolError for a tool whose own schema is broken.
    """
    persona = _persona(checked.spec, checked.file, tools, default_model, engines)
    index = {wired.id: i for i, wired in enumerate(checked.stages)}
    next_: list[list[int]] = [[] for _ in checked.stages]
    for i, wired in enumerate(checked.stages):
        for source in wired.waits:
            next_[index[source]].append(i)
    nodes = tuple(
        _node(wired, index, tuple(next_[i]), checked, persona, default_model)
        for i, wired in enumerate(checked.stages)
    )
    return Graph(
        persona=persona,
        pipeline=checked.pipeline,
        timeout_s=checked.timeout_s,
        nodes=nodes,
        roots=tuple(i for i, node in enumerate(nodes) if not node.waits),
        answers=_answers(checked.stages),
        tool_list=tuple(tool.spec for tool in persona.tools),
    )


def _persona(
    spec: PersonalitySpec,
    file: str,
    tools: Sequence[ToolSpec],
    default_model: str,
    engines: EngineChoice,
) -> Persona:
    chosen, _ = matching_tools(spec.tools, tools)
    voice = spec.voice.prompt if spec.voice else ""
    tts = (spec.voice and spec.voice.tts) or TtsSpec()
    return Persona(
        about=About(spec.id, spec.name, spec.description, spec.language or ""),
        prompt=Template(spec.prompt, f"{file}: prompt"),
        context=Template(
            spec.context or default_context(spec.language), f"{file if spec.context else 'built in'}: context"
        ),
        voice_prompt=Template(voice, f"{file}: voice.prompt") if voice else None,
        welcome=Template(spec.welcome, f"{file}: welcome"),
        client_system=spec.client_system,
        model=spec.model.choice(default_model),
        tools=compile_tools(chosen),
        tools_text=tools_text(chosen),
        voice=tts.voice,
        voice_speed=tts.speed,
        metadata=spec.metadata,
        engines=replace(engines, **spec.engines.model_dump(exclude_none=True)),
    )


def _node(
    wired: Wired,
    index: dict[str, int],
    next_: tuple[int, ...],
    checked: CheckedPersonality,
    persona: Persona,
    default_model: str,
) -> Node:
    settings, where = wired.settings, f"{checked.file}: stages.{wired.id}"
    texts = {name: getattr(settings, name) for name in wired.info.templates}
    info = NodeInfo(
        id=wired.id,
        speaks=wired.speaks,
        offers_tools=wired.offers_tools,
        model=_model(settings, checked.spec.model, default_model) or persona.model,
        templates={name: Template(text, f"{where}.{name}") for name, text in texts.items() if text},
        expressions={
            name: Expression(text, f"{where}.{name}")
            for name in wired.info.expressions
            if isinstance(text := getattr(settings, name), str)
        },
        own_model=isinstance(settings, LlmSettings | IntentSettings)
        and settings.model is not None
        and settings.model.name is not None,
    )
    return Node(
        info=info,
        type=wired.info.name,
        stage=wired.info.cls(settings),
        inputs=tuple(Slot.of(given, index) for given in wired.inputs),
        waits=tuple(index[source] for source in wired.waits),
        next=next_,
        timeout_s=settings.timeout,
        on_error=settings.on_error,
        retries=settings.retries,
        when=Expression(settings.when, f"{where}.when") if settings.when else None,
        settles=wired.info.settles,
        has_empty=wired.info.has_empty,
        followers=tuple(
            index[other.id]
            for other in checked.stages
            if other.info.queues and any(wired.id in given.sources for given in other.inputs)
        ),
    )


def _model(settings: StageSettings, base: ModelSettings, default_model: str) -> ModelChoice | None:
    """The models that a stage asks; None: it asks none."""
    if isinstance(settings, IntentSettings) and settings.model is not None:
        sorting = ModelSettings(temperature=0, max_tokens=ANSWER_TOKENS)
        return settings.model.over(sorting.over(base)).choice(default_model)
    if not isinstance(settings, LlmSettings):
        return None
    merged = settings.model.over(base)
    if settings.fallbacks:
        merged = merged.model_copy(update={"fallbacks": settings.fallbacks})
    return merged.choice(default_model)


def _answers(stages: Sequence[Wired]) -> tuple[int, ...]:
    """The stages that speak last: those whose words no other speaking stage goes on with."""
    gone_on_with = {s for wired in stages if wired.speaks for given in wired.inputs for s in given.sources}
    return tuple(i for i, wired in enumerate(stages) if wired.speaks and wired.id not in gone_on_with)
