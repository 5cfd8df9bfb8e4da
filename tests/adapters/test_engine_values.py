"""What is read from the JSON of engines outside."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cozy.adapters.engine_context import FACTS
from cozy.adapters.engine_values import LONG_AGO, moment
from cozy.ports.profile import ProfileFact

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2026-05-01T12:00:00Z", NOON),
        ("2026-05-01T12:00:00", NOON),
        ("2026-05-01T20:00:00+08:00", NOON),
        ("2026-05-01T12:00:30+00:00:30", NOON),
        ("0001-01-01T00:00:00+14:00", LONG_AGO),
        ("9999-12-31T23:59:59-14:00", LONG_AGO),
        ("99999-01-01", LONG_AGO),
        ("0000-01-01", LONG_AGO),
        ("2026-02-30", LONG_AGO),
        (20260501, LONG_AGO),
        (None, LONG_AGO),
    ],
)
def test_a_time_can_be_kept_and_read_again_whatever_was_told(told: object, meant: datetime) -> None:
    fact = ProfileFact("1", "basics", "name", "Ada", moment(told))
    assert fact.updated_at == meant
    assert FACTS.validate_json(FACTS.dump_json([fact])) == [fact]
