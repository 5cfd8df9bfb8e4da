"""Memories in Cozy's own database: sentences about each user, searched by their terms.

What one user has told fits in a page, so a search reads that user's newest sentences and ranks them in
Python: the same on every database, and never a row of somebody else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Select, bindparam, select

from cozy.adapters.extraction import LONGEST_FACT, Extractor
from cozy.adapters.sql_engine import engine_errors, insert, is_learned, learn_once, required, row_id
from cozy.adapters.text_terms import index_terms, query_terms, rank
from cozy.errors import EngineInvalidRequest, NotFound
from cozy.ports.memory import Exchange, MemoryItem
from cozy.storage.context_tables import memories
from cozy.storage.database import Database
from cozy.storage.schema import storable, utc_now
from cozy.turn import UserId
from cozy.writing import fingerprint

ENGINE = "memory"
SEARCHED = 2000
"""How many of a user's newest memories a search reads."""

_NEWEST = (
    select(memories.c.id, memories.c.text, memories.c.created_at)
    .where(memories.c.user_id == bindparam("user_id"))
    .order_by(memories.c.created_at.desc(), memories.c.id)
)
_SAME = _NEWEST.where(memories.c.digest == bindparam("digest"))
_NEWEST_FEW = _NEWEST.limit(bindparam("count"))


class SqlMemories:
    """Fills `Memories`."""

    def __init__(self, database: Database, extractor: Extractor) -> None:
        self._database = database
        self._extractor = extractor

    async def search(self, query: str, *, user_id: UserId, top_k: int) -> Sequence[MemoryItem]:
        """A query that holds nothing but stop words finds nothing."""
        top_k = max(top_k, 0)
        if not query.strip():
            return await self._newest(user_id, top_k)
        terms = query_terms(query)
        if not terms:
            return []
        items = await self._newest(user_id, SEARCHED)
        scores = rank(terms, [_terms(item.text) for item in items])
        best = sorted(range(len(items)), key=lambda place: -scores[place])[:top_k]
        return [
            MemoryItem(items[place].id, items[place].text, items[place].created_at, scores[place])
            for place in best
            if scores[place] > 0
        ]

    async def learn(self, exchange: Exchange) -> int:
        with engine_errors(ENGINE):
            if await is_learned(self._database, exchange, "memory"):
                return 0
        rows = _rows(exchange.user_id, await self._extractor.memories(exchange))
        known = {item.id: item.text for item in await self.items(exchange.user_id)} if rows else {}
        old = set(self._extractor.outdated(exchange, list(known.values())))
        gone = [row_id("memory", key) for key, text in known.items() if text in old]

        def take_in(connection: Connection) -> int:
            if gone:
                connection.execute(
                    memories.delete().where(memories.c.user_id == exchange.user_id, memories.c.id.in_(gone))
                )
            return _take_in(connection, rows)

        with engine_errors(ENGINE):
            return await learn_once(self._database, exchange, "memory", take_in)

    async def add(self, user_id: UserId, text: str) -> MemoryItem:
        text = storable(required(ENGINE, "the memory", text, LONGEST_FACT))
        rows = _rows(user_id, [text])
        if not rows:
            raise EngineInvalidRequest(ENGINE, "the memory has no word in it")

        def work(connection: Connection) -> MemoryItem:
            _take_in(connection, rows)
            values = {"user_id": user_id, "digest": rows[0]["digest"]}
            return _read(connection, _SAME, values)[0]

        with engine_errors(ENGINE):
            return await self._database.write(work)

    async def items(self, user_id: UserId) -> Sequence[MemoryItem]:
        with engine_errors(ENGINE):
            return await self._database.read(lambda c: _read(c, _NEWEST, {"user_id": user_id}))

    async def edit(self, user_id: UserId, item_id: str, text: str) -> None:
        """Raises NotFound for another user's item too. Another item that says the same is merged into it."""
        text = storable(required(ENGINE, "the memory", text, LONGEST_FACT))
        key = row_id("memory", item_id)

        def work(connection: Connection) -> None:
            mine = memories.c.user_id == user_id
            digest = _digest(text)
            connection.execute(
                memories.delete().where(mine, memories.c.digest == digest, memories.c.id != key)
            )
            changed = connection.execute(
                memories.update().where(mine, memories.c.id == key).values(text=text, digest=digest)
            )
            if not changed.rowcount:
                raise NotFound("memory", item_id)

        with engine_errors(ENGINE):
            await self._database.write(work)

    async def forget(self, user_id: UserId, item_id: str | None = None) -> int:
        """One item (NotFound where there is none, or it is another user's), or everything."""
        statement = memories.delete().where(memories.c.user_id == user_id)
        if item_id is not None:
            statement = statement.where(memories.c.id == row_id("memory", item_id))
        with engine_errors(ENGINE):
            gone = await self._database.write(lambda connection: connection.execute(statement).rowcount)
        if item_id is not None and not gone:
            raise NotFound("memory", item_id)
        return gone

    async def _newest(self, user_id: UserId, count: int) -> Sequence[MemoryItem]:
        values = {"user_id": user_id, "count": count}
        with engine_errors(ENGINE):
            return await self._database.read(lambda c: _read(c, _NEWEST_FEW, values))


def _read(
    connection: Connection, statement: Select[Any, Any, Any], values: Mapping[str, Any]
) -> list[MemoryItem]:
    return [
        MemoryItem(str(key), text, created_at)
        for key, text, created_at in connection.execute(statement, values)
    ]


def _rows(user_id: UserId, sentences: Sequence[str]) -> list[dict[str, Any]]:
    now = utc_now()
    return [
        {
            "id": uuid4(),
            "user_id": user_id,
            "text": storable(sentence),
            "digest": _digest(sentence),
            # what was said later in the exchange is newer
            "created_at": now + timedelta(microseconds=place),
            "seen": 1,
            "seen_at": now,
        }
        for place, sentence in enumerate(sentences)
        if fingerprint(sentence)
    ]


def _take_in(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert what is new, count what was known; gives how many are new."""
    new = 0
    for row in rows:
        inserted = connection.execute(
            insert(connection, memories).values(row).on_conflict_do_nothing()
        ).rowcount
        new += inserted
        if not inserted:
            connection.execute(
                memories.update()
                .where(memories.c.user_id == row["user_id"], memories.c.digest == row["digest"])
                .values(seen=memories.c.seen + 1, seen_at=row["seen_at"])
            )
    return new


def _digest(text: str) -> str:
    return hashlib.sha256(storable(fingerprint(text)).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _terms(text: str) -> frozenset[str]:
    """A memory is read at each of its user's turns and changes hardly ever."""
    return frozenset(index_terms(text))
