"""The shape of a personality and of a pipeline, as authors write them; `schemas/` is generated from these."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, WithJsonSchema

from cozy.stages.base import Duration, Names, Settings, TemplateText
from cozy.stages.model import ModelSettings
from cozy.turn import ClientSystem

StageEntries = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "title": "Stages"})]
"""Stage id → its settings as written; the stage types' own models check them once they are merged."""

ID_PATTERN = r"^[a-z][a-z0-9_]*$"


class TtsSpec(Settings):
    """The voice it speaks with."""

    voice: str | None = None
    """A voice of the speech provider."""
    speed: float | None = Field(default=None, ge=0.25, le=4)
    """How fast it speaks; 1 is the voice's own pace."""


class VoiceSpec(Settings):
    """How it speaks."""

    tts: TtsSpec | None = None
    """The voice it speaks with."""
    prompt: TemplateText = ""
    """Added to the prompt of a turn that is spoken."""


class EnginesSpec(Settings):
    """Which engines bring its context and learn: names from `[engines]` in `cozy.toml`, or `embedded`."""

    knowledge: str | None = Field(default=None, min_length=1)
    """The engine that is searched for knowledge; none named: the configuration's."""
    profile: str | None = Field(default=None, min_length=1)
    """The engine that keeps users' profiles; none named: the configuration's."""
    memory: str | None = Field(default=None, min_length=1)
    """The engine that remembers; none named: the configuration's."""


class PipelineSpec(Settings):
    """An ordered mapping of stage id to stage."""

    description: str = ""
    """What it is for, in a line."""
    timeout: Duration | None = None
    """For the whole turn."""
    stages: StageEntries = Field(default_factory=dict)
    """Stage id → stage, in order: a stage takes what the stages above it give."""


def _written_as(value: object) -> str:
    return "(mapping)" if isinstance(value, (dict, PipelineSpec)) else "(name)"


PipelineChoice = Annotated[
    Annotated[str, Field(min_length=1), Tag("(name)")] | Annotated[PipelineSpec, Tag("(mapping)")],
    Discriminator(_written_as),
]


class PersonalitySpec(Settings):
    """Identity, prompt, model, tools, memory, voice, and a pipeline."""

    id: str = Field(pattern=ID_PATTERN, max_length=64)
    """What requests name it by: lower-case letters, digits and underscores, a letter first."""
    name: str = Field(min_length=1, max_length=200)
    """What people call it."""
    description: str = ""
    """What it is for, in a line."""
    welcome: TemplateText = ""
    """What it says before anybody has spoken."""
    language: str | None = None
    """BCP 47, such as `zh-CN`: the language it answers in unless the user's is another."""
    model: ModelSettings = ModelSettings()
    """Which model answers, and how it chooses its words."""
    engines: EnginesSpec = EnginesSpec()
    """Which engines bring its context and learn; of one that is not named, the configuration's serves."""
    tools: Names = ()
    """Tools it may use, by name; `mcp/weather/*` names all of a server's."""
    prompt: TemplateText = ""
    """Who it is: stable, first in every request."""
    context: TemplateText = ""
    """What this turn brings, beside the user's message; empty: the built-in one."""
    client_system: ClientSystem = "append"
    """What becomes of a client's own system message."""
    voice: VoiceSpec | None = None
    """How it speaks."""
    timeout: Duration | None = None
    """For the whole turn; over the pipeline's."""
    pipeline: PipelineChoice = "standard"
    """A pipeline's name, or a pipeline of its own."""
    stages: StageEntries = Field(default_factory=dict)
    """What differs from the pipeline: settings of its stages, new stages, `off` for one to leave out."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Facts for front ends; Cozy does not read them."""
