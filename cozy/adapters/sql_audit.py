"""What was done by or to whom, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from cozy.ports.operations import AuditEvent
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import audit_events


@dataclass(frozen=True, slots=True)
class SqlAudit:
    """Fills Audit."""

    database: Database

    async def record(self, *events: AuditEvent) -> None:
        now = utc_now()
        rows = [audit_row(event, now) for event in events]
        if rows:
            await self.database.write(lambda connection: connection.execute(insert(audit_events), rows))


def audit_row(event: AuditEvent, now: datetime) -> dict[str, Any]:
    """For whoever puts it on record in a transaction of its own."""
    return {
        "id": uuid4(),
        "request_id": event.request_id,
        "user_id": event.user_id,
        "session_id": event.session_id,
        "personality_id": event.personality_id,
        "event_type": event.type,
        "level": event.level,
        "payload": dict(event.payload),
        "created_at": now,
    }
