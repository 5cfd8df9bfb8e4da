"""Several processes that answer at one socket: started, replaced when they die, started anew one by one.

Hypercorn's own workers lose streams when they are stopped (docs/decisions/processes.md). POSIX only.

Each child is given two sockets and a name for its figures (shared_metrics.py), as `--child
LISTENER,CONTROL,SHARE`. It writes `r` to the second socket once it answers. When it reads a `d` there, or the
supervisor is gone, it is to stop as at a first SIGTERM; at an `n`, as at a second.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from subprocess import DEVNULL

import anyio
from anyio.abc import Process, TaskGroup

from cozy.cli.shared_metrics import Shares

_log = logging.getLogger("cozy.supervisor")

READY, DRAIN, NOW = b"r", b"d", b"n"
QUICK_S = 5.0
"""A child that lives no longer has not got over its start."""
MOST_QUICK = 5
"""After so many quick deaths in a row, and with no other that answers, there is no sense in another try."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
START_S = 60.0
"""How long a child may take until it answers, at a rolling restart."""
LEAVING_S = 15.0
"""What a child may take beside its answers' grace: to write what they left, and to close."""
HASTE_S = 5.0
"""What a child that is to stop at once may take; it ends by itself before, if it can."""


@dataclass(eq=False)
class Child:
    process: Process
    control: socket.socket
    share: str
    started: float
    ready: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, order: bytes) -> None:
        """Have it stop: `DRAIN`, when its answers have ended, or `NOW`."""
        with suppress(OSError):  # it may be gone already
            self.control.send(order)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """`run` answers until a signal ends it: SIGTERM and SIGINT let what is under way end first, a second one
    has it end at once, with what was said so far kept, a third one kills; SIGHUP starts every child anew."""

    def __init__(
        self,
        listener: socket.socket,
        command: Sequence[str],
        workers: int,
        shares: Shares,
        *,
        grace_s: float,
        on_ready: Callable[[], object],
        quick_s: float = QUICK_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
        leaving_s: float = LEAVING_S,
        haste_s: float = HASTE_S,
    ) -> None:
        self._listener = listener
        self._command = command
        self._shares = shares
        self._patience_s = grace_s + leaving_s
        self._haste_s = haste_s
        self._on_ready = on_ready
        self._quick_s = quick_s
        self._longest_pause_s = longest_pause_s
        self._slots: list[Child | None] = [None] * workers
        self._alive: set[Child] = set()
        """Those of the slots, and those on their way out."""
        self._changing = [anyio.Lock() for _ in range(workers)]
        self._rolling = anyio.Lock()
        self._stopping, self._now = anyio.Event(), anyio.Event()
        self._announced = False
        self._code = 0

    async def run(self) -> int:
        """Gives the exit code: 0 where every child ended well after it was asked to."""
        numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
        with anyio.open_signal_receiver(*numbers) as signals:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._obey, signals, tasks)
                for slot in range(len(self._slots)):
                    tasks.start_soon(self._keep, slot, tasks)
                await self._stopping.wait()
                self._listener.close()
                self._tell_all(DRAIN)
                tasks.start_soon(self._hurry)
                with anyio.move_on_after(self._patience_s):
                    await self._all_ended()
                if self._alive:
                    _log.error("children did not end in time", extra={"problems": len(self._alive)})
                    self._kill_all(1)
                    await self._all_ended()
                tasks.cancel_scope.cancel()
        return self._code

    async def _obey(self, signals: AsyncIterator[signal.Signals], tasks: TaskGroup) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                tasks.start_soon(self._roll, tasks)
            elif not self._stopping.is_set():
                _log.info("stopping when answers under way have ended", extra={"signal": int(number)})
                self._stopping.set()
            elif not self._now.is_set():
                _log.warning("stopping at once", extra={"signal": int(number)})
                self._code = 128 + number
                self._now.set()
                self._tell_all(NOW)
            else:
                _log.warning("killing the children", extra={"signal": int(number)})
                self._kill_all(128 + number)

    async def _hurry(self) -> None:
        """Kill those that do not stop at once when they are told to."""
        await self._now.wait()
        await anyio.sleep(self._haste_s)
        self._kill_all(self._code)

    def _tell_all(self, order: bytes) -> None:
        for child in self._alive:
            child.tell(order)

    def _kill_all(self, code: int) -> None:
        self._code = code
        for child in self._alive:
            child.kill()

    async def _all_ended(self) -> None:
        while self._alive:
            await next(iter(self._alive)).ended.wait()

    # -- one place among the workers -------------------------------------------------------------------

    async def _keep(self, slot: int, tasks: TaskGroup) -> None:
        """Whenever the child of this place dies, start another."""
        quick = 0
        async with self._changing[slot]:
            if self._stopping.is_set():
                return
            child = self._slots[slot] = await self._start(tasks)
        while True:
            await child.ended.wait()
            async with self._changing[slot]:
                current = self._slots[slot]
                if self._stopping.is_set():
                    return
                if current is not None and current is not child:  # it was replaced on purpose
                    child, quick = current, 0
                    continue
                quick = quick + 1 if anyio.current_time() - child.started < self._quick_s else 0
                fields = {"child": child.pid, "exit_code": child.process.returncode, "attempts": quick}
                # others that answer go on: the fault may be a file that is being mended
                if quick >= MOST_QUICK and not any(other.ready.is_set() for other in self._alive):
                    _log.critical("children die as soon as they start: giving up", extra=fields)
                    self._code = 1
                    self._stopping.set()
                    return
                _log.error("a child died: another takes its place", extra=fields)
                with anyio.move_on_after(min(FIRST_PAUSE_S * 2 ** min(quick, 10), self._longest_pause_s)):
                    await self._stopping.wait()
                    return
                child = self._slots[slot] = await self._start(tasks)

    async def _start(self, tasks: TaskGroup) -> Child:
        ours, theirs = socket.socketpair()
        share = self._shares.take()
        with theirs:
            ours.setblocking(False)
            handed = (self._listener.fileno(), theirs.fileno())
            process = await anyio.open_process(
                [*self._command, "--child", f"{handed[0]},{handed[1]},{share}"],
                stdin=DEVNULL,
                stdout=None,
                stderr=None,
                env={**os.environ, **self._shares.environment},
                pass_fds=handed,
                start_new_session=True,  # Ctrl-C is for us alone: we pass it on
            )
        child = Child(process, ours, share, anyio.current_time())
        self._alive.add(child)
        tasks.start_soon(self._watch, child)
        if self._stopping.is_set():
            child.tell(NOW if self._now.is_set() else DRAIN)
        return child

    async def _watch(self, child: Child) -> None:
        async with child.process, anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear, child)
            await child.process.wait()
            tasks.cancel_scope.cancel()
        child.control.close()
        self._shares.give_back(child.share)
        self._alive.discard(child)
        if self._stopping.is_set() and child.process.returncode:
            self._code = self._code or 1
        child.ended.set()

    async def _hear(self, child: Child) -> None:
        await anyio.wait_readable(child.control)
        try:
            answers = child.control.recv(1) == READY
        except OSError:  # it died before it had read all that it was told
            answers = False
        if answers:
            child.ready.set()
            if not self._announced and not self._stopping.is_set():
                self._announced = True
                self._on_ready()

    # -- a rolling restart -----------------------------------------------------------------------------

    async def _roll(self, tasks: TaskGroup) -> None:
        """Start every child anew, one after the other; the others answer meanwhile."""
        async with self._rolling:
            _log.info("starting every child anew")
            for slot in range(len(self._slots)):
                if not await self._replace(slot, tasks):
                    return
            _log.info("every child is new")

    async def _replace(self, slot: int, tasks: TaskGroup) -> bool:
        async with self._changing[slot]:
            if self._stopping.is_set():
                return False
            old, new = self._slots[slot], await self._start(tasks)
            with anyio.move_on_after(START_S):
                await first_of(new.ready, new.ended, self._stopping)
            if self._stopping.is_set():
                return False
            if new.ended.is_set() or not new.ready.is_set():
                _log.error("the new child does not start: the old ones stay", extra={"child": new.pid})
                new.kill()
                return False
            self._slots[slot] = new
        if old is not None:
            old.tell(DRAIN)
            with anyio.move_on_after(self._patience_s):
                await old.ended.wait()
            old.kill()
        return True


async def first_of(*events: anyio.Event) -> None:
    """Until one of them is set."""
    async with anyio.create_task_group() as tasks:

        async def wait_for(event: anyio.Event) -> None:
            await event.wait()
            tasks.cancel_scope.cancel()

        for event in events:
            tasks.start_soon(wait_for, event)
