"""What every stage is made of: settings from the YAML, a context for the turn, one async `run`.

A stage type is a frozen dataclass with one field, `settings`, and an async `run`. The annotations of
`run` are its contract with its neighbours: each parameter but `ctx` is a need, the return type is what it
gives. `T` needs one T, `T | None` one if there is one, `Sequence[T]` every T above it, and `A | B` an A or,
where nothing gives one, a B.

Optional parts, looked for by name:

- `empty(self)`: the value of a stage that was skipped or has failed; without it neither `when` nor
  `on_error: degrade` is allowed.
- `settle(self, partial, ctx)`: runs when the turn was cut off or failed, shielded, with the partial Reply.
- `jobs(self, reply, ctx)`: jobs to be stored in the transaction of the stage whose value this one takes.
- `renders`: names of the personality's templates that `run` renders, so that the stages they name come first.
- `reads`: whether a second run changes nothing, so that `retries` is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from cozy.errors import EngineError
from cozy.events import Event, StageDegraded
from cozy.ports import Ports
from cozy.ports.context import EMBEDDED, EngineChoice, EngineRecord
from cozy.ports.llm import LLMRequest, ModelCard
from cozy.ports.store import Job
from cozy.ports.tools import ToolSpec
from cozy.stages.offer import Offer
from cozy.stages.templates import Expression, Template
from cozy.turn import ClientSystem, Message, Sampling, Turn
from cozy.usage import Usage

# -- the types that settings are written in ------------------------------------------------------------


def _seconds(value: object) -> object:
    """`500ms`, `1.5s` or `2m`, in seconds."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m)\s*", value)
    if match is None:
        raise PydanticCustomError("duration", "expected a number with a unit, such as `500ms`, `2s` or `1m`")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2]]


def many(value: object) -> object:
    """One value stands for a list of one, nothing for an empty list: the language has no `[]`."""
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return value


_NAMES_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

_TOP_K = Field(ge=1, le=100)


def _number_or_expression(value: object) -> str:
    """Whatever looks like a number is told of as one, should it be wrong."""
    text = str(value).strip()
    is_expression = isinstance(value, str) and text and not re.fullmatch(r"[\d.,+-]+", text)
    return "(expression)" if is_expression else "(number)"


Duration = Annotated[
    float,
    "duration",
    BeforeValidator(_seconds),
    Field(gt=0, le=3600),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m)$", "examples": ["500ms", "2s", "1m"]}
    ),
]
"""Seconds; written with a unit."""
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(many), WithJsonSchema(_NAMES_SCHEMA)
]
"""A list of names; one may be written without the dash."""
TemplateText = Annotated[str, "template"]
"""A Jinja template; the compiler finds these by their mark."""
ExpressionText = Annotated[str, "expression"]
"""A Jinja expression."""
TopK = Annotated[
    Annotated[int, _TOP_K, Tag("(number)")] | Annotated[str, Tag("(expression)")],
    Discriminator(_number_or_expression),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 100},
                {
                    "type": "string",
                    "pattern": r"[^\s0-9.,+-]",
                    "examples": ["3 if turn.channel == 'voice' else 8"],
                },
            ]
        }
    ),
    "expression",
]
"""From 1 to 100, or a Jinja expression that gives such a number."""


class Settings(BaseModel):
    """A mapping that authors write: it refuses keys it does not know; a key without a value says nothing."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
        use_attribute_docstrings=True,  # what a field says of itself is in the schema and in hints
    )

    @field_validator("*", mode="before")
    @classmethod
    def _nothing(cls, value: object, info: ValidationInfo) -> object:
        """YAML's `key:` comes as empty text: no value, an empty mapping, or text, as the field has it."""
        if value != "" or info.field_name is None:
            return value
        kind = cls.model_fields[info.field_name].annotation
        if NoneType in get_args(kind):
            return None
        is_mapping = get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel))
        return {} if is_mapping else value


class StageSettings(Settings):
    """What any stage may be told."""

    type: str
    """Which stage type it is."""
    from_: Names = Field(default=(), alias="from")
    """The stage, or the stages, whose value this one takes, where several could give it. Of several that
    could each fill one need, the first that ran is taken."""
    after: Names = ()
    """Stages that must have ended first, though this one takes nothing of theirs."""
    when: ExpressionText | None = None
    """A Jinja expression over the turn and earlier stages; false skips this stage."""
    timeout: Duration | None = None
    """How long it may take; time spent waiting for the reader is not counted."""
    on_error: Literal["fail", "degrade"] = "fail"
    """`fail` ends the turn, `degrade` goes on with an empty value and puts the reason on record."""
    retries: int = Field(default=0, ge=0, le=5)
    """How often to try again, within the timeout, after an error that may pass. Only where a second run
    changes nothing."""


# -- what a stage sees of the compiled personality -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models of a personality or of one stage, in the order in which they are tried."""

    names: tuple[str, ...]
    sampling: Sampling = Sampling()
    context_tokens: int | None = None
    """Overrides the window that is known of the first of them."""

    def window(self, model: str, card: ModelCard) -> int:
        """How many tokens a model reads, of which `card` is what is known."""
        return (self.context_tokens if model == self.names[0] else None) or card.context_tokens


class ArgumentCheck(Protocol):
    """A tool's compiled JSON Schema."""

    def __call__(self, arguments: str) -> dict[str, Any]:
        """The arguments as an object; raises ToolError with what is wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a personality may use."""

    spec: ToolSpec
    check: ArgumentCheck


@dataclass(frozen=True, slots=True)
class About:
    """What templates may read of a personality."""

    id: str
    name: str
    description: str
    language: str


@dataclass(frozen=True, slots=True)
class Persona:
    """A personality, compiled: what its stages share."""

    about: About
    prompt: Template
    context: Template
    voice_prompt: Template | None
    welcome: Template
    client_system: ClientSystem
    model: ModelChoice
    tools: tuple[Tool, ...] = ()
    tools_text: str = ""
    """The tools as a model is told of them, for counting."""
    voice: str | None = None
    """A voice of the speech provider."""
    voice_speed: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """Facts for front ends."""
    engines: EngineChoice = field(default_factory=EngineChoice)
    """Which engines bring its context, and learn."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a stage knows of its own place in the graph."""

    id: str
    speaks: bool = False
    """Its words reach the user."""
    offers_tools: bool = False
    """A tool loop takes what it gives, so the model may call."""
    model: ModelChoice | None = None
    """The personality's, with this stage's own settings over it."""
    templates: Mapping[str, Template] = field(default_factory=dict[str, Template])
    """Its compiled template settings, by name."""
    expressions: Mapping[str, Expression] = field(default_factory=dict[str, Expression])
    """Its compiled settings that are expressions, `when` aside, by name."""
    own_model: bool = False
    """The stage names its model itself: one that the turn names does not take its place."""


class StageContext(Protocol):
    """The turn, as one stage sees it while it runs."""

    @property
    def turn(self) -> Turn: ...
    @property
    def ports(self) -> Ports: ...
    @property
    def persona(self) -> Persona: ...
    @property
    def node(self) -> NodeInfo: ...
    @property
    def variables(self) -> Mapping[str, Any]:
        """What templates may name: the turn, the personality and every earlier stage's value."""
        ...

    @property
    def tools(self) -> Offer:
        """What may be called in this turn."""
        ...

    @property
    def spoken(self) -> str:
        """Every word that the turn has said so far."""
        ...

    @property
    def degraded(self) -> Sequence[StageDegraded]:
        """What went on without a value so far."""
        ...

    @property
    def engines(self) -> Sequence[tuple[str, EngineRecord]]:
        """How each question to an engine of the personal context went so far, with the stage that asked."""
        ...

    @property
    def usage(self) -> Usage:
        """What models have cost so far, hidden stages included."""
        ...

    async def emit(self, event: Event) -> None:
        """Tell the world. Waits while the reader is behind; that wait is not counted."""
        ...

    def mark(self, name: str, start: float, end: float) -> None:
        """A part of this stage's time for the trace, by `time.perf_counter()`: `first_token`, `tools` …"""
        ...

    def keep(self, *messages: Message) -> None:
        """Calls that are being run, and results as they come: kept though the turn is cut off."""
        ...

    def note(self, **facts: Any) -> None:
        """Facts for the trace: `budget`, `model`, `prompt` …"""
        ...

    def asked(self, request: LLMRequest, usage: Usage) -> None:
        """A request that a model has answered, for the trace: what it cost, what of it was seen before."""
        ...

    def called(self, tool: str, outcome: str) -> None:
        """A call of a tool has ended, for the trace; `tool` is empty where there is none of the name."""
        ...

    def own_deadline(self, context_s: float) -> float:
        """The stage's deadline, by anyio's clock, for a stage that keeps it by itself: so that it can say who
        was late, and use what it has; at most `context_s` after the turn began to ask its engines. From now
        on the runtime cuts it off a moment later only, and tries it again before then or not at all."""
        ...

    def engine_answered(self, record: EngineRecord) -> None:
        """How a question to an engine of the personal context went, for the trace."""
        ...

    def engine_failed(self, error: EngineError) -> None:
        """An engine's error that the stage makes good, for the trace; one that it raises is seen."""
        ...

    def jobs(self, reply: Any) -> Sequence[Job]:
        """What the stages that take this one's value want done after the turn."""
        ...


class Stage(Protocol):
    """See the module's own words."""

    settings: Any
    run: Callable[..., Awaitable[Any]]


__all__ = [
    "EMBEDDED",
    "About",
    "ArgumentCheck",
    "Duration",
    "Expression",
    "ExpressionText",
    "ModelChoice",
    "Names",
    "NodeInfo",
    "Persona",
    "Settings",
    "Stage",
    "StageContext",
    "StageSettings",
    "Template",
    "TemplateText",
    "Tool",
    "TopK",
    "many",
]
