"""What was said, by whom, to which personality: the input of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, NewType
from uuid import UUID, uuid4

UserId = NewType("UserId", UUID)
SessionId = NewType("SessionId", UUID)
TurnId = NewType("TurnId", UUID)

Role = Literal["system", "user", "assistant", "tool"]
Channel = Literal["terminal", "http", "voice", "test"]
ClientSystem = Literal["append", "ignore", "reject"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for; `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, in the form that models read."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """On a `tool` message: the call it answers."""
    reasoning: str | None = None
    """What a reasoning model thought before it spoke; some servers want it back beside tool calls."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """Content parts beyond text (images), in OpenAI's form; `content` holds the text among them."""
    tokens: int | None = None
    """How many tokens the content is, where somebody has counted already."""
    name: str | None = None
    """Which of several people of one role speaks, where a client says so."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model chooses its words; None: the server's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """Upper bound of the answer, in tokens."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_effort: str | None = None
    response_format: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the server's own, passed on untouched."""

    def over(self, base: Sampling) -> Sampling:
        """These settings where they are given, the others' where they are not."""
        given = {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) not in (None, (), {})
        }
        if self.extra and base.extra:
            given["extra"] = {**base.extra, **self.extra}
        return replace(base, **given)


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool that the client runs itself: offered to the model, never executed here."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON Schema of the arguments, an object."""
    strict: bool | None = None
    """Whether the model's server holds the arguments to the schema; None: not said."""


@dataclass(frozen=True, slots=True)
class RequestMark:
    """What a request is known by, so that its repetition finds the turn that it began."""

    key: str
    """Unique for the user where it is claimed: the client's own key; else made of session and body."""
    body_hash: str
    claimed: bool = False
    """The client named the key: at most one turn of the user has it."""
    repeated: bool = False
    """The client says that it has asked before."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said to one personality, by one user, maybe in a session."""

    text: str
    user_id: UserId
    personality_id: str
    session_id: SessionId | None = None
    channel: Channel = "terminal"
    language: str | None = None
    """BCP 47, such as `zh-CN`; None: the personality's own."""
    history: tuple[Message, ...] | None = None
    """Earlier messages brought by the client; None: the session's stored ones are the history."""
    client_system: str | None = None
    """A client's own system message, placed beneath the personality's prompt."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """Content parts beyond `text`, in OpenAI's form."""
    name: str | None = None
    """Which of several people speaks, where the client says so; told to the model."""
    model: str | None = None
    """`provider/name` in place of the personality's model, where the interface allows it."""
    retry_of: TurnId | None = None
    """A stored turn that this one says again: its messages are replaced by this turn's."""
    sampling: Sampling | None = None
    """How the client wants words chosen: over the personality's, for the stage that speaks."""
    tools: tuple[ClientTool, ...] = ()
    """The client's own tools. One of the name of a tool of ours takes its place."""
    tool_choice: str = "auto"
    """For the first request of the stage that speaks: `auto`, `none`, `required`, or a tool's name."""
    parallel_tool_calls: bool | None = None
    """Whether the model may call several tools at once; None: the model's default."""
    rounds: tuple[Message, ...] = ()
    """What followed `text` in this exchange already: calls, their results, words between."""
    results: tuple[Message, ...] = ()
    """The client's answers to calls in `rounds`: `tool` messages, new in this turn."""
    resumes: TurnId | None = None
    """A stored turn that waits for `results`: its user message and `rounds` are stored already."""
    allowed_tools: tuple[str, ...] | None = None
    """Patterns of the personality's tools that may be used in this turn; None: all of them."""
    denied_tools: tuple[str, ...] = ()
    """Patterns of tools that this user may not use."""
    personalized: bool = True
    """False: no knowledge, profile or memory is asked, and nothing is learned."""
    end_user: str | None = None
    """Whom the client speaks for, as it says itself: for the model server's abuse checks alone."""
    request: RequestMark | None = None
    request_id: str | None = None
    """What the interface calls the request, in its answer and in the log."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Free facts about the request that templates may read."""
    id: TurnId = field(default_factory=lambda: TurnId(uuid4()))
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC).astimezone())
    """When it was said; templates are told the time in its time zone."""

    def log_fields(self) -> dict[str, str | None]:
        """Whose turn it is, for a line of the log."""
        return {
            "request_id": self.request_id,
            "user_id": str(self.user_id),
            "session_id": str(self.session_id) if self.session_id else None,
            "turn_id": str(self.id),
            "personality_id": self.personality_id,
        }
