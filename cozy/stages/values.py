"""What flows between stages: each value is given by one stage type and taken by others.

ContextPart → Budgeted → Prompt → Generation → Reply → Saved → Queued. The public fields of these values
are what templates and `when:` may read of an earlier stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from cozy.events import FinishReason
from cozy.ports.llm import LLMRequest
from cozy.turn import Message, SessionId, ToolCall, TurnId
from cozy.usage import Usage

Section = Literal["system", "tools", "history", "summary", "profile", "memory", "knowledge", "message"]
ContextSection = Literal["history", "summary", "profile", "memory", "knowledge"]


@dataclass(frozen=True, slots=True)
class Intent:
    """What a turn is about."""

    label: str
    by: Literal["rules", "model", "default"] = "default"
    """Who chose it; `default`: no rule fits, or the stage did not run."""
    matched: str = ""
    """The words that a rule found, as it sees them."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One piece of context, kept or cut as a whole."""

    text: str
    source: str = ""
    """Where it comes from, as a reader would name it."""
    score: float | None = None
    """How well it fits the turn; more is better, at most 1."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ContextPart:
    """What one source brings to a turn: snippets, or the messages of the history.

    In a template it is its text, it can be looped over, and it is false when there is nothing in it.
    """

    section: ContextSection
    snippets: tuple[Snippet, ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def text(self) -> str:
        if self.section == "history":
            return "\n".join(f"{m.role}: {m.content}" for m in self.messages)
        return "\n".join(s.text for s in self.snippets)

    def __str__(self) -> str:
        return self.text

    def __iter__(self) -> Iterator[Snippet | Message]:
        return iter(self.messages if self.section == "history" else self.snippets)

    def __len__(self) -> int:
        return len(self.messages) + len(self.snippets)


@dataclass(frozen=True, slots=True)
class Cut:
    """Something that did not fit."""

    what: str
    """The first words of it, or its source."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Fold:
    """A snippet that was left out because another one says it."""

    section: ContextSection
    snippet: Snippet
    into_section: ContextSection
    into: Snippet
    """Says the same, or holds it whole."""
    place: int = 0
    """Of the snippet among all that its section was brought, from 0."""
    into_place: int = 0


@dataclass(frozen=True, slots=True)
class SectionBudget:
    """The room that one section asked for and got, in tokens."""

    section: Section
    wanted: int
    kept: int
    cut: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """Where the tokens of a prompt go."""

    context_tokens: int
    """The model's window."""
    reserved: int
    """Kept free for the answer."""
    room: int
    """What the prompt may use: window less reserve."""
    used: int
    sections: tuple[SectionBudget, ...] = ()
    folded: tuple[Fold, ...] = ()
    """What was left out because another snippet says it."""


@dataclass(frozen=True, slots=True)
class Budgeted:
    """The context that fits."""

    parts: Mapping[ContextSection, ContextPart]
    report: BudgetReport
    system: str = ""
    """The system message, as it was measured."""
    context: str = ""
    """What stands beside the user's message, as it was measured."""
    tokens: Mapping[Section, int] = field(default_factory=dict[Section, int])
    """What each section of the prompt costs, as it will be sent: the context is part of the message."""


@dataclass(frozen=True, slots=True)
class PromptSection:
    """Which messages of a prompt come from where: `first` to `last` inclusive."""

    section: Section
    first: int
    last: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model will be sent, stable parts first."""

    messages: tuple[Message, ...]
    tokens: int
    """Of all messages and tools together, as far as we can count."""
    sections: tuple[PromptSection, ...] = ()
    context: str = ""
    """This turn's context, as it stands beside the user's message."""
    folded: tuple[Fold, ...] = ()
    """What was left out because another snippet says it."""

    @property
    def text(self) -> str:
        return "\n\n".join(m.content for m in self.messages)


@dataclass(frozen=True, slots=True)
class Generation:
    """What a model said to one prompt."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    """`provider/name` of the one that answered; a fallback, maybe."""
    reasoning: str = ""
    request: LLMRequest | None = None
    """What it was asked; None for a stage that did not run."""
    models: tuple[str, ...] = ()
    """Who might have answered, in the order in which they are asked."""
    fallback_text: str = ""
    """What is said when none of them answers."""
    is_fallback: bool = False
    """No model has answered: these are the stage's own words."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """It as a message; none where it neither says nor calls anything: servers refuse an empty one."""
        if not (self.text or self.tool_calls):
            return ()
        return (
            Message("assistant", self.text, tool_calls=self.tool_calls, reasoning=self.reasoning or None),
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of the turn."""

    text: str = ""
    """Every word that reached the user."""
    messages: tuple[Message, ...] = ()
    """The answer as messages: calls, their results, last words."""
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    rounds: int = 0
    """How often tools were run."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls of the client's own tools, for the client to run."""
    error: str | None = None
    """The code of what broke it off."""
    is_fallback: bool = False
    """No model had the last word: it is a stage's `fallback_text`."""

    @staticmethod
    def of(generation: Generation) -> Reply:
        """The answer of a model that nobody loops over."""
        return Reply(
            text=generation.text,
            messages=generation.messages,
            finish_reason=generation.finish_reason,
            usage=generation.usage,
            model=generation.model,
            tool_calls=generation.tool_calls,
            is_fallback=generation.is_fallback,
        )


@dataclass(frozen=True, slots=True)
class Saved:
    """What is on disk now."""

    turn_id: TurnId
    session_id: SessionId | None
    status: Literal["complete", "interrupted", "failed"]
    jobs: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """The jobs that workers were told of."""

    jobs: tuple[UUID, ...] = field(default=())
