from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Column, Table, insert, select, text

from cozy.errors import StorageError
from cozy.storage.database import Database
from cozy.storage.migrate import model_metadata
from cozy.storage.schema import Json, StoredText, UtcDateTime, Uuid, metadata, storable, to_json

SHANGHAI = timezone(timedelta(hours=8))
PAST = datetime(1969, 7, 20, 20, 17, 40, 123456, tzinfo=UTC)


@pytest.fixture
async def kept(database: Database) -> Table:
    """A table with a column of each of our types."""
    metadata = type(model_metadata())()
    table = Table(
        "kept",
        metadata,
        Column("id", Uuid),
        Column("at", UtcDateTime),
        Column("value", Json),
        Column("words", StoredText),
    )
    await database.write(table.create)
    return table


@pytest.mark.parametrize("moment", [PAST, PAST.astimezone(SHANGHAI), datetime.max.replace(tzinfo=UTC), None])
async def test_a_moment_comes_back_in_utc(database: Database, kept: Table, moment: datetime | None) -> None:
    await database.write(lambda c: c.execute(insert(kept), {"at": moment}))
    read = await database.read(lambda c: c.execute(select(kept.c.at)).scalar())
    assert read == moment
    assert read is None or read.tzinfo is UTC


async def test_a_moment_without_a_time_zone_is_refused(database: Database, kept: Table) -> None:
    with pytest.raises(StorageError) as failure:
        await database.write(lambda c: c.execute(insert(kept), {"at": PAST.replace(tzinfo=None)}))
    assert "naive" in str(failure.value.__cause__)


async def test_moments_are_compared_as_moments(database: Database, kept: Table) -> None:
    later = PAST + timedelta(microseconds=1)
    await database.write(
        lambda c: c.execute(insert(kept), [{"at": later.astimezone(SHANGHAI)}, {"at": PAST}])
    )
    after = select(kept.c.at).where(kept.c.at > PAST.astimezone(SHANGHAI))
    assert await database.read(lambda c: c.execute(after).scalars().all()) == [later]


async def test_chinese_in_json_is_stored_as_it_is(database: Database, kept: Table) -> None:
    await database.write(lambda c: c.execute(insert(kept), {"value": {"城市": ["杭州", "😀"]}}))
    raw = text("SELECT CAST(value AS TEXT) FROM kept")
    stored = await database.read(lambda c: c.execute(raw).scalar_one())
    assert json.loads(stored) == {"城市": ["杭州", "😀"]}
    assert "城市" in stored


async def test_none_is_null_and_not_json(database: Database, kept: Table) -> None:
    await database.write(lambda c: c.execute(insert(kept), {"value": None}))
    nulls = text("SELECT count(*) FROM kept WHERE value IS NULL")
    assert await database.read(lambda c: c.execute(nulls).scalar()) == 1


@example("\ud83d\ude00")
@example("\ude00\x00\ud83d")
@given(st.text(st.characters(exclude_categories=())))
def test_what_is_stored_is_always_valid_and_nothing_more_is_lost(words: str) -> None:
    stored = storable(words)
    assert stored.encode().decode() == stored
    assert "\x00" not in stored
    assert storable(stored) == stored
    if words.isprintable():
        assert stored == words


def test_halves_of_one_character_are_put_together() -> None:
    assert storable("\ud83d\ude00") == "😀"


WORDS = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)))


@example("a backslash before u0000: \\u0000")
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | WORDS,
        lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner),
    )
)
def test_json_that_can_be_stored_is_stored_unchanged(value: object) -> None:
    assert json.loads(to_json(value)) == value


def test_every_constraint_and_index_has_a_name() -> None:
    for table in model_metadata().tables.values():
        assert all(constraint.name for constraint in table.constraints)
        assert all(index.name for index in table.indexes)
    assert metadata is model_metadata()
