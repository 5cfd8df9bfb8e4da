"""What turns need of those who do the jobs that they leave."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from cozy.ports.outbox import JobProgress


class Jobs(Protocol):
    """How full the queue of jobs may be, and what happens when it is, is the installation's choice."""

    def check(self) -> None:
        """Raises Overloaded where turns that would leave jobs are refused: before a model is asked."""
        ...

    def accepts(self, count: int) -> bool:
        """Whether so many new jobs are to be stored with a turn; where not, it is stored without them."""
        ...

    async def queued(self, count: int) -> None:
        """So many jobs are on disk: have them done. Waits a little where turns are to be slowed down."""
        ...

    async def wait(self, ids: Collection[UUID]) -> Mapping[UUID, JobProgress]:
        """How these jobs have ended, once all of them are done or have failed, whichever process did them.
        One that is not there any more is left out. Raises StorageError."""
        ...


class Unbounded:
    """Fills Jobs where nobody does them, or somebody does without being told."""

    def check(self) -> None: ...

    def accepts(self, count: int) -> bool:
        return True

    async def queued(self, count: int) -> None: ...

    async def wait(self, ids: Collection[UUID]) -> Mapping[UUID, JobProgress]:
        return {}
