"""Work that must not be done by two at once, though it changes different rows."""

from __future__ import annotations

from hashlib import blake2b

from sqlalchemy import Connection, func, select


def alone(connection: Connection, what: str) -> None:
    """Until the end of this transaction, nobody else does `what`.

    SQLite has one writer at a time by itself; PostgreSQL is asked for a lock that stands for `what`.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(blake2b(f"cozy {what}".encode(), digest_size=8).digest(), signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(number)))
