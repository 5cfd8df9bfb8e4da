"""Whom a key or token stands for, kept for a moment: a busy client is not looked up for each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic

import anyio

from cozy.ports.identity import Caller
from cozy.turn import UserId

FRESH_S = 2.0
"""How long what was read is taken for true: a bound for roles, closed accounts and revocations alike."""
MOST = 20_000
"""Credentials that are kept; some 500 bytes each."""


@dataclass(slots=True, eq=False)
class _Reading:
    """Somebody is looking it up; the others wait for what comes of it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None


class CallerCache:
    def __init__(self, *, fresh_s: float = FRESH_S) -> None:
        self._fresh_s = fresh_s
        # credentials are kept as their hash, and each with the moment until which it is fresh
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._reading: dict[bytes, _Reading] = {}
        self._drops = 0

    async def find(self, credential: str, read: Callable[[str], Awaitable[tuple[Caller, float]]]) -> Caller:
        """The caller as kept, or as `read` gives it, with the seconds for which it is good at most.

        Whoever brings the same credential while it is being read shares the answer, errors included.
        """
        key = sha256(credential.encode("utf-8", "surrogatepass")).digest()
        while True:
            known = self._known.get(key)
            if known is not None and known[1] > monotonic():
                return known[0]
            reading = self._reading.get(key)
            if reading is None:
                return await self._read(key, credential, read)
            await reading.done.wait()
            if reading.error is not None:
                raise reading.error

    def drop(self, user_id: UserId | None = None) -> None:
        """Look up afresh whatever stands for this user, or for anybody; also what is being read now."""
        self._drops += 1
        if user_id is None:
            self._known.clear()
        else:
            self._keep(lambda caller, _: caller.user_id != user_id)

    async def _read(
        self, key: bytes, credential: str, read: Callable[[str], Awaitable[tuple[Caller, float]]]
    ) -> Caller:
        reading = self._reading[key] = _Reading()
        drops, began = self._drops, monotonic()
        try:
            caller, good_s = await read(credential)
        except Exception as error:
            reading.error = error
            raise
        else:
            if drops == self._drops:
                self._make_room(began)
                self._known[key] = (caller, began + min(self._fresh_s, good_s))
            return caller
        finally:
            del self._reading[key]
            reading.done.set()

    def _make_room(self, now: float) -> None:
        if len(self._known) >= MOST:
            self._keep(lambda _, until: until > now)
        if len(self._known) >= MOST:
            self._known.clear()

    def _keep(self, wanted: Callable[[Caller, float], bool]) -> None:
        self._known = {key: known for key, known in self._known.items() if wanted(*known)}
