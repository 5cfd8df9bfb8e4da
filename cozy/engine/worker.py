"""Does the jobs that turns leave: at least once each, in order for each user and target."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Literal
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from cozy.errors import (
    CozyError,
    EngineCircuitOpen,
    EngineInvalidRequest,
    EngineTimeout,
    InvalidRequest,
    NotFound,
    StorageError,
)
from cozy.ports.outbox import Ending, LeasedJob, Outbox
from cozy.ports.store import Job

Handler = Callable[[Job], Awaitable[object]]
Outcome = Literal["done", "failed", "given_up"]
Watcher = Callable[[str, Outcome], object]
"""Told of an attempt's target (`other` where nobody does such jobs) and outcome, once it is on disk."""

AT_ONCE = 32
"""Jobs under way in one process."""
PER_TARGET = 8
"""About so many of one target, so that an engine that hangs leaves room for the others."""
POLL_S = 2.0
"""How often to look for jobs that nobody here was told of: of other processes, or due again."""
LONGEST_WAIT_S = 300.0
"""Between two attempts at one job, unless its engine asks for more."""
LONGEST_ASKED_S = 3600.0
"""That an engine can ask for."""
AGAIN_S = 1.0
"""After which an outbox that could not be written is written again."""
HAND_BACK_S = 2.0
"""How long giving jobs back may take when the worker is stopped."""
LONGEST_ERROR = 2000
"""Characters of an error that are kept."""
HOPELESS = (EngineInvalidRequest, InvalidRequest, NotFound)
"""Another try would end alike."""

_random = SystemRandom()
_log = logging.getLogger("cozy.worker")


@dataclass(slots=True, eq=False)
class _UnderWay:
    """A job that is being done, or whose end is not on disk yet."""

    lease: LeasedJob
    scope: anyio.CancelScope
    """Ends with the lease: then another may do it."""
    ending: Ending | None = None


class Worker:
    """Drains the outbox while `run` runs; `wake` tells it of new jobs."""

    def __init__(
        self,
        outbox: Outbox,
        handlers: Mapping[str, Handler],
        *,
        lease_s: float,
        max_attempts: int,
        job_timeout_s: float = 300.0,
        at_once: int = AT_ONCE,
    ) -> None:
        """`lease_s`: after so long without a sign of life a job is another's; it is renewed meanwhile."""
        self._outbox = outbox
        self._handlers = handlers
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._job_timeout_s = job_timeout_s
        self._at_once = at_once
        self._woken = anyio.Event()
        self._ended = anyio.Event()
        self._leaving = False
        self._under_way: dict[UUID, _UnderWay] = {}
        self._watchers: list[Watcher] = []

    @property
    def busy(self) -> int:
        """How many jobs are being done."""
        return len(self._under_way)

    def watch(self, watcher: Watcher) -> None:
        """Have it told how every attempt ends, from now on."""
        self._watchers.append(watcher)

    def wake(self) -> None:
        self._woken.set()

    def leave(self) -> None:
        """Let `run` end once nothing is due."""
        self._leaving = True
        self.wake()

    async def run(self) -> None:
        """Until `leave`. Cancelled, it gives back at once what is under way, and that does not count."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._put_on_record)
                tasks.start_soon(self._hold)
                await self._work(tasks)
                tasks.cancel_scope.cancel()
        finally:
            if self._under_way:
                await self._hand_back()

    async def drain(self, within_s: float) -> int:
        """Do everything that is due, for `within_s` at most; gives how many jobs still wait."""
        self.leave()
        with anyio.move_on_after(within_s):
            await self.run()
        return await self._outbox.depth()

    async def _work(self, tasks: TaskGroup) -> None:
        while True:
            self._woken = anyio.Event()
            until = anyio.current_time() + self._lease_s
            leased = await self._claim()
            for lease in leased:
                if self._is_done(lease.job):
                    continue
                under_way = _UnderWay(lease, anyio.CancelScope(deadline=until))
                self._under_way[lease.job.id] = under_way
                tasks.start_soon(self._take, under_way)
            if leased or self._woken.is_set():  # what has ended meanwhile may have made others due
                continue
            if self._leaving and not self._under_way:
                return
            with anyio.move_on_after(POLL_S):
                await self._woken.wait()

    def _is_done(self, job: Job) -> bool:
        """Whether it was done under a lease that ran out while the outbox could not be written."""
        known = self._under_way.get(job.id)
        return known is not None and known.ending is not None and known.ending.outcome == "done"

    async def _claim(self) -> Sequence[LeasedJob]:
        room = min(self._at_once - self.busy, PER_TARGET)
        if room == 0:
            return ()
        under_way = Counter(one.lease.job.target for one in self._under_way.values())
        full = [target for target, count in under_way.items() if count >= PER_TARGET]
        try:
            return await self._outbox.claim(limit=room, lease_s=self._lease_s, without=full)
        except StorageError as error:
            _log.warning("the outbox cannot be read", extra={"code": error.code})
            return ()

    async def _take(self, under_way: _UnderWay) -> None:
        with under_way.scope:
            under_way.ending = self._ending(under_way.lease, await self._attempt(under_way.lease))
            self._ended.set()
            return
        # somebody else may have it now, or it is gone: nothing is to be said of it
        self._let_go(under_way)
        self.wake()

    def _let_go(self, under_way: _UnderWay) -> None:
        key = under_way.lease.job.id
        if self._under_way.get(key) is under_way:  # and not the same job, taken a second time
            del self._under_way[key]

    async def _attempt(self, lease: LeasedJob) -> Exception | None:
        """What stood against it."""
        job = lease.job
        try:
            if lease.attempts > self._max_attempts and job.kind == "write":
                raise EngineInvalidRequest(job.target, "whoever took this job has died of it, each time")
            with anyio.move_on_after(self._job_timeout_s):
                await self._handler(job.target)(job)
                return None
            raise EngineTimeout(job.target, f"took longer than {self._job_timeout_s:g} s")
        except CozyError as error:
            return error
        except Exception as error:
            _log.exception("job failed", extra=_log_fields(job))
            return error

    def _handler(self, target: str) -> Handler:
        """Raises EngineInvalidRequest."""
        if (handler := self._handlers.get(target)) is not None:
            return handler
        kind, slash, engine = target.partition("/")
        if slash:
            raise EngineInvalidRequest(target, f"no engine `{engine}` for {kind} is configured any more")
        raise EngineInvalidRequest(target, "nobody here does such jobs")

    def _ending(self, lease: LeasedJob, error: Exception | None) -> Ending:
        if error is None:
            return Ending(lease, "done")
        job, words = lease.job, _words(error)
        fields = {**_log_fields(job), "code": getattr(error, "code", None), "attempts": lease.attempts}
        was_asked = not isinstance(error, EngineCircuitOpen)
        # what is to be erased is tried for ever
        is_over = (was_asked and lease.attempts >= self._max_attempts) or isinstance(error, HOPELESS)
        if is_over and job.kind == "write":
            _log.error("job given up", extra=fields)
            return Ending(lease, "dead", words)
        _log.warning("job failed, will be tried again", extra=fields)
        return Ending(lease, "failed", words, _pause(lease.attempts, error), counts=was_asked)

    async def _put_on_record(self) -> None:
        """Settle what has ended: all of one moment together."""
        while True:
            await self._ended.wait()
            self._ended = anyio.Event()
            ended = [(one, one.ending) for one in self._under_way.values() if one.ending is not None]
            try:
                await self._outbox.settle([ending for _, ending in ended])
            except StorageError as error:  # they keep their places: no more is begun than can be settled
                _log.warning("the outbox cannot be written", extra={"code": error.code})
                await anyio.sleep(AGAIN_S)
                self._ended.set()
                continue
            for one, ending in ended:
                self._let_go(one)
                self._tell(ending)
            self.wake()

    async def _hold(self) -> None:
        """Renew the leases of what is under way, and stop what is another's by now."""
        while True:
            await anyio.sleep(self._lease_s / 3)
            held = [one for one in self._under_way.values() if one.ending is None]
            if not held:
                continue
            until = anyio.current_time() + self._lease_s
            try:
                kept = await self._outbox.renew([one.lease for one in held], lease_s=self._lease_s)
            except StorageError as error:
                _log.warning("the outbox cannot be written", extra={"code": error.code})
                continue
            for one in held:
                if one.lease.job.id in kept:
                    one.scope.deadline = until
                elif one.ending is None:
                    _log.warning("job was taken away", extra=_log_fields(one.lease.job))
                    one.scope.cancel()

    async def _hand_back(self) -> None:
        endings = [one.ending or Ending(one.lease, "released") for one in self._under_way.values()]
        self._under_way.clear()
        with anyio.move_on_after(HAND_BACK_S, shield=True):
            try:
                await self._outbox.settle(endings)
            except StorageError as error:  # their leases run out, and then they are taken again
                _log.warning("the outbox cannot be written", extra={"code": error.code})

    def _tell(self, ending: Ending) -> None:
        target = ending.lease.job.target
        outcome: Outcome = (
            "given_up" if ending.outcome == "dead" else ("done" if ending.outcome == "done" else "failed")
        )
        for watcher in self._watchers:
            watcher(target if target in self._handlers else "other", outcome)


def _pause(attempts: int, error: Exception) -> float:
    """Seconds until the next attempt: longer each time, never quite the same, and not before the engine
    wants to be asked again."""
    wait_s = min(LONGEST_WAIT_S, 2.0 ** min(attempts, 30)) * _random.uniform(0.5, 1.0)
    asked_s = getattr(error, "retry_after_s", None) or 0.0
    return max(wait_s, min(asked_s, LONGEST_ASKED_S) * _random.uniform(1.0, 1.1))


def _words(error: Exception) -> str:
    """What operators are told: of a bug, whose message may hold anything, only what kind it is."""
    said = error.message if isinstance(error, CozyError) else "a bug; the log says where"
    return f"{type(error).__name__}: {said}"[:LONGEST_ERROR]


def _log_fields(job: Job) -> dict[str, str | None]:
    """Which job it is, and whose turn has left it."""
    turn = {name: job.payload.get(name) for name in ("request_id", "session_id", "turn_id", "personality_id")}
    return {**turn, "user_id": str(job.user_id), "job_id": str(job.id), "target": job.target}
