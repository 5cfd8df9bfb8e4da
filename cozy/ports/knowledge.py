"""What is written in the documents that an installation was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cozy.turn import UserId


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document."""

    id: str
    text: str
    source: str
    """Where it stands: the document's name and, where there is one, the heading."""
    dataset: str
    score: float
    """How well it fits the query, from 0 to 1; more is better."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was added."""

    id: str
    dataset: str
    name: str
    passages: int
    """0 where the engine does not tell."""
    characters: int
    """Bytes, or 0, where the engine tells no more."""
    added_at: datetime
    """With a time zone."""


class Knowledge(Protocol):
    """Search. Raises EngineError."""

    async def search(
        self, query: str, *, user_id: UserId, datasets: Sequence[str], top_k: int
    ) -> Sequence[Passage]:
        """The passages that fit best, best first, each once, `top_k` at most; none where `top_k` is 0.

        No `datasets` means all that the user may read.
        """
        ...


class KnowledgeBase(Knowledge, Protocol):
    """Search, and what fills it. Raises EngineError."""

    async def add(self, *, dataset: str, name: str, text: str) -> Document:
        """Take a document in; one of the same dataset and name is replaced. `text` may be Markdown.

        On return it can be found. Raises EngineInvalidRequest where it has no name.
        """
        ...

    async def documents(self, dataset: str | None = None) -> Sequence[Document]:
        """Those of one dataset, or all."""
        ...

    async def datasets(self) -> Sequence[str]:
        """Their names."""
        ...

    async def remove(self, *, dataset: str, name: str | None = None) -> int:
        """Take one document, or a whole dataset, out; gives how many documents went, maybe 0."""
        ...
