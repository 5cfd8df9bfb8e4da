"""What the engines inside Cozy's own database share: their errors, their upserts, learning a turn once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, Table, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from cozy.errors import EngineInvalidRequest, EngineUnavailable, NotFound, StorageError
from cozy.ports.memory import Exchange
from cozy.storage.context_tables import learned_turns
from cozy.storage.database import Database
from cozy.storage.schema import utc_now

Target = Literal["memory", "profile"]


@contextmanager
def engine_errors(engine: str) -> Generator[None]:
    """The database's failures as those of `engine`, which is what a port promises."""
    try:
        yield
    except StorageError as error:
        raise EngineUnavailable(engine, error.message, hint=error.hint, details=error.details) from error


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT, in the words of the connection's database."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


async def is_learned(database: Database, exchange: Exchange, target: Target) -> bool:
    """Whether the turn has taught this already, so that no model need be asked again."""
    turns = learned_turns.c
    statement = select(exists().where(turns.turn_id == exchange.turn_id, turns.target == target))
    return await database.read(lambda connection: bool(connection.execute(statement).scalar()))


async def learn_once(
    database: Database, exchange: Exchange, target: Target, take_in: Callable[[Connection], int]
) -> int:
    """What `take_in` gives, in one transaction with the note that the turn has taught; 0 where it had."""
    note = {
        "turn_id": exchange.turn_id,
        "target": target,
        "user_id": exchange.user_id,
        "learned_at": utc_now(),
    }

    def work(connection: Connection) -> int:
        noted = connection.execute(insert(connection, learned_turns).values(note).on_conflict_do_nothing())
        return take_in(connection) if noted.rowcount else 0

    return await database.write(work)


def row_id(kind: str, text: str) -> UUID:
    """The id that a user typed; raises NotFound for what cannot be one."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(kind, text) from None


def required(engine: str, what: str, text: str, longest: int) -> str:
    """`text` without space around it; raises EngineInvalidRequest where it is empty or too long."""
    text = text.strip()
    if not text:
        raise EngineInvalidRequest(engine, f"{what} is empty")
    if len(text) > longest:
        raise EngineInvalidRequest(engine, f"{what} is longer than {longest} characters")
    return text
