"""A request that comes a second time is the turn that it began the first time.

Clients repeat by themselves: a connection was lost, a deadline ran out. The second time is answered from what
the first one stored, waits for it where it still runs, and takes its place where it came to nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio

from cozy.errors import Conflict, StorageError
from cozy.ports.requests import KnownRequest, Requests
from cozy.ports.store import TurnStatus
from cozy.turn import RequestMark, Turn, UserId

_log = logging.getLogger("cozy.turn")

POLL_S = 0.25
"""How often to look for the end of a turn that another process runs."""
LEASE_S = 20.0
"""A claim that nobody has renewed for so long is free: its process is dead."""
RENEWED_S = 5.0
SWEPT_AT = 512
"""So many turns are remembered before those that have ended are forgotten."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A turn of this process that has a mark."""

    mark: RequestMark
    ended: anyio.Event


class Repeats:
    """Finds the turn that a request has begun already."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._running: dict[tuple[UserId, str], _Running] = {}

    async def begin(self, turn: Turn) -> Turn | KnownRequest:
        """The turn to run now, maybe in place of one that came to nothing; or what the request was answered.

        Raises Conflict where the client's key was used for another request, and StorageError.
        """
        mark = turn.request
        if mark is None or not (mark.claimed or mark.repeated):
            return turn
        while True:
            running = self._running.get((turn.user_id, mark.key))
            if running is not None:
                _same(mark, running.mark.body_hash)
                await running.ended.wait()
            known = (
                await self._requests.claim(turn.user_id, mark, turn.id, lease_s=LEASE_S)
                if mark.claimed
                else await self._requests.find(turn.user_id, mark)
            )
            if known is None:
                return turn
            _same(mark, known.body_hash)
            if known.state == "complete":
                return known
            if known.state != "running":
                return replace(turn, retry_of=known.turn_id, session_id=known.session_id or turn.session_id)
            await anyio.sleep(POLL_S)  # another process has it, or had it: then its lease runs out

    def watch(self, turn: Turn, ended: anyio.Event) -> None:
        """Remember a turn that runs until `ended`: its repetition in this process waits for that."""
        if turn.request is None:
            return
        if len(self._running) >= SWEPT_AT:
            self._running = {key: run for key, run in self._running.items() if not run.ended.is_set()}
        self._running[turn.user_id, turn.request.key] = _Running(turn.request, ended)

    async def hold(self, turn: Turn) -> None:
        """Keep the claim of a turn that runs, until this is cancelled."""
        if turn.request is None or not turn.request.claimed:
            return
        while True:
            await anyio.sleep(RENEWED_S)
            try:
                await self._requests.renew(turn.user_id, turn.id, lease_s=LEASE_S)
            except StorageError as error:  # the database may be back in time
                _log.warning("claim not renewed", extra={**turn.log_fields(), "code": error.code})

    async def settle(self, turn: Turn, state: TurnStatus, reply: Mapping[str, Any] | None) -> None:
        """End the claim of a turn that nothing else stores; `reply` as in `TurnRecord`."""
        if turn.request is not None and turn.request.claimed:
            await self._requests.settle(turn.user_id, turn.id, state, reply)


def _same(mark: RequestMark, body_hash: str) -> None:
    if mark.body_hash != body_hash:
        raise Conflict(
            "this `Idempotency-Key` was used for another request",
            param="Idempotency-Key",
            hint="a new request needs a new key",
        )
