"""Erasing a user leaves nothing of what they said, touches nobody else, and reaches every engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import JSON, Connection, Table, func, insert, select, update

from cozy.adapters.extraction import Extractor
from cozy.adapters.sql_effects import SqlEffects
from cozy.adapters.sql_erasure import ERASED, KEPT, SqlErasures
from cozy.adapters.sql_memory import SqlMemories
from cozy.adapters.sql_profile import SqlProfiles
from cozy.adapters.sql_store import SqlStore
from cozy.engine.learning import learning
from cozy.engine.worker import Worker
from cozy.errors import EngineUnavailable, NotFound
from cozy.ports.effects import Effect
from cozy.ports.operations import AuditEvent
from cozy.ports.store import Job, JobKind, TurnRecord
from cozy.storage.database import Database, open_database
from cozy.storage.migrate import model_metadata
from cozy.storage.outbox import SqlOutbox
from cozy.storage.schema import StoredText, UtcDateTime, Uuid, utc_now
from cozy.storage.tables import audit_events, messages, outbox, sessions, users
from cozy.turn import Message, SessionId, Turn, TurnId, UserId
from tests.adapters.teaching import AnsweringLLM, exchange
from tests.databases import wait_for_another

OF_USERS = [table for table in model_metadata().sorted_tables if "user_id" in table.c]
TARGETS = ["memory/embedded", "memory/mine", "profile/embedded"]
EVENT = AuditEvent("user.erased", payload={"by": "test"})
SECRET = "Uhrwerk-Orange"


def row_of(table: Table, user: UserId, session: SessionId) -> dict[str, Any]:
    """A row of any table, with a word of the user wherever it takes text."""
    row: dict[str, Any] = {}
    for column in table.c:
        if column.autoincrement is True:
            continue
        if column.name in _SPECIAL and (_SPECIAL[column.name] is not None or column.nullable):
            row[column.name] = _SPECIAL[column.name]
        elif isinstance(column.type, Uuid):
            row[column.name] = uuid4()
        elif isinstance(column.type, UtcDateTime):
            row[column.name] = utc_now()
        elif isinstance(column.type, JSON):
            row[column.name] = {"said": SECRET}
        elif isinstance(column.type, StoredText):
            row[column.name] = f"{SECRET} {uuid4()}"
        else:
            row[column.name] = 1
    row["user_id"] = user
    if "session_id" in row:
        row["session_id"] = session
    return row


_SPECIAL: dict[str, Any] = {
    "deleted_at": None,
    "leased_until": None,
    "revoked_at": None,
    "finished_at": None,
    "role": "user",
    "status": "complete",
    "level": "info",
    "kind": "write",
    "target": "memory/embedded",
    "state": "complete",
}


class House:
    """Two users with a row in each table."""

    def __init__(self, database: Database) -> None:
        self.database, self.store = database, SqlStore(database)
        self.outbox = SqlOutbox(database)
        self.erasures = SqlErasures(database, TARGETS)

    async def person(self, name: str) -> UserId:
        user = await self.store.user(name)
        session = (await self.store.create_session(user, "mia")).id

        def fill(connection: Any) -> None:
            said = {"profile": {"job": SECRET}, "preferences": {"x": SECRET}, "display_name": SECRET}
            connection.execute(update(users).where(users.c.id == user).values(email=f"{name}@x.org", **said))
            for table in OF_USERS:
                if table is sessions:
                    continue
                row = row_of(table, user, session)
                if table is outbox:
                    row["state"] = "queued"
                connection.execute(insert(table), row)

        await self.database.write(fill)
        return user

    async def counts(self, user: UserId) -> dict[str, int]:
        def count(connection: Any) -> dict[str, int]:
            return {
                table.name: connection.execute(
                    select(func.count()).select_from(table).where(table.c.user_id == user)
                ).scalar_one()
                for table in OF_USERS
            }

        return await self.database.read(count)

    async def everything(self, user: UserId) -> str:
        """All that is written in any row of the user."""

        def read(connection: Any) -> str:
            rows = [
                connection.execute(table.select().where(table.c.user_id == user)).all() for table in OF_USERS
            ]
            return f"{rows} {connection.execute(users.select().where(users.c.id == user)).all()}"

        return await self.database.read(read)

    async def queue(self, user: UserId, target: str, kind: JobKind = "write", state: str = "queued") -> UUID:
        row = {"id": uuid4(), "user_id": user, "target": target, "kind": kind, "payload": {"said": SECRET}}
        row |= {"state": state, "attempts": 1, "due_at": utc_now(), "created_at": utc_now()}
        row |= {"leased_until": utc_now() + timedelta(hours=1)} if state == "leased" else {}
        await self.database.write(lambda c: c.execute(insert(outbox), row))
        return row["id"]

    async def jobs(self, user: UserId) -> list[tuple[str, str, str]]:
        query = select(outbox.c.kind, outbox.c.target, outbox.c.state).where(outbox.c.user_id == user)
        rows = await self.database.read(lambda c: c.execute(query.order_by(outbox.c.seq)).all())
        return [(row[0], row[1], row[2]) for row in rows]


@pytest.fixture
async def house(database: Database) -> House:
    return House(database)


async def test_nothing_that_was_said_is_left_and_nobody_else_loses_anything(house: House) -> None:
    ada, bob = await house.person("ada"), await house.person("小明")
    before, bobs = await house.everything(ada), await house.everything(bob)
    assert SECRET in before
    erasure = await house.erasures.erase(ada, EVENT)
    after = await house.counts(ada)
    assert {table.name for table in ERASED if after[table.name]} == set()
    assert {table.name: after[table.name] for table in KEPT} == {
        "api_keys": 1,
        "refresh_tokens": 1,
        "revoked_tokens": 1,
        "audit_events": 1,
        "engine_generations": 1 + len(TARGETS),
        "outbox": len(TARGETS),
    }
    assert {*ERASED, *KEPT} == set(OF_USERS)
    assert {name for name, count in erasure.removed.items() if count} == {t.name for t in ERASED} | {"outbox"}
    assert await house.everything(bob) == bobs
    kept = {table.name for table in KEPT if table.name != "outbox"}
    for table in OF_USERS:
        if table.name not in kept:
            rows = await house.database.read(
                lambda c, t=table: c.execute(t.select().where(t.c.user_id == ada)).all()
            )
            assert SECRET not in repr(rows)


def test_a_table_without_a_column_for_the_user_holds_nothing_of_users() -> None:
    """Whoever adds one decides: `erase` finds the rows of users by `user_id` alone."""
    others = {table.name for table in model_metadata().sorted_tables} - {table.name for table in OF_USERS}
    assert others == {"users", "documents", "passages", "signals", "signing_keys"}


async def test_the_account_stays_with_nothing_of_the_person(house: House) -> None:
    ada = await house.person("ada")
    await house.erasures.erase(ada, EVENT)
    query = select(
        users.c.username, users.c.email, users.c.display_name, users.c.profile, users.c.preferences
    )
    row = await house.database.read(lambda c: c.execute(query.where(users.c.id == ada)).one())
    assert tuple(row) == ("ada", "ada@x.org", None, {}, {})
    session = await house.store.create_session(ada, "mia")
    said = (Message("user", "again"), Message("assistant", "hi"))
    await house.store.save_turn(TurnRecord(TurnId(uuid4()), ada, session.id, "mia", said, "complete", 1, {}))
    assert len(await house.store.history(ada, session.id, limit=9)) == 2


async def test_it_is_on_record_who_did_it_and_how_much_went_and_no_word_of_it(house: House) -> None:
    ada = await house.person("ada")
    removed = dict((await house.erasures.erase(ada, EVENT)).removed)
    query = select(audit_events.c.payload).where(audit_events.c.event_type == "user.erased")
    payload = await house.database.read(lambda c: c.execute(query).scalar_one())
    assert payload == {"by": "test", "removed": removed}
    assert (removed["messages"], removed["sessions"]) == (1, 1)


async def test_every_engine_is_made_to_forget_behind_what_is_under_way_there(house: House) -> None:
    ada = await house.store.user("ada")
    await house.queue(ada, "memory/mine", state="leased")
    for target, state in (("memory/mine", "queued"), ("memory/gone", "dead"), ("profile", "queued")):
        await house.queue(ada, target, state=state)
    await house.queue(ada, "summary")
    erasure = await house.erasures.erase(ada, EVENT)
    wanted = sorted([*TARGETS, "memory/gone", "profile"])
    assert [one.target for one in erasure.waiting] == wanted
    assert await house.jobs(ada) == [
        ("write", "memory/mine", "leased"),
        *(("erase", target, "queued") for target in wanted),
    ]
    claimed = {lease.job.target for lease in await house.outbox.claim(limit=9, lease_s=60)}
    assert claimed == {*wanted} - {"memory/mine"}
    assert [one.target for one in (await house.erasures.state(ada)).waiting] == wanted, "until it is done"


async def test_erasing_twice_queues_nothing_twice(house: House) -> None:
    ada = await house.person("ada")
    first = await house.erasures.erase(ada, EVENT)
    second = await house.erasures.erase(ada, EVENT)
    assert [one.target for one in second.waiting] == [one.target for one in first.waiting] == TARGETS
    assert sum(second.removed.values()) == 0


async def test_what_could_not_be_erased_yet_is_told_until_it_is(house: House) -> None:
    class Engine:
        away = True

        async def forget(self, user_id: UserId, item_id: str | None = None) -> int:
            if self.away:
                raise EngineUnavailable("mine", "is away")
            return 3

    engine: Any = Engine()
    ada = await house.store.user("ada")
    assert (await house.erasures.state(ada)).erased_at is None
    await SqlErasures(house.database, ["memory/mine"]).erase(ada, EVENT)
    worker = Worker(house.outbox, learning({"mine": engine}, {}), lease_s=30, max_attempts=1)
    await worker.drain(30)
    [left] = (await house.erasures.state(ada)).waiting
    assert (left.target, left.attempts, left.last_error) == (
        "memory/mine",
        1,
        "EngineUnavailable: mine: is away",
    )
    engine.away = False
    await house.database.write(lambda c: c.execute(update(outbox).values(due_at=utc_now())))
    assert await worker.drain(30) == 0
    state = await house.erasures.state(ada)
    assert state.erased_at is not None
    assert list(state.waiting) == []


async def test_a_job_that_is_being_done_meanwhile_leaves_nothing(house: House) -> None:
    """It writes after the rows were deleted; the engine forgets once more when it has ended."""
    began, go_on = anyio.Event(), anyio.Event()
    extractor = Extractor(AnsweringLLM())

    class Slow(SqlMemories):
        async def learn(self, exchange: Any) -> int:
            began.set()
            await go_on.wait()
            return await super().learn(exchange)

    memories, profiles = Slow(house.database, extractor), SqlProfiles(house.database, extractor)
    ada = await house.store.user("ada")
    told = exchange(ada, "我住在北京", "好")
    payload = {"turn_id": str(told.turn_id), "session_id": None, "personality_id": "mia", "model": told.model}
    payload |= {"user": "我住在北京", "assistant": "好"}
    job = Job(uuid4(), "memory/embedded", ada, payload)
    await house.store.save_turn(TurnRecord(told.turn_id, ada, None, "mia", (), "complete", 0, {}, (job,)))
    handlers = learning({"embedded": memories}, {"embedded": profiles})
    worker = Worker(house.outbox, handlers, lease_s=30, max_attempts=3)
    erasures = SqlErasures(house.database, ["memory/embedded", "profile/embedded"])
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await began.wait()
            await erasures.erase(ada, EVENT)
            go_on.set()
            while (await erasures.state(ada)).waiting:
                worker.wake()
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert list(await memories.items(ada)) == []
    assert {state for _, _, state in await house.jobs(ada)} == {"done"}
    assert "北京" not in await house.everything(ada)


async def test_a_turn_that_is_under_way_leaves_no_half_of_it(house: House) -> None:
    ada = await house.store.user("ada")
    session = (await house.store.create_session(ada, "mia")).id
    turn = Turn("I live in rome", ada, "mia", session_id=session)
    job = Job(uuid4(), "memory/embedded", ada, {"user": turn.text})
    said = (Message("user", turn.text), Message("assistant", "ok"))
    await house.erasures.erase(ada, EVENT)
    record = TurnRecord(
        turn.id, ada, session, "mia", said, "complete", 1, {}, (job,), said_at=turn.received_at
    )
    with pytest.raises(NotFound, match="session"):
        await house.store.save_turn(record)
    alone = TurnRecord(turn.id, ada, None, "mia", said, "complete", 1, {}, (job,), said_at=turn.received_at)
    await house.store.save_turn(alone)
    await SqlEffects(house.database).begin(turn, Effect("book", turn.text))
    assert "rome" not in await house.everything(ada)
    later = Turn("I live in oslo", ada, "mia")
    new = Job(uuid4(), "memory/embedded", ada, {"user": later.text})
    await house.store.save_turn(
        TurnRecord(later.id, ada, None, "mia", (), "complete", 1, {}, (new,), said_at=later.received_at)
    )
    await SqlEffects(house.database).begin(later, Effect("book", later.text))
    counts = await house.counts(ada)
    assert (counts["tool_effects"], ("write", "memory/embedded", "queued") in await house.jobs(ada)) == (
        1,
        True,
    )


async def test_what_was_said_before_an_erasure_is_not_kept_in_a_session_that_was_made_after_it(
    house: House,
) -> None:
    """As where a request that came twice waited for its first turn meanwhile."""
    ada = await house.store.user("ada")
    turn = Turn("I live in rome", ada, "mia")
    await house.erasures.erase(ada, EVENT)
    session = (await house.store.create_session(ada, "mia")).id
    said = (Message("user", turn.text), Message("assistant", "ok"))
    record = TurnRecord(turn.id, ada, session, "mia", said, "complete", 1, {}, said_at=turn.received_at)
    with pytest.raises(NotFound, match="session"):
        await house.store.save_turn(record)
    await house.store.save_turn(replace(record, said_at=utc_now()))
    assert len(await house.store.history(ada, session, limit=9)) == 2


async def test_turns_that_are_stored_at_the_same_time_are_erased_or_refused_whole(house: House) -> None:
    ada = await house.store.user("ada")
    ids = [(await house.store.create_session(ada, "mia")).id for _ in range(8)]
    refused: list[SessionId] = []

    async def say(session: SessionId) -> None:
        said = (Message("user", "hi"), Message("assistant", "ho"))
        try:
            await house.store.save_turn(
                TurnRecord(TurnId(uuid4()), ada, session, "mia", said, "complete", 1, {})
            )
        except NotFound:
            refused.append(session)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number, session in enumerate(ids):
                tasks.start_soon(say, session)
                if number == 4:
                    tasks.start_soon(house.erasures.erase, ada, EVENT)
    counts = await house.counts(ada)
    assert (counts["sessions"], counts["messages"]) == (0, 0)


async def test_a_turn_without_a_session_waits_for_an_erasure_under_way(postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        house, erasing = House(database), anyio.Event()
        ada = await house.store.user("ada")
        said_at = utc_now()

        class Slow:
            async def write(self, work: Any) -> Any:
                def slowly(connection: Connection) -> Any:
                    done = work(connection)
                    erasing.set()
                    wait_for_another(connection)
                    return done

                return await database.write(slowly)

        slow: Any = Slow()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(SqlErasures(slow, []).erase, ada, EVENT)
                await erasing.wait()
                job = Job(uuid4(), "memory/embedded", ada, {"user": SECRET})
                record = TurnRecord(
                    TurnId(uuid4()), ada, None, "mia", (), "complete", 1, {}, (job,), said_at=said_at
                )
                await house.store.save_turn(record)
        assert await house.jobs(ada) == []


async def test_an_erasure_waits_for_a_turn_that_is_being_stored_and_takes_it_along(
    postgres_url: str,
) -> None:
    """In the order in which the turn takes its locks: else each would wait for the other."""
    async with open_database(postgres_url) as database:
        house, storing, tries = House(database), anyio.Event(), list[str]()
        ada = await house.store.user("ada")
        session = (await house.store.create_session(ada, "mia")).id

        class Counting:
            async def write(self, work: Any) -> Any:
                def once_more(connection: Connection) -> Any:
                    tries.append("erase")
                    return work(connection)

                return await database.write(once_more)

        def store(connection: Connection) -> None:
            connection.execute(update(sessions).where(sessions.c.id == session).values(title=SECRET))
            storing.set()
            wait_for_another(connection)
            connection.execute(insert(messages), row_of(messages, ada, session))

        counting: Any = Counting()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(database.write, store)
                await storing.wait()
                await SqlErasures(counting, TARGETS).erase(ada, EVENT)
        assert SECRET not in await house.everything(ada)
        assert tries == ["erase"]


async def test_an_unknown_user_is_not_found(house: House) -> None:
    nobody = UserId(uuid4())
    for call in (house.erasures.erase(nobody, EVENT), house.erasures.state(nobody)):
        with pytest.raises(NotFound, match="user"):
            await call
    query = select(func.count()).select_from(audit_events)
    assert await house.database.read(lambda c: c.execute(query).scalar_one()) == 0
