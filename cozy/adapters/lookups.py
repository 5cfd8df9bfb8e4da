"""Questions of turns to one engine: answered from what is kept, asked once for all who want the same, and
never waited for longer than a turn may wait.

A question that is too late for its turn goes on, within the engine's own time, and fills the cache for the
next one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from time import perf_counter
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from cachetools import LRUCache
from pydantic import TypeAdapter, ValidationError

from cozy.adapters.answer_cache import AnswerCache, Kept
from cozy.adapters.guard import Attempt, Guard
from cozy.adapters.sql_generations import EVERYBODY, SqlGenerations
from cozy.errors import EngineError, EngineTimeout, EngineUnavailable, StorageError
from cozy.ports.context import CacheHit, EngineRecord, Found
from cozy.turn import UserId

FORMAT = 2
"""Of what is kept; goes up when values change their shape."""
REMEMBERED = 2_000
"""Users whose last question is remembered, to ask it again."""

BUMP_S = 5.0
"""How long the database may take to have all processes know of a write."""
NOTHING = b"[]"

T = TypeVar("T")
R = TypeVar("R")
_Answer = tuple[Sequence[T], CacheHit, EngineError | None]
"""Items, where they were kept, and what kept others away."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """A question as the cache sees it."""

    user_id: UserId
    parts: Sequence[Any]
    """What the answer depends on beside user and engine; JSON."""
    load: Callable[[], Awaitable[Sequence[T]]]
    stale_s: float = 0.0
    prefetch: bool = False
    kin: Sequence[Any] | None = None
    """The parts without which another answer will still do when the engine is late: memories that fitted what
    the user said before."""


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    """A question under way; all who have the same wait for it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    attempt: Attempt | None = None
    items: Sequence[T] = ()
    cache: CacheHit = ""
    error: EngineError | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the answers of an engine outside are kept, and for how long."""

    cache: AnswerCache
    generations: SqlGenerations
    tasks: TaskGroup
    """Where questions go on that nobody waits for."""
    ttl_s: float
    empty_ttl_s: float
    config_version: str
    """Of the engine: the same on every machine that asks it."""


class Lookups(Generic[T]):
    """For one engine. Without a shelf nothing is kept: the embedded engines lie nearer than any cache."""

    def __init__(
        self, guard: Guard, codec: TypeAdapter[list[T]], shelf: Shelf | None = None, *, shared: bool = False
    ) -> None:
        """`codec`: how items are written down. `shared`: what is written to the engine is EVERYBODY's, as
        documents are."""
        self.guard = guard
        self._codec = codec
        self._shelf = shelf
        self._shared = shared
        self._flights: dict[object, _Flight[T]] = {}
        self._last: LRUCache[UserId, Asked[T]] = LRUCache(REMEMBERED)

    async def ask(self, asked: Asked[T], *, until: float) -> Found[T]:
        """An answer by the moment `until` of anyio's clock; what goes wrong stands in it."""
        began = perf_counter()
        if self._shelf is None:
            items, cache, error = await self._ask_here(asked, until)
        else:
            items, cache, error = await self._ask_outside(self._shelf, asked, until)
        record = EngineRecord(
            engine=self.guard.kind,
            provider=self.guard.name,
            outcome=error.code if error else ("ok" if items else "empty"),
            seconds=perf_counter() - began,
            cache=cache,
            items=len(items),
            reason=error.message if error else "",
        )
        return Found(items, record, None if cache == "stale" else error)

    async def _ask_here(self, asked: Asked[T], until: float) -> _Answer[T]:
        timeout_s = min(until - anyio.current_time(), self.guard.timeout_s)
        if timeout_s <= 0:  # whatever took the time, it was not this engine
            return (), "", EngineTimeout(self.guard.label, "there was no time left to ask it")
        try:
            with self.guard.attempt():
                return await self.guard.in_time(asked.load, timeout_s), "", None
        except EngineError as error:
            return (), "", error

    async def _ask_outside(self, shelf: Shelf, asked: Asked[T], until: float) -> _Answer[T]:
        keys: Sequence[str] = ()
        flight: _Flight[T] | None = None
        error: EngineError | None = None
        with anyio.CancelScope(deadline=until):
            try:
                keys = await self._keys(shelf, asked)
            except StorageError as failure:
                error = EngineUnavailable(self.guard.label, f"cannot be asked now: {failure.message}")
            else:
                if (kept := self._fresh(shelf, keys[0])) is not None:
                    return kept, "l1", None
                flight = self._flights.get(keys[0]) or self._begin(shelf, keys, asked)
                await flight.done.wait()
                if flight.error is None:
                    return flight.items, flight.cache, None
                error = flight.error
        if error is None:
            error = EngineTimeout(self.guard.label, "did not answer in time")
            if flight is not None and flight.attempt is not None:
                flight.attempt.late()
        old = self._stale(shelf, keys, asked)
        return old, ("stale" if old else ""), error

    # -- flights ---------------------------------------------------------------------------------------

    def _begin(self, shelf: Shelf, keys: Sequence[str], asked: Asked[T]) -> _Flight[T]:
        if asked.prefetch:
            self._last[asked.user_id] = asked
        flight = self._flights[keys[0]] = _Flight[T]()
        shelf.tasks.start_soon(self._fly, shelf, flight, keys, asked)
        return flight

    async def _fly(self, shelf: Shelf, flight: _Flight[T], keys: Sequence[str], asked: Asked[T]) -> None:
        new: Kept | None = None
        kept_as = keys
        try:
            await shelf.cache.far(keys)
            if (kept := self._fresh(shelf, keys[0])) is not None:
                flight.items, flight.cache = kept, "l2"
                return
            with self.guard.attempt() as flight.attempt:
                flight.items = await self.guard.in_time(asked.load)
                payload = self._codec.dump_json(list(flight.items))
            if not flight.items:
                kept_as = keys[:1]  # in place of no other answer: there is nothing in it that would do
            new = shelf.cache.keep(kept_as, payload)
        except EngineError as error:
            flight.error = error
        except Exception as error:  # it ends this question; raised, it would end everything beside it
            flight.error = self.guard.bug(error)
        except BaseException:
            flight.error = EngineUnavailable(
                self.guard.label, "was left in the middle: Cozy is being stopped"
            )
            raise
        finally:
            del self._flights[keys[0]]
            flight.done.set()
        if new is not None and shelf.cache.is_shared:
            await self._share(shelf, kept_as, asked, new)

    async def _share(self, shelf: Shelf, keys: Sequence[str], asked: Asked[T], new: Kept) -> None:
        """With the other processes, but for what has become old meanwhile: its user may have been erased."""
        with suppress(StorageError):
            if keys[0] in await self._keys(shelf, asked):
                await shelf.cache.share(keys, new, max(shelf.ttl_s, asked.stale_s))

    # -- writing ---------------------------------------------------------------------------------------

    async def call(self, work: Callable[[], Awaitable[R]]) -> R:
        """Ask the engine something that is not kept. Raises EngineError."""
        with self.guard.attempt():
            return await self.guard.in_time(work)

    async def learn(
        self, user_id: UserId, work: Callable[[], Awaitable[R]], *, timeout_s: float | None = None
    ) -> R:
        """Add to what the engine knows of a user: then nothing kept before is used any more.

        Where it fails, what was kept is as true as before, and all there is while the engine is away.

        `timeout_s`: it may take long. Raises EngineError, StorageError.
        """
        with self.guard.attempt(patient=timeout_s is not None):
            done = await self.guard.in_time(work, timeout_s)
            await self._forget_kept(user_id)
        if self._shelf is not None and (asked := self._last.get(user_id)) is not None:
            self._shelf.tasks.start_soon(self._ask_again, self._shelf, asked)
        return done

    async def change(self, user_id: UserId, work: Callable[[], Awaitable[R]]) -> R:
        """Change or delete what the engine knows of a user. Raises EngineError, StorageError.

        Whatever comes of it, nothing kept before is used any more.
        """
        with self.guard.attempt():
            try:
                return await self.guard.in_time(work)
            finally:
                await self._forget_kept(user_id)

    async def forget(self, user_id: UserId, work: Callable[[], Awaitable[R]]) -> R:
        """Have the engine forget all that it knows of a user. Raises EngineError, StorageError.

        What was kept of it would never be used again; it goes all the same.
        """
        done = await self.change(user_id, work)
        self._last.pop(user_id, None)
        if self._shelf is not None:
            await self._shelf.cache.drop(self._of(user_id))
        return done

    async def _forget_kept(self, user_id: UserId) -> None:
        """Raises StorageError: until this is done, another process may give what it kept."""
        if self._shelf is None:
            return
        with anyio.move_on_after(BUMP_S, shield=True):
            await self._shelf.generations.bump(user_id, self._engine)
            return
        raise StorageError(
            f"the database did not take in within {BUMP_S:g} s that {self._engine} has changed"
        )

    async def _ask_again(self, shelf: Shelf, asked: Asked[T]) -> None:
        """So that the next turn finds the answer here."""
        try:
            keys = await self._keys(shelf, asked)
        except StorageError:
            return  # it was for speed alone
        if keys[0] not in self._flights:
            self._begin(shelf, keys, asked)

    # -- what is kept ----------------------------------------------------------------------------------

    @property
    def _engine(self) -> str:
        return f"{self.guard.kind}/{self.guard.name}"

    def _of(self, user_id: UserId) -> str:
        """What the keys of a user's answers begin with."""
        return f"{self._engine}:{user_id.hex}:"

    async def _keys(self, shelf: Shelf, asked: Asked[T]) -> Sequence[str]:
        """Of the answer itself, and of whichever will do in its place. Raises StorageError."""
        owner = EVERYBODY if self._shared else asked.user_id
        generation = await shelf.generations.of(owner, self._engine)
        start = f"{self._of(asked.user_id)}{generation}"
        keys = [f"{start}:{_digest([FORMAT, shelf.config_version, *asked.parts])}"]
        if asked.kin is not None and self._longest_age(shelf, asked) > 0:
            keys.append(f"{start}:kin:{_digest([FORMAT, shelf.config_version, *asked.kin])}")
        return keys

    def _fresh(self, shelf: Shelf, key: str) -> Sequence[T] | None:
        kept = shelf.cache.near(key)
        if kept is None:
            return None
        ttl_s = min(shelf.ttl_s, shelf.empty_ttl_s) if kept.payload == NOTHING else shelf.ttl_s
        return self._read(kept) if shelf.cache.clock() - kept.at < ttl_s else None

    def _stale(self, shelf: Shelf, keys: Sequence[str], asked: Asked[T]) -> Sequence[T]:
        """An older answer that the question lets pass; nothing where there is none."""
        longest_s = self._longest_age(shelf, asked)
        for key in keys:
            kept = shelf.cache.near(key)
            if kept is not None and shelf.cache.clock() - kept.at <= longest_s and (old := self._read(kept)):
                return old
        return ()

    @staticmethod
    def _longest_age(shelf: Shelf, asked: Asked[T]) -> float:
        """What was fetched ahead for this turn is there to be used."""
        return max(asked.stale_s, shelf.ttl_s if asked.prefetch else 0.0)

    def _read(self, kept: Kept) -> Sequence[T] | None:
        try:
            return self._codec.validate_json(kept.payload)
        except ValidationError:  # somebody else's, under our key
            return None


def _digest(parts: Sequence[Any]) -> str:
    return blake2b(json.dumps(parts, ensure_ascii=False).encode(), digest_size=16).hexdigest()
