"""Counters that every process of an installation follows."""

from __future__ import annotations

import anyio

from cozy.adapters.sql_signals import SqlSignals
from cozy.storage.database import Database, open_database


async def test_a_signal_counts_from_one(database: Database) -> None:
    signals = SqlSignals(database)
    assert await signals.counts() == {}
    assert [await signals.raise_("reload") for _ in range(3)] == [1, 2, 3]
    assert await signals.raise_("other") == 1
    assert await signals.counts() == {"reload": 3, "other": 1}


async def test_other_processes_see_it(database: Database, database_url: str) -> None:
    await SqlSignals(database).raise_("reload")
    async with open_database(database_url) as another:
        assert await SqlSignals(another).counts() == {"reload": 1}
        assert await SqlSignals(another).raise_("reload") == 2
    assert await SqlSignals(database).counts() == {"reload": 2}


async def test_none_is_lost_when_several_are_raised_at_once(database: Database) -> None:
    signals = SqlSignals(database)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(signals.raise_, "reload")
    assert await signals.counts() == {"reload": 20}
