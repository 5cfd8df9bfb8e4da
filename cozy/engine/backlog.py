"""How full the outbox is, and what turns are told of it.

A turn asks a figure that is kept here: the last look at the database, corrected by what this process has
added and done since. Other processes are seen at the next look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from time import monotonic
from uuid import UUID

import anyio

from cozy.engine.worker import Outcome, Worker
from cozy.errors import Overloaded, StorageError
from cozy.ports.outbox import JobProgress, Outbox, OutboxFigures
from cozy.settings import OnFull, OutboxSettings

LOOK_S = 2.0
"""How often to look."""
LOOK_SHARE = 20
"""A look that takes long is taken less often: one part in so many is spent on it."""
GATHER_S = 0.1
"""Between a turn that fills the outbox and the look that makes room, so that many turns have one."""
TELL_EVERY_S = 10.0
"""A full outbox leaves one line in the log in this time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
"""Between two looks at a job that another process may be doing."""
COME_AGAIN_S = 10.0

Watcher = Callable[[OnFull, int], object]
"""Told of a full outbox: of jobs dropped, or turns slowed or refused, how many."""

_log = logging.getLogger("cozy.outbox")


class Backlog:
    """Fills Jobs; `run` keeps its figures fresh."""

    def __init__(self, outbox: Outbox, worker: Worker, bounds: OutboxSettings) -> None:
        self._outbox, self._worker, self._bounds = outbox, worker, bounds
        self._figures = OutboxFigures()
        self._moved = anyio.Event()
        self._to_trim = anyio.Event()
        self._watchers: list[Watcher] = []
        self._untold, self._tell_again = 0, 0.0
        worker.watch(self._ended)

    def watch(self, watcher: Watcher) -> None:
        """Have it told whenever the outbox is full and something is done about it."""
        self._watchers.append(watcher)

    @property
    def is_full(self) -> bool:
        figures, bounds = self._figures, self._bounds
        if bounds.max_age_s and figures.waiting and figures.oldest_waiting_s > bounds.max_age_s:
            return True
        return figures.waiting >= bounds.max_jobs

    def check(self) -> None:
        if self._bounds.on_full == "reject" and self.is_full:
            self._tell(1)
            raise Overloaded("what turns teach is not taken in fast enough", COME_AGAIN_S)

    def accepts(self, count: int) -> bool:
        if self._bounds.on_full == "drop_new" and self.is_full:
            self._tell(count)
            return False
        return True

    async def queued(self, count: int) -> None:
        self._count(count)
        self._worker.wake()
        if not self.is_full:
            return
        if self._bounds.on_full == "drop_oldest":
            self._to_trim.set()
        elif self._bounds.on_full == "slow":
            self._tell(1)
            await self._room()

    async def wait(self, ids: Collection[UUID]) -> Mapping[UUID, JobProgress]:
        pause_s = FIRST_PAUSE_S
        while True:
            moved = self._moved
            found = await self._outbox.progress(ids)
            if all(progress.has_ended for progress in found.values()):
                return found
            with anyio.move_on_after(pause_s):  # another process tells nothing
                await moved.wait()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began = monotonic()
            self._to_trim = anyio.Event()
            try:
                await self._look()
            except StorageError as error:
                _log.warning("the outbox cannot be read", extra={"code": error.code})
            self._log()
            with anyio.move_on_after(max(LOOK_S, LOOK_SHARE * (monotonic() - began))):
                await self._to_trim.wait()
                await anyio.sleep(GATHER_S)

    async def _look(self) -> None:
        self._figures = await self._outbox.figures()
        if self._bounds.on_full == "drop_oldest" and self.is_full:
            dropped = await self._outbox.trim(
                keep=self._bounds.max_jobs, older_than_s=self._bounds.max_age_s or None
            )
            if dropped:
                self._tell(dropped)
        self._move()

    async def _room(self) -> None:
        """Wait for room, for a part of the time that the caller has."""
        left_s = anyio.current_effective_deadline() - anyio.current_time()
        with anyio.move_on_after(min(self._bounds.slow_s, max(left_s, 0.0) / 2)):
            while self.is_full:
                await self._moved.wait()

    def _ended(self, _target: str, outcome: Outcome) -> None:
        if outcome != "failed":
            self._count(-1)
        self._move()

    def _count(self, more: int) -> None:
        self._figures = replace(self._figures, waiting=max(0, self._figures.waiting + more))

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    def _tell(self, count: int) -> None:
        for watcher in self._watchers:
            watcher(self._bounds.on_full, count)
        self._untold += count
        self._log()

    def _log(self) -> None:
        """What has not been told yet, unless something was a moment ago."""
        if self._untold and (now := monotonic()) >= self._tell_again:
            facts = {"policy": self._bounds.on_full, "count": self._untold, "jobs": self._figures.waiting}
            _log.warning("the outbox is full", extra=facts)
            self._untold, self._tell_again = 0, now + TELL_EVERY_S
