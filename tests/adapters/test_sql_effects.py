"""What a turn has changed is known when it is said again."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import select, update

from cozy.adapters import sql_effects as module
from cozy.adapters.request_rows import prune
from cozy.adapters.sql_effects import SqlEffects
from cozy.adapters.sql_store import SqlStore
from cozy.ports.effects import Effect
from cozy.ports.store import TurnRecord
from cozy.stages.conversation import NOT_KNOWN
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import tool_effects
from cozy.turn import Message, RequestMark, SessionId, Turn, TurnId, UserId
from tests.adapters.killed_in_a_tool import MARK, Booking, book
from tests.databases import plan_of

BOOKED = Effect("book", '{"位": 4}', "订好了")


@pytest.fixture
async def ada(database: Database) -> UserId:
    return await SqlStore(database).user("ada")


@pytest.fixture
def effects(database: Database) -> SqlEffects:
    return SqlEffects(database)


def turn_of(user: UserId, **facts: Any) -> Turn:
    return Turn("Table 4, please.", user, "mia", **facts)


async def did(effects: SqlEffects, turn: Turn, effect: Effect = BOOKED) -> Effect:
    effect = replace(effect, id=uuid4())
    await effects.begin(turn, replace(effect, result=None))
    if effect.result is not None:
        await effects.end(effect)
    return effect


async def age(database: Database, by: timedelta) -> None:
    older = update(tool_effects).values(created_at=utc_now() - by)
    await database.write(lambda connection: connection.execute(older))


async def test_a_turn_that_is_said_again_knows_what_it_did(effects: SqlEffects, ada: UserId) -> None:
    first = turn_of(ada)
    done = await did(effects, first)
    begun = await did(effects, first, Effect("pay", "{}"))
    assert await effects.before(turn_of(ada, retry_of=first.id)) == [done, begun]
    assert await effects.before(turn_of(ada)) == []
    assert await effects.before(first) == [], "what it does now was not before"


async def test_what_came_to_nothing_is_forgotten(effects: SqlEffects, ada: UserId) -> None:
    first, effect = turn_of(ada), Effect("book", "{}")
    await effects.begin(first, effect)
    await effects.end(effect)
    assert await effects.before(turn_of(ada, retry_of=first.id)) == []


async def test_it_knows_what_the_turns_before_those_did(
    effects: SqlEffects, database: Database, ada: UserId
) -> None:
    store = SqlStore(database)
    session = await store.create_session(ada, "mia")
    first, second = turn_of(ada, session_id=session.id), TurnId(uuid4())
    done = await did(effects, first)
    await store.save_turn(
        TurnRecord(
            second,
            ada,
            session.id,
            "mia",
            (Message("user", "Table 4, please."),),
            "failed",
            0,
            {"retry_of": str(first.id)},
        )
    )
    assert await effects.before(turn_of(ada, retry_of=second)) == [done]


async def test_a_repeated_request_knows_it_though_its_first_turn_was_never_stored(
    effects: SqlEffects, ada: UserId
) -> None:
    mark = RequestMark("body:1", "1")
    done = await did(effects, turn_of(ada, request=mark))
    again = turn_of(ada, request=replace(mark, repeated=True))
    assert await effects.before(again) == [done]
    assert await effects.before(turn_of(ada, request=RequestMark("body:2", "2", repeated=True))) == []


@pytest.mark.parametrize(
    ("claimed", "minutes", "is_known"),
    [
        pytest.param(False, 14, True, id="soon"),
        pytest.param(False, 16, False, id="said anew"),
        pytest.param(True, 23 * 60, True, id="under a key"),
        pytest.param(True, 25 * 60, False, id="under a key of long ago"),
    ],
)
async def test_a_request_is_a_repetition_for_a_while(
    effects: SqlEffects, ada: UserId, claimed: bool, minutes: int, is_known: bool
) -> None:
    mark = RequestMark("k", "1", claimed, repeated=True)
    await did(effects, turn_of(ada, request=mark))
    await age(effects.database, timedelta(minutes=minutes))
    assert bool(await effects.before(turn_of(ada, request=mark))) is is_known


async def test_nobody_learns_what_another_did(effects: SqlEffects, database: Database, ada: UserId) -> None:
    mark = RequestMark("k", "1", claimed=True)
    first = turn_of(ada, request=mark)
    await did(effects, first)
    eve = await SqlStore(database).user("eve")
    assert await effects.before(turn_of(eve, request=mark, retry_of=first.id)) == []


async def test_it_is_found_by_its_index(effects: SqlEffects, ada: UserId) -> None:
    values = {"user": ada, "now_running": uuid4(), "turns": [uuid4()], "key": "k", "since": utc_now()}
    plan = await effects.database.write(lambda c: plan_of(c, module._BEFORE, values))
    assert "ix_tool_effects_request" in plan


async def test_after_a_day_only_those_of_sessions_are_kept(effects: SqlEffects, ada: UserId) -> None:
    kept = await did(effects, turn_of(ada, session_id=SessionId(uuid4())))
    await did(effects, turn_of(ada))
    await age(effects.database, timedelta(hours=25))
    fresh = await did(effects, turn_of(ada))
    await effects.database.write(lambda connection: prune(connection, utc_now()))
    rows = await effects.database.read(lambda c: c.execute(select(tool_effects.c.id)).scalars().all())
    assert set(rows) == {kept.id, fresh.id}


async def test_a_call_during_which_the_process_was_killed_is_not_made_again(
    database: Database, database_url: str, ada: UserId, tmp_path: Path
) -> None:
    file = tmp_path / "booked"
    command = [sys.executable, "-m", "tests.adapters.killed_in_a_tool", database_url, str(ada), str(file)]
    killed = await anyio.run_process(command, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert file.read_text().count("\n") == 1
    again = turn_of(ada, request=replace(MARK, repeated=True))
    assert await book(database, Booking(file), again) == NOT_KNOWN
    assert file.read_text().count("\n") == 1
    assert await book(database, Booking(file), turn_of(ada, request=MARK)) == "Booked.", "said anew"
