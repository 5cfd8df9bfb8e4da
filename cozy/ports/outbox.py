"""Jobs that wait in the database, as those who do them and those who look after them see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from cozy.ports.store import Job, JobKind
from cozy.turn import UserId

JobState = Literal["queued", "leased", "done", "dead"]


@dataclass(frozen=True, slots=True)
class LeasedJob:
    """A job that one worker holds until its lease runs out."""

    job: Job
    attempts: int
    """How many times it has been taken, this time included. With the id it names the lease: whoever has lost
    it says nothing any more."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt at a job has ended."""

    lease: LeasedJob
    outcome: Literal["done", "failed", "dead", "released"]
    """`failed`: to be tried again; `released`: not begun or cut off, so that it does not count."""
    error: str = ""
    after_s: float = 0.0
    """`failed`: in how many seconds it is due again."""
    counts: bool = True
    """`failed`: whether it is an attempt; one at an engine that was not asked is none."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is."""

    state: JobState
    error: str | None
    """Of the last attempt that failed."""

    @property
    def has_ended(self) -> bool:
        """Whether it is done, or an attempt at it has failed."""
        return self.state in ("done", "dead") or self.error is not None


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """How full an outbox is."""

    waiting: int = 0
    """Writes that nobody does yet: those that `[outbox]` bounds."""
    open: int = 0
    """All that wait or are being done, erasures included."""
    oldest_s: float = 0.0
    """How long ago the oldest of those was written, in seconds; 0 where there is none."""
    dead: int = 0
    oldest_waiting_s: float = 0.0
    """As `oldest_s`, of the waiting writes alone."""


class Outbox(Protocol):
    """Jobs written with their turns, done at least once, in order for each user. Raises StorageError."""

    async def claim(
        self, *, limit: int, lease_s: float, without: Collection[str] = ()
    ) -> Sequence[LeasedJob]:
        """Take what is due: the oldest first, at most one for each user and target at a time; none of the
        targets `without`."""
        ...

    async def renew(self, leases: Sequence[LeasedJob], *, lease_s: float) -> Collection[UUID]:
        """Hold them for longer; gives the ids of those that are held still."""
        ...

    async def settle(self, endings: Sequence[Ending]) -> None:
        """Put on record how attempts have ended, all in one transaction. Of a lease that was lost only `done`
        counts."""
        ...

    async def progress(self, ids: Collection[UUID]) -> Mapping[UUID, JobProgress]:
        """How far these are; one that is not there is left out."""
        ...

    async def trim(self, *, keep: int, older_than_s: float | None = None) -> int:
        """Drop the oldest waiting writes but `keep`, and those that are older; gives how many went."""
        ...

    async def depth(self) -> int:
        """How many wait or are being done."""
        ...

    async def figures(self) -> OutboxFigures: ...


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as operators see it."""

    id: UUID
    state: JobState
    kind: JobKind
    target: str
    user_id: UserId
    username: str
    attempts: int
    created_at: datetime
    due_at: datetime
    leased_until: datetime | None
    finished_at: datetime | None
    last_error: str | None
    payload: Mapping[str, Any]
    """What its user said stands in it, under `user` and `assistant`; show it only where that is asked for."""


class OutboxAdmin(Protocol):
    """What operators do with jobs. Raises StorageError."""

    async def jobs(
        self,
        *,
        states: Collection[JobState] = ("queued", "leased", "dead"),
        target: str | None = None,
        user_id: UserId | None = None,
        limit: int = 100,
    ) -> Sequence[StoredJob]:
        """The oldest first. `target` is a whole one, or `memory` for all engines of that kind."""
        ...

    async def find(self, beginning: str, *, limit: int = 10) -> Sequence[StoredJob]:
        """Jobs whose id begins so, done ones included."""
        ...

    async def again(self, ids: Collection[UUID] | None = None) -> int:
        """Have dead ones, and those that wait for another try, done at once, as if they were new; None: all
        that are dead. Gives how many."""
        ...

    async def drop(self, ids: Collection[UUID]) -> int:
        """Delete writes that wait or are dead; gives how many went."""
        ...
