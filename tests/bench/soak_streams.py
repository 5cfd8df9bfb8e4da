"""What a server still holds after thousands of streams that were left at random points, in every way.

    python -m tests.bench.soak_streams [--streams 2000] [--rounds 8] [--to-the-end] [--postgresql]

The server is a process of its own, with a model's server that never ends what its reader has left. After each
round the figures are taken, once nothing is under way any more: all but objects and memory should be what
they were before, and these should not grow from round to round. Exits with 1 where something is left behind,
or is not on disk as a client has heard it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from cozy.storage import migrate
from tests.cli.soak import Held, Soak, soaked, stored
from tests.databases import postgres_server

WARMING_UP = range(1_000_000, 1_000_200)
HEAD = (
    "streams",
    "seconds",
    "tasks",
    "clients",
    "model",
    "asking",
    "database",
    "busy",
    "turns",
    "objects",
    "MB",
)


@contextmanager
def database(folder: Path, *, postgresql: bool) -> Iterator[str]:
    if postgresql:
        with postgres_server() as server, server.database() as url:
            yield url
    else:
        url = f"sqlite:///{folder / 'cozy.db'}"
        anyio.run(migrate.upgrade, url)
        yield url


def row(streams: int, seconds: float, held: Held) -> str:
    sockets = (held.clients, held.idle, held.asking, held.database, held.busy, held.turns)
    figures = (streams, f"{seconds:.1f}", sum(held.tasks.values()), *sockets, held.objects)
    return "".join(f"{figure!s:>10}" for figure in (*figures, f"{held.memory / 2**20:.1f}"))


async def rounds(soak: Soak, streams: int, count: int) -> list[str]:
    """Print a line for each round; gives what is wrong."""
    await soak.go(WARMING_UP)
    before = await soak.at_rest()
    print("".join(f"{name:>10}" for name in HEAD))
    print(row(0, 0, before), flush=True)
    wrong: list[str] = []
    each = streams // count
    for first in range(0, each * count, each):
        began = time.monotonic()
        await soak.go(range(first, first + each))
        seconds = time.monotonic() - began
        held = await soak.at_rest(before.tasks)
        print(row(first + each, seconds, held), flush=True)
        if any(held.under_way.values()) or held.tasks != before.tasks:
            wrong.append(f"left behind: {held.under_way}, {Counter(held.tasks) - Counter(before.tasks)}")
    return wrong


async def measure(folder: Path, url: str, options: argparse.Namespace) -> list[str]:
    leaves = not options.to_the_end
    async with soaked(folder, url, concurrency=options.at_once, leaves=leaves) as soak:
        wrong = await rounds(soak, options.streams, options.rounds)
        places = Counter(await soak.takes_all(options.at_once))
        print(f"places for turns, all taken at once, and one more: {dict(places)}")
        print(f"health: {await soak.health()}")
        soak.server.tell(signal.SIGTERM)
        code = await anyio.to_thread.run_sync(soak.server.end)
    levels = Counter(json.loads(line)["level"] for line in soak.server.out)
    print(f"exit code: {code}; lines of the log: {dict(levels)}")
    kept = await stored(url, soak.outcomes)
    left = Counter(f"{o.plan.place}: {o.plan.way}" for o in soak.outcomes)
    done = sum(outcome.done for outcome in soak.outcomes)
    print(f"clients: {len(soak.outcomes)}, in {len(left)} ways; saw `[DONE]`: {done}")
    print(f"turns on disk: {dict(kept.turns)}; keys: {dict(kept.claims)}; not as heard: {len(kept.wrong)}")
    wrong += kept.wrong
    if places != {200: options.at_once, 503: 1}:
        wrong.append("not every place for a turn is free")
    if code or levels["error"] > 1 or levels["critical"]:  # the one more is answered 503
        wrong.append("the server was not well")
    if kept.claims["running"]:
        wrong.append("keys are held for nobody")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--to-the-end", action="store_true", help="no client leaves, for comparison")
    parser.add_argument("--postgresql", action="store_true", help="in place of SQLite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, database(Path(name), postgresql=options.postgresql) as url:
        wrong = anyio.run(measure, Path(name), url, options)
    for words in wrong:
        print(words, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
