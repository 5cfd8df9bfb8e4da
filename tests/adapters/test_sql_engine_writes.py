from __future__ import annotations

import anyio
import pytest

from cozy.adapters.sql_engine_writes import SqlEngineWrites, Write
from cozy.adapters.sql_store import SqlStore
from cozy.errors import EngineTimeout, EngineUnavailable
from cozy.ports.memory import Exchange
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


class Sending:
    """What an adapter is told when it is to send a turn: it fails, unless `learned` says what came of it."""

    def __init__(self) -> None:
        self.told: list[Write] = []
        self.learned: int | None = None

    async def __call__(self, write: Write) -> int:
        self.told.append(write)
        if self.learned is None:
            raise EngineUnavailable("facts", "is away")
        return self.learned


async def failed(writes: SqlEngineWrites, told: Exchange) -> Write:
    """How far the turn had come, when it is sent once more in vain."""
    send = Sending()
    with pytest.raises(EngineUnavailable, match="is away"):
        await writes.once(told, send, 10)
    [write] = send.told
    return write


async def done(writes: SqlEngineWrites, told: Exchange) -> list[Write]:
    """How far it had come, when it is taken in; nothing where it had been."""
    send = Sending()
    send.learned = 3
    assert await writes.once(told, send, 10) == 3 * len(send.told)
    return send.told


async def test_a_write_is_followed_from_its_beginning_to_its_end(
    writes: SqlEngineWrites, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    assert await failed(writes, told) == Write(is_new=True, receipt=None)
    assert await failed(writes, told) == Write(is_new=False, receipt=None)
    await writes.note(told.turn_id, "回执 1")
    assert await failed(writes, told) == Write(is_new=False, receipt="回执 1")
    await writes.note(told.turn_id, None)
    assert await done(writes, told) == [Write(is_new=False, receipt=None)]
    assert await done(writes, told) == [], "once is enough"


async def test_one_that_takes_too_long_may_have_come(writes: SqlEngineWrites, ada: UserId) -> None:
    async def hang(write: Write) -> int:
        await anyio.sleep_forever()
        return 1

    told = exchange(ada, "I like tea")
    with pytest.raises(EngineTimeout):
        await writes.once(told, hang, 0.01)
    assert not (await failed(writes, told)).is_new


async def test_engines_and_turns_are_kept_apart(
    writes: SqlEngineWrites, database: Database, ada: UserId
) -> None:
    told, other = exchange(ada, "I like tea"), exchange(ada, "I like rain")
    await done(writes, told)
    assert (await failed(writes, other)).is_new
    assert (await failed(SqlEngineWrites(database, "notes"), told)).is_new


async def test_one_of_many_at_once_is_the_first(writes: SqlEngineWrites, ada: UserId) -> None:
    told = exchange(ada, "I like tea")
    begun: list[Write] = []

    async def begin() -> None:
        begun.append(await failed(writes, told))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(begin)
    assert sum(write.is_new for write in begun) == 1


async def test_the_journal_goes_with_its_user(
    writes: SqlEngineWrites, database: Database, ada: UserId
) -> None:
    told = exchange(ada, "I like tea")
    await failed(writes, told)
    await database.write(lambda connection: connection.execute(users.delete().where(users.c.id == ada)))
    await writes.note(told.turn_id, "nothing to do")
    with pytest.raises(EngineUnavailable) as caught:
        await writes.once(told, Sending(), 10)
    assert "is away" not in caught.value.message, "the journal itself refuses"
