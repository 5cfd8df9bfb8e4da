from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import select

from cozy.adapters.sql_audit import SqlAudit
from cozy.errors import StorageError
from cozy.ports.operations import AuditEvent
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import audit_events


async def test_what_happened_is_on_disk(database: Database) -> None:
    event = AuditEvent(
        "admin.reload", uuid4(), "req-1", uuid4(), "xiaoyan", level="warning", payload={"文件": ["a\x00", 3]}
    )
    before = utc_now()
    await SqlAudit(database).record(event)
    await SqlAudit(database).record(AuditEvent("user.made"))
    await SqlAudit(database).record()
    rows = await database.read(
        lambda c: c.execute(select(audit_events).order_by(audit_events.c.created_at)).all()
    )
    first, second = rows
    assert (first.event_type, first.user_id, first.request_id, first.session_id, first.personality_id) == (
        event.type,
        event.user_id,
        event.request_id,
        event.session_id,
        event.personality_id,
    )
    assert (first.level, first.payload) == ("warning", {"文件": ["a\ufffd", 3]})
    assert before <= first.created_at <= second.created_at <= utc_now()
    assert (second.event_type, second.user_id, second.level, second.payload) == (
        "user.made",
        None,
        "info",
        {},
    )


async def test_what_cannot_be_written_is_told(database: Database) -> None:
    for wrong in (AuditEvent("x", payload={"a": object()}), AuditEvent("x", level="loud")):  # type: ignore[arg-type]
        with pytest.raises(StorageError):
            await SqlAudit(database).record(AuditEvent("user.made"), wrong)
    assert not await database.read(lambda c: c.execute(select(audit_events)).all()), "all or none"
