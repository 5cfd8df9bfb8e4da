from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import Connection, text

from cozy.errors import StorageError
from cozy.storage.database import Database, open_database


@pytest.fixture
async def notes(database: Database) -> Database:
    """A database with a table of unique words."""
    await database.write(lambda c: c.execute(text("CREATE TABLE notes (word TEXT PRIMARY KEY)")))
    return database


@pytest.fixture
async def sqlite_notes(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        await database.write(lambda c: c.execute(text("CREATE TABLE notes (word TEXT PRIMARY KEY)")))
        yield database


def note(word: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(text("INSERT INTO notes VALUES (:word)"), {"word": word})
        return word

    return work


def words(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT word FROM notes ORDER BY word")).scalars())


class Gate:
    """A work that holds the writer until it is let go, so that others gather behind it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, _connection: Connection) -> None:
        self.reached.set()
        assert self.open.wait(10)

    async def is_reached(self) -> None:
        await anyio.to_thread.run_sync(self.reached.wait, 10)


async def test_what_was_written_is_read(notes: Database) -> None:
    assert await notes.write(note("早上好🌞")) == "早上好🌞"
    assert await notes.read(words) == ["早上好🌞"]


async def test_a_work_that_fails_raises_its_own_error_and_leaves_nothing(notes: Database) -> None:
    def work(connection: Connection) -> None:
        note("half")(connection)
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await notes.write(work)
    assert await notes.read(words) == []


async def test_only_the_failing_work_of_a_batch_raises(sqlite_notes: Database) -> None:
    gate = Gate()
    await sqlite_notes.write(note("twice"))
    outcomes: dict[str, object] = {}

    async def write(name: str, work: Callable[[Connection], str]) -> None:
        try:
            outcomes[name] = await sqlite_notes.write(work)
        except Exception as error:
            outcomes[name] = error

    def bug(connection: Connection) -> str:
        note("bug")(connection)
        raise ZeroDivisionError

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sqlite_notes.write, gate)
        await gate.is_reached()
        for number in range(5):
            tasks.start_soon(write, str(number), note(f"word {number}"))
        tasks.start_soon(write, "constraint", note("twice"))
        tasks.start_soon(write, "bug", bug)
        tasks.start_soon(write, "after", note("word after"))
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert isinstance(outcomes.pop("constraint"), StorageError)
    assert isinstance(outcomes.pop("bug"), ZeroDivisionError)
    assert outcomes == {**{str(n): f"word {n}" for n in range(5)}, "after": "word after"}
    assert await sqlite_notes.read(words) == ["twice", *(f"word {n}" for n in range(5)), "word after"]


async def test_what_waits_together_is_committed_together(sqlite_notes: Database) -> None:
    gate = Gate()
    connections: list[Connection] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sqlite_notes.write, gate)
        await gate.is_reached()
        for _ in range(20):
            tasks.start_soon(sqlite_notes.write, connections.append)
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert len(connections) == 20
    assert len(set(connections)) == 1


async def test_fifty_writers_at_once_all_succeed(notes: Database) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(notes.write, note(f"{number:02}"))
            tasks.start_soon(notes.read, words)
    assert await notes.read(words) == [f"{number:02}" for number in range(50)]


async def test_a_caller_who_leaves_before_its_work_began_leaves_nothing(sqlite_notes: Database) -> None:
    gate = Gate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sqlite_notes.write, gate)
        await gate.is_reached()
        with anyio.move_on_after(0.01) as scope:
            await sqlite_notes.write(note("given up"))
        tasks.start_soon(sqlite_notes.write, note("kept"))
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert scope.cancelled_caught
    assert await sqlite_notes.read(words) == ["kept"]


async def test_a_caller_who_leaves_in_the_midst_does_not_break_the_writer(sqlite_notes: Database) -> None:
    gate = Gate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sqlite_notes.write, gate)
        await gate.is_reached()
        tasks.cancel_scope.cancel()
    gate.open.set()
    await sqlite_notes.write(note("next"))
    assert await sqlite_notes.read(words) == ["next"]


async def test_a_caller_who_leaves_a_postgresql_write_gives_its_connection_back(postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        asleep = text(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE :asked"
            " AND pid <> pg_backend_pid() AND datname = current_database()"
        )

        async def until(count: int, asked: str) -> None:
            while await database.read(lambda c: c.execute(asleep, {"asked": asked}).scalar()) != count:
                await anyio.sleep(0.005)

        async def write(asked: str) -> None:
            await database.write(lambda c: c.execute(text(asked)))

        with anyio.fail_after(30):
            for number in range(25):  # more than there are connections
                asked = f"SELECT pg_sleep({60 + number})"
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(write, asked)
                    await until(1, asked)
                    tasks.cancel_scope.cancel()
            await until(0, "SELECT pg_sleep(%")


async def test_a_read_that_is_cancelled_stops_at_once(sqlite_url: str) -> None:
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    async with open_database(sqlite_url) as database:
        with anyio.fail_after(30):
            for _ in range(6):  # more than there are readers
                with anyio.move_on_after(0.02):
                    await database.read(lambda c: c.execute(endless))
            assert await database.read(lambda c: c.execute(text("SELECT 1")).scalar()) == 1


async def test_a_read_sees_one_moment(notes: Database, database_url: str) -> None:
    async def write_elsewhere() -> None:
        async with open_database(database_url) as other:
            await other.write(note("meanwhile"))

    def look_twice(connection: Connection) -> tuple[list[str], list[str]]:
        first = words(connection)
        with start_blocking_portal() as elsewhere:
            elsewhere.call(write_elsewhere)
        return first, words(connection)

    assert await notes.read(look_twice) == ([], [])
    assert await notes.read(words) == ["meanwhile"]


async def test_a_closed_database_answers_with_an_error(database_url: str) -> None:
    async with open_database(database_url) as database:
        pass
    with anyio.fail_after(30):
        with pytest.raises(StorageError, match="closed"):
            await database.write(words)
        with pytest.raises(StorageError, match="closed"):
            await database.read(words)


async def test_work_that_waits_is_done_before_the_database_closes(sqlite_url: str) -> None:
    gate = Gate()
    async with anyio.create_task_group() as tasks, open_database(sqlite_url) as database:
        await database.write(lambda c: c.execute(text("CREATE TABLE notes (word TEXT PRIMARY KEY)")))
        tasks.start_soon(database.write, gate)
        await gate.is_reached()
        tasks.start_soon(database.write, note("last"))
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    async with open_database(sqlite_url) as database:
        assert await database.read(words) == ["last"]


async def test_what_a_cancelled_application_leaves_is_written_before_the_database_closes(
    sqlite_url: str,
) -> None:
    gate = Gate()
    outcome: list[object] = []
    opened: list[Database] = []

    async def application(*, task_status: anyio.abc.TaskStatus[anyio.CancelScope]) -> None:
        with anyio.CancelScope() as scope:
            async with open_database(sqlite_url) as database:
                opened.append(database)
                task_status.started(scope)
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await write("last words")

    async def write(word: str) -> None:
        outcome.append(await opened[0].write(lambda c: c.execute(text(f"SELECT '{word}'")).scalar()))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            scope = await tasks.start(application)
            tasks.start_soon(opened[0].write, gate)
            await gate.is_reached()
            tasks.start_soon(write, "waiting")
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            gate.open.set()
        assert outcome == ["waiting", "last words"]
        with pytest.raises(StorageError, match="closed"):
            await opened[0].write(words)


async def test_the_block_s_own_error_comes_out_bare(database_url: str) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with open_database(database_url):
            raise LookupError("mine")


async def test_a_database_without_tables_says_what_to_run(empty_url: str) -> None:
    async with open_database(empty_url) as database:
        with pytest.raises(StorageError) as failure:
            await database.read(words)
    assert failure.value.hint is not None
    assert "cozy db upgrade" in failure.value.hint


async def test_a_file_locked_by_another_program_is_told(sqlite_notes: Database, tmp_path: Path) -> None:
    await sqlite_notes.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout=10"))
    other = sqlite3.connect(tmp_path / "cozy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked by another program"):
        await sqlite_notes.write(note("now"))
    other.execute("ROLLBACK")
    other.close()
    await sqlite_notes.write(note("later"))
    assert await sqlite_notes.read(words) == ["later"]


async def test_a_full_disk_is_told_and_survived(sqlite_notes: Database) -> None:
    await sqlite_notes.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1"))  # as few as it has now
    with pytest.raises(StorageError, match="disk is full"):
        await sqlite_notes.write(note("long" * 100_000))
    await sqlite_notes.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000"))
    await sqlite_notes.write(note("short"))
    assert await sqlite_notes.read(words) == ["short"]


async def test_connections_cut_by_a_restarted_server_are_made_anew(postgres_url: str) -> None:
    async with open_database(postgres_url) as database, open_database(postgres_url) as other:
        cut = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for transact in (database.read, database.write):
            await other.write(lambda c: c.execute(cut).all())
            assert await transact(lambda c: c.execute(text("SELECT 1")).scalar()) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://root@localhost/cozy", "`mysql` are not supported"),
        ("just words", "cannot be read"),
        ("postgresql://postgres@127.0.0.1:1/cozy", "is away"),
        ("sqlite:////proc/cozy/cozy.db", "cannot be opened"),
        ("sqlite:////proc", "cannot be opened"),
    ],
)
async def test_an_address_that_leads_nowhere_is_told(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as failure:
        async with open_database(url):
            pass
    assert failure.value.hint


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("亲爱的妈妈" * 1000, encoding="utf-8")
    with pytest.raises(StorageError, match="not a SQLite database"):
        async with open_database(f"sqlite:///{path}"):
            pass
    assert path.read_text(encoding="utf-8") == "亲爱的妈妈" * 1000


async def test_a_database_that_does_not_exist_on_the_server_is_told(postgres_url: str) -> None:
    with pytest.raises(StorageError, match="no database of that name"):
        async with open_database(postgres_url + "_not"):
            pass


async def test_sslmode_is_understood_as_libpq_spells_it(postgres_url: str) -> None:
    async with open_database(postgres_url + "?sslmode=disable") as database:
        assert await database.read(lambda c: c.execute(text("SELECT 1")).scalar()) == 1


async def test_what_a_user_said_is_not_in_a_vendor_s_error(notes: Database) -> None:
    await notes.write(note("my secret"))
    with pytest.raises(StorageError) as failure:
        await notes.write(note("my secret"))
    assert "my secret" not in f"{failure.value} {failure.value.details} {failure.value.__cause__}"
