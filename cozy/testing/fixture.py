"""What a pipeline fixture says: a personality, what its engines hold, what is said to it, what must come out.

These models are the format; `docs/guides/testing.md` tells how to use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from cozy.adapters.scripted import Reply
from cozy.adapters.scripted_engines import (
    JsonSchema,
    KnowledgeScript,
    MemoryScript,
    ProfileScript,
    ScriptedTool,
)
from cozy.events import FinishReason
from cozy.stages.base import Names, Settings, many
from cozy.turn import Channel, ClientTool, Message, ToolCall

NOBODY = "none"
"""Where names are expected: none of them."""


# -- what was said -------------------------------------------------------------------------------------


class CallSpec(Settings):
    """A tool call that a model has made."""

    id: str = "c1"
    """What its result refers to."""
    name: str
    """The tool."""
    arguments: str = "{}"
    """JSON, as the model wrote it."""


class MessageSpec(Settings):
    """One message: who speaks is the key, what is said its value."""

    user: str | None = None
    """Said by the user."""
    assistant: str | None = None
    """Said by the personality."""
    tool: str | None = None
    """What a tool gave."""
    calls: Annotated[tuple[CallSpec, ...], BeforeValidator(many)] = ()
    """Tool calls of an assistant's message."""
    call_id: str | None = None
    """On a tool's message: the call it answers."""

    @property
    def message(self) -> Message:
        if self.user is not None:
            return Message("user", self.user)
        if self.tool is not None:
            return Message("tool", self.tool, tool_call_id=self.call_id)
        calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in self.calls)
        return Message("assistant", self.assistant or "", tool_calls=calls)


Messages = Annotated[tuple[MessageSpec, ...], BeforeValidator(many)]


# -- what the engines hold, and how they fail ----------------------------------------------------------


class DocumentSpec(Settings):
    """A document that is really added to the embedded knowledge."""

    dataset: str = "default"
    """The dataset that it is put in."""
    name: str
    """Its name; the source of a passage begins with it."""
    text: str
    """Markdown, or plain text."""


class KnowledgeSpec(KnowledgeScript):
    """What the knowledge holds: `passages` that every search finds, or `documents` to be searched."""

    documents: Annotated[tuple[DocumentSpec, ...], BeforeValidator(many)] = ()


class StoreTrouble(Settings):
    """How the storage fails."""

    kind: Literal["StorageError", "stall"]
    """`stall`: it never answers."""
    message: str = "the script lets it fail"
    times: int | None = Field(default=None, ge=1)
    """How often before it works; none given: always."""


class StoreSpec(Settings):
    """When the storage fails; what it holds is in `history`."""

    history: StoreTrouble | None = None
    """When the history is read."""
    save: StoreTrouble | None = None
    """When a turn is stored."""


# -- turns ---------------------------------------------------------------------------------------------


class CutSpec(Settings):
    """When an answer is cut off: after some words, or when a tool runs; else before the first word."""

    after: str = ""
    """Words of the answer."""
    tool: str | None = None
    """A tool's name."""
    heard: str | None = None
    """What of the answer reached the user's ears."""


class ClientToolSpec(Settings):
    """A tool that the client brings, and runs itself."""

    name: str
    """As models are told."""
    description: str = ""
    """What it is for."""
    parameters: JsonSchema = Field(default_factory=lambda: {"type": "object"})
    """JSON Schema of the arguments, as JSON text."""


class SamplingSpec(Settings):
    """How a client wants words chosen."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 always takes the likeliest word, 2 is wild."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Upper bound of the answer, in tokens."""
    stop: Names = ()
    """Texts at which the answer ends."""


class ExpectSpec(Settings):
    """What must be true of a turn, beside what its snapshot holds."""

    reply: str | None = None
    """The answer, exactly."""
    contains: Names = ()
    """Texts that the answer holds."""
    lacks: Names = ()
    """Texts that the answer does not hold."""
    finish: FinishReason | None = None
    """Why the answer ended."""
    error: str | None = None
    """The code that the turn fails with. Without it, a turn that fails is not as expected."""
    stage: str | None = None
    """The stage that fails the turn."""
    tools: Names = ()
    """The tools that are called, in order; `none`."""
    client_calls: Names = ()
    """The client's tools whose calls the turn ends with, in order; `none`."""
    degraded: Names = ()
    """The stages that go on without a value; `none`."""
    skipped: Names = ()
    """The stages whose `when` is false; `none`."""
    model_calls: int | None = Field(default=None, ge=0)
    """How often models are asked."""
    prompt_contains: Names = ()
    """Texts that stand in what models are sent."""
    prompt_lacks: Names = ()
    """Texts that do not."""
    stored: Literal["complete", "interrupted", "failed", "none"] | None = None
    """How the turn is stored."""
    jobs: Names = ()
    """The targets of the jobs that the turn leaves; `none`."""


class TurnSpec(Settings):
    """One thing said."""

    say: str
    """The user's words."""
    user: str = "ada"
    """Who speaks."""
    session: str = "main"
    """The session's name, made when it is first used; `none`: a turn without one."""
    channel: Channel = "test"
    """Where it comes in."""
    language: str | None = None
    """The user's, such as `zh-CN`."""
    model: str | None = None
    """`provider/name` in place of the personality's."""
    client_system: str | None = None
    """A client's own system message."""
    history: Messages = ()
    """Earlier messages that the client brings, in place of the stored ones; `history:` alone brings none."""
    retry_of: int | None = Field(default=None, ge=1)
    """The number of the turn that this one says again."""
    resumes: int | None = Field(default=None, ge=1)
    """The number of the turn that this one goes on with, after the client has run its tools."""
    results: Messages = ()
    """What the client's tools gave: `tool:` with its `call_id`."""
    tools: Annotated[tuple[ClientToolSpec, ...], BeforeValidator(many)] = ()
    """The client's own tools."""
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of the tool that must be called first."""
    sampling: SamplingSpec | None = None
    """How the client wants words chosen, over the personality's model."""
    allowed_tools: Names = ()
    """The personality's tools that may be used; none named: all of them."""
    denied_tools: Names = ()
    """Tools that this user may not use."""
    personalized: bool = True
    """`false`: nothing is asked of knowledge, profile and memory, and nothing learned."""
    together: bool = False
    """It is said at the same time as the turn before."""
    interrupt: CutSpec | None = None
    """The user stops the answer."""
    leave: CutSpec | None = None
    """The reader goes away."""
    expect: ExpectSpec = ExpectSpec()
    """What must be true of it."""

    @property
    def brought(self) -> tuple[Message, ...] | None:
        """The history that the client brings; None: it brings none of its own."""
        given = "history" in self.model_fields_set
        return tuple(spec.message for spec in self.history) if given else None

    @property
    def client_tools(self) -> tuple[ClientTool, ...]:
        return tuple(ClientTool(tool.name, tool.description, tool.parameters) for tool in self.tools)


# -- the whole -----------------------------------------------------------------------------------------


def _written_as(value: object) -> str:
    return "(mapping)" if isinstance(value, Mapping) else "(name)"


def _time(value: object) -> object:
    """`2025-03-01 09:30:00` is UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


class Fixture(Settings):
    """A pipeline fixture."""

    description: str = ""
    """What it shows, in a line."""
    now: Annotated[datetime, BeforeValidator(_time)] = datetime(2025, 1, 1, 12, tzinfo=UTC)
    """When the turns are said; UTC where no zone is named."""
    personality: Annotated[
        Annotated[str, Field(min_length=1), Tag("(name)")] | Annotated[dict[str, Any], Tag("(mapping)")],
        Discriminator(_written_as),
    ]
    """The id of one of the project's, or a whole personality."""
    summary: str = ""
    """What is kept of messages too old for the history."""
    history: Messages = ()
    """What session `main` of user `ada` holds before the first turn."""
    knowledge: KnowledgeSpec | None = None
    """None given: nothing; likewise below. With `worker: run`, what the turns before have taught."""
    profile: ProfileScript | None = None
    """What is known of the user."""
    memory: MemoryScript | None = None
    """What the user has told."""
    store: StoreSpec = StoreSpec()
    """How the storage misbehaves."""
    tools: Annotated[tuple[ScriptedTool, ...], BeforeValidator(many)] = ()
    """Tools beside the built-in ones."""
    model: Annotated[tuple[Reply, ...], BeforeValidator(many)] = ()
    """What models answer, in the order in which they are asked."""
    turns: Annotated[tuple[TurnSpec, ...], BeforeValidator(many), Field(min_length=1)]
    """What is said."""
    worker: Literal["run", "off"] = "off"
    """`run`: the jobs that a turn leaves are done before the next turn; `off`: they are listed."""


def names(given: Names) -> tuple[str, ...]:
    """The names of a list that may say `none`."""
    return () if given == (NOBODY,) else given
