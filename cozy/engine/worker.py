"""Does the jobs that turns leave: at least once each, in order for each user."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import SystemRandom
from typing import Literal
from uuid import UUID

import anyio

from cozy.errors import CozyError, EngineInvalidRequest, StorageError
from cozy.ports.memory import Exchange, Memories
from cozy.ports.profile import Profiles
from cozy.ports.store import Job, LeasedJob, Outbox
from cozy.turn import Message, SessionId, TurnId

Handler = Callable[[Job], Awaitable[object]]
Outcome = Literal["done", "failed", "given_up"]
Watcher = Callable[[str, Outcome], object]
"""Told of an attempt's target, `other` where nobody does such jobs, and of its outcome."""

AT_ONCE = 16
"""Jobs under way in one process."""
POLL_S = 2.0
"""How often to look for jobs that nobody here was told of: of other processes, or due again."""
LONGEST_WAIT_S = 300.0
"""Between two attempts at one job."""

_random = SystemRandom()
_log = logging.getLogger("cozy.worker")


class Worker:
    """Drains the outbox while `run` runs; `wake` tells it of new jobs."""

    def __init__(
        self,
        outbox: Outbox,
        handlers: Mapping[str, Handler],
        *,
        lease_s: float,
        max_attempts: int,
        at_once: int = AT_ONCE,
    ) -> None:
        self._outbox = outbox
        self._handlers = handlers
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._at_once = at_once
        self._woken = anyio.Event()
        self._leaving = False
        self._busy = 0
        self._watchers: list[Watcher] = []

    @property
    def busy(self) -> int:
        """How many jobs are being done."""
        return self._busy

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
        """Until `leave`. A job that is cancelled under way is taken again when its lease runs out."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._woken = anyio.Event()
                leased = await self._claim(self._at_once - self._busy)
                for job in leased:
                    self._busy += 1
                    tasks.start_soon(self._take, job)
                if leased or self._woken.is_set():  # what has ended meanwhile may have made others due
                    continue
                if self._leaving and not self._busy:
                    return
                with anyio.move_on_after(POLL_S):
                    await self._woken.wait()

    async def drain(self, within_s: float) -> int:
        """Do everything that is due, for `within_s` at most; gives how many jobs still wait."""
        self.leave()
        with anyio.move_on_after(within_s):
            await self.run()
        return await self._outbox.depth()

    async def _claim(self, room: int) -> Sequence[LeasedJob]:
        if room == 0:
            return ()
        try:
            return await self._outbox.claim(limit=room, lease_s=self._lease_s)
        except StorageError as error:
            _log.warning("the outbox cannot be read", extra={"code": error.code})
            return ()

    async def _take(self, leased: LeasedJob) -> None:
        try:
            await self._do(leased)
        except StorageError as error:  # its lease runs out, and then it is taken again
            _log.warning("the outbox cannot be written", extra={"code": error.code})
        finally:
            self._busy -= 1
            self.wake()

    async def _do(self, leased: LeasedJob) -> None:
        job = leased.job
        try:
            handler = self._handlers.get(job.target)
            if handler is None:
                raise EngineInvalidRequest(job.target, "nobody here does such jobs")
            with anyio.fail_after(self._lease_s):
                await handler(job)
        except (CozyError, TimeoutError) as error:
            await self._give_back(leased, error)
        except Exception as error:
            _log.exception("job failed", extra=_log_fields(job))
            await self._give_back(leased, error)
        else:
            await self._outbox.done(job.id)
            self._tell(job, "done")

    async def _give_back(self, leased: LeasedJob, error: Exception) -> None:
        job, words = leased.job, f"{type(error).__name__}: {error}"
        fields = {**_log_fields(job), "code": getattr(error, "code", None), "attempts": leased.attempts}
        if leased.attempts >= self._max_attempts or isinstance(error, EngineInvalidRequest):
            _log.error("job given up", extra=fields)
            await self._outbox.bury(job.id, error=words)
            self._tell(job, "given_up")
            return
        _log.warning("job failed, will be tried again", extra=fields)
        wait_s = min(LONGEST_WAIT_S, 2.0**leased.attempts) * _random.uniform(0.5, 1.0)
        await self._outbox.retry(job.id, error=words, after_s=wait_s)
        self._tell(job, "failed")

    def _tell(self, job: Job, outcome: Outcome) -> None:
        target = job.target if job.target in self._handlers else "other"
        for watcher in self._watchers:
            watcher(target, outcome)


def _log_fields(job: Job) -> dict[str, str | None]:
    """Which job it is, and whose turn has left it."""
    turn = {name: job.payload.get(name) for name in ("request_id", "session_id", "turn_id", "personality_id")}
    return {**turn, "user_id": str(job.user_id), "job_id": str(job.id), "target": job.target}


def learning(memories: Memories, profiles: Profiles) -> Mapping[str, Handler]:
    """Who does the jobs of `writeback`."""

    async def memory(job: Job) -> object:
        return await memories.learn(exchange_of(job))

    async def profile(job: Job) -> object:
        return await profiles.learn(exchange_of(job))

    return {"memory": memory, "profile": profile}


def exchange_of(job: Job) -> Exchange:
    """The exchange that a job of `writeback` carries."""
    payload = job.payload
    session = payload.get("session_id")
    return Exchange(
        turn_id=TurnId(UUID(payload["turn_id"])),
        user_id=job.user_id,
        session_id=SessionId(UUID(session)) if session else None,
        personality_id=payload["personality_id"],
        model=payload["model"],
        messages=(Message("user", payload["user"]), Message("assistant", payload["assistant"])),
    )
