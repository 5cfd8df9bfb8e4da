from __future__ import annotations

import anyio
import pytest

from cozy.adapters.sql_engine_writes import SqlEngineWrites, Write
from cozy.adapters.sql_store import SqlStore
from cozy.errors import EngineUnavailable
from cozy.storage.database import Database
from cozy.storage.tables import users
from cozy.turn import UserId
from tests.adapters.teaching import exchange


@pytest.fixture
async def ada(database: Database) -> UserId:
    return await SqlStore(database).user("ada")


@pytest.fixture
def writes(database: Database) -> SqlEngineWrites:
    return SqlEngineWrites(database, "facts")


async def test_a_write_is_followed_from_its_beginning_to_its_end(
    writes: SqlEngineWrites, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    assert await writes.begin(told) == Write(is_new=True, receipt=None, is_done=False)
    assert await writes.begin(told) == Write(is_new=False, receipt=None, is_done=False)
    await writes.note(told.turn_id, "回执 1")
    assert await writes.begin(told) == Write(is_new=False, receipt="回执 1", is_done=False)
    await writes.note(told.turn_id, None)
    assert await writes.begin(told) == Write(is_new=False, receipt=None, is_done=False)
    await writes.finish(told.turn_id)
    assert (await writes.begin(told)).is_done


async def test_engines_and_turns_are_kept_apart(
    writes: SqlEngineWrites, database: Database, ada: UserId
) -> None:
    told, other = exchange(ada, "I like tea"), exchange(ada, "I like rain")
    await writes.begin(told)
    await writes.finish(told.turn_id)
    assert (await writes.begin(other)).is_new
    assert (await SqlEngineWrites(database, "notes").begin(told)).is_new


async def test_one_of_many_at_once_is_the_first(writes: SqlEngineWrites, ada: UserId) -> None:
    told = exchange(ada, "I like tea")
    begun: list[Write] = []

    async def begin() -> None:
        begun.append(await writes.begin(told))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(begin)
    assert sum(write.is_new for write in begun) == 1


async def test_the_journal_goes_with_its_user(
    writes: SqlEngineWrites, database: Database, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    await writes.begin(told)
    await database.write(lambda connection: connection.execute(users.delete().where(users.c.id == ada)))
    await writes.finish(told.turn_id)  # nothing to do
    with pytest.raises(EngineUnavailable):
        await writes.begin(told)
