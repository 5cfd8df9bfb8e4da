"""A process that dies while its worker is at work.

`python -m tests.engine.killed_at_work URL MOMENT`: `before` or `after` the third job that it learns, with
others under way.
"""

from __future__ import annotations

import os
import signal
import sys

import anyio

from cozy.adapters.extraction import Extractor
from cozy.adapters.sql_memory import SqlMemories
from cozy.adapters.sql_profile import SqlProfiles
from cozy.engine.learning import learning
from cozy.engine.worker import Worker
from cozy.ports.memory import Exchange
from cozy.storage.database import Database, open_database
from cozy.storage.outbox import SqlOutbox
from tests.adapters.teaching import AnsweringLLM

LEASE_S = 1.0


class Deadly(SqlMemories):
    """Kills its process."""

    moment = ""
    count = 0

    async def learn(self, exchange: Exchange) -> int:
        self.count += 1
        is_time = self.count == 3
        if is_time and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        learned = await super().learn(exchange)
        if is_time and self.moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return learned


def worker_of(database: Database, memories: type[SqlMemories] = SqlMemories) -> Worker:
    """One that does the jobs of the embedded engines."""
    extractor = Extractor(AnsweringLLM())  # the demo model's rules: nobody is asked
    handlers = learning(
        {"embedded": memories(database, extractor)}, {"embedded": SqlProfiles(database, extractor)}
    )
    return Worker(SqlOutbox(database), handlers, lease_s=LEASE_S, max_attempts=3)


async def main(url: str, moment: str) -> None:
    Deadly.moment = moment
    async with open_database(url) as database:
        await worker_of(database, Deadly).drain(20)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
