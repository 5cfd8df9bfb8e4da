"""Profiles in Cozy's own database: one fact for each user, topic and sub-topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, bindparam, select

from cozy.adapters.extraction import LONGEST_FACT, Extractor, Fact
from cozy.adapters.sql_engine import engine_errors, insert, is_learned, learn_once, required, row_id
from cozy.errors import NotFound
from cozy.ports.memory import Exchange
from cozy.ports.profile import ProfileFact
from cozy.storage.context_tables import profile_facts
from cozy.storage.database import Database
from cozy.storage.schema import storable, utc_now
from cozy.turn import UserId
from cozy.writing import fingerprint

ENGINE = "profile"
MOST = 1000
"""Facts of one user that are read; the newest."""

_FACTS = (
    select(
        profile_facts.c.id,
        profile_facts.c.topic,
        profile_facts.c.sub_topic,
        profile_facts.c.content,
        profile_facts.c.updated_at,
    )
    .where(profile_facts.c.user_id == bindparam("user_id"))
    .order_by(profile_facts.c.updated_at.desc(), profile_facts.c.id)
    .limit(MOST)
)
_KNOWN = select(profile_facts.c.content).where(
    profile_facts.c.user_id == bindparam("user_id"),
    profile_facts.c.topic == bindparam("topic"),
    profile_facts.c.sub_topic == bindparam("sub_topic"),
)


class SqlProfiles:
    """Fills `Profiles`."""

    def __init__(self, database: Database, extractor: Extractor) -> None:
        self._database = database
        self._extractor = extractor

    async def facts(self, user_id: UserId, *, max_tokens: int | None = None) -> Sequence[ProfileFact]:
        """The name first, then who they are, then the newest; what does not fit whole is left out."""
        with engine_errors(ENGINE):
            newest = await self._database.read(lambda connection: _read(connection, user_id))
        telling = most_telling_first(newest)
        return telling if max_tokens is None else _fitting(telling, max_tokens)

    async def learn(self, exchange: Exchange) -> int:
        with engine_errors(ENGINE):
            if await is_learned(self._database, exchange, "profile"):
                return 0
        facts = await self._extractor.profile(exchange)
        with engine_errors(ENGINE):
            return await learn_once(
                self._database, exchange, "profile", lambda connection: _take_in(connection, exchange, facts)
            )

    async def edit(self, user_id: UserId, fact_id: str, content: str) -> None:
        content = storable(required(ENGINE, "the fact", content, LONGEST_FACT))
        statement = (
            profile_facts.update()
            .where(profile_facts.c.user_id == user_id, profile_facts.c.id == row_id("fact", fact_id))
            .values(content=content, updated_at=utc_now())
        )
        with engine_errors(ENGINE):
            changed = await self._database.write(lambda connection: connection.execute(statement).rowcount)
        if not changed:
            raise NotFound("fact", fact_id)

    async def forget(self, user_id: UserId, fact_id: str | None = None) -> int:
        """One fact (NotFound where there is none, or it is another user's), or everything."""
        statement = profile_facts.delete().where(profile_facts.c.user_id == user_id)
        if fact_id is not None:
            statement = statement.where(profile_facts.c.id == row_id("fact", fact_id))
        with engine_errors(ENGINE):
            gone = await self._database.write(lambda connection: connection.execute(statement).rowcount)
        if fact_id is not None and not gone:
            raise NotFound("fact", fact_id)
        return gone


def _read(connection: Connection, user_id: UserId) -> list[ProfileFact]:
    rows = connection.execute(_FACTS, {"user_id": user_id})
    return [ProfileFact(str(row.id), row.topic, row.sub_topic, row.content, row.updated_at) for row in rows]


def most_telling_first(facts: Iterable[ProfileFact]) -> list[ProfileFact]:
    """The name, then who they are, then the rest; among these as they were."""
    return sorted(facts, key=_rank)


def _rank(fact: ProfileFact) -> int:
    if fact.topic != "basic_info":
        return 2
    return 0 if fact.sub_topic == "name" else 1


def _fitting(facts: Iterable[ProfileFact], max_tokens: int) -> list[ProfileFact]:
    fitting: list[ProfileFact] = []
    for fact in facts:
        tokens = _tokens_at_most(f"{fact.topic} {fact.sub_topic} {fact.content}")
        if tokens <= max_tokens:
            max_tokens -= tokens
            fitting.append(fact)
    return fitting


def _tokens_at_most(text: str) -> int:
    """More than vocabularies need: 1 for 3 characters of ASCII, 3 for 2 others, and 4 around the fact."""
    plain = sum(character.isascii() for character in text)
    return 4 + -(-plain // 3) + -(-3 * (len(text) - plain) // 2)


def _take_in(connection: Connection, exchange: Exchange, facts: Sequence[Fact]) -> int:
    """Insert or replace; gives how many say something new."""
    now = utc_now()
    changed = 0
    for place, fact in enumerate(facts):
        key: dict[str, Any] = {
            "user_id": exchange.user_id,
            "topic": storable(fact.topic),
            "sub_topic": storable(fact.sub_topic),
        }
        known = connection.execute(_KNOWN, key).scalar()
        if known is not None and fingerprint(known) == fingerprint(fact.content):
            continue
        news = {"content": storable(fact.content), "updated_at": now + timedelta(microseconds=place)}
        connection.execute(
            insert(connection, profile_facts)
            .values(id=uuid4(), **key, **news)
            .on_conflict_do_update(index_elements=["user_id", "topic", "sub_topic"], set_=news)
        )
        changed += 1
    return changed
