"""Streams left at random leave nothing behind.

`tests/bench/soak_streams.py` does the same at length, and on PostgreSQL.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import anyio.to_thread

from tests.cli.leaving import PLACES, Plan
from tests.cli.soak import soaked, stored

STREAMS = 60
AT_ONCE = 20


async def test_streams_left_at_random_leave_nothing_behind(tmp_path: Path, sqlite_url: str) -> None:
    assert {Plan.of(number, leaves=True).place for number in range(STREAMS)} == set(PLACES)
    async with soaked(tmp_path, sqlite_url, concurrency=AT_ONCE, leaves=True) as soak:
        await soak.go(range(STREAMS, STREAMS + AT_ONCE))  # what is made once is made now
        before = await soak.at_rest()
        await soak.go(range(STREAMS))
        after = await soak.at_rest(before.tasks)
        places = await soak.takes_all(AT_ONCE)
        health = await soak.health()
        soak.server.tell(signal.SIGTERM)
        code = await anyio.to_thread.run_sync(soak.server.end)
    assert after.under_way == dict.fromkeys(after.under_way, 0)
    assert after.tasks == before.tasks
    assert sorted(places) == [200] * AT_ONCE + [503], "every place is free, and there are no more"
    assert (health, code) == ("ok", 0)
    lines = [json.loads(line) for line in soak.server.out]
    assert [line["status"] for line in lines if line["level"] in ("error", "critical")] == [503]
    assert not any("Traceback" in line or "never" in line for line in soak.server.err)
    kept = await stored(sqlite_url, soak.outcomes)
    assert not kept.wrong
    assert kept.turns["interrupted"]
    assert not kept.claims["running"]
