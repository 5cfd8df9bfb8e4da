"""What turns leave for a memory engine that dies for a while: how deep the outbox gets, what arrives, and
what turns notice of it.

    python -m tests.bench.bench_writeback [--rate 1000] [--phase 20] [--database sqlite|postgresql]

Turns at a fixed rate a minute, through the engine, before a model and a memory engine on loopback. The engine
is well, refuses connections, hangs, answers 500, and is well again, each for a phase; then turns end, and the
outbox is drained. Each must have arrived once, and in order for each user. After that the same for a small
outbox, with each `on_full`: what is missing must be what was counted. The latency of turns is told as a ratio
to that of the first phase. Exits with 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import get_args
from uuid import UUID

import anyio

from cozy.app import App, open_app
from cozy.configuration import load_settings
from cozy.errors import Overloaded
from cozy.events import TurnFinished
from cozy.settings import OnFull
from cozy.storage import migrate
from cozy.storage.outbox import SqlOutbox
from cozy.turn import Turn, UserId
from tests.databases import postgres_server
from tests.engines.fake_mem0 import KEY, FakeMem0, fake_mem0
from tests.engines.server import Fault
from tests.upstream import says, upstream

USERS = 50
PHASES: tuple[Fault, ...] = ("well", "refused", "hanging", "500", "well")
LEARN_S = 3
"""How long the engine may take: shorter than a phase, so that hanging is noticed."""
DRAIN_S = 600.0
SMALL = 60
"""`max_jobs` where the outbox is to be full."""
SLOW_S = 0.5
CONFIGURATION = """\
[providers.house]
base_url = "{model}"
[database]
url = "{database}"
[context]
memory = "diary"
[engines.diary]
kind = "mem0"
url = "{diary}"
api_key_env = "MEM0_KEY"
timeout_s = {learn_s}
learn_timeout_s = {learn_s}
[outbox]
max_jobs = {most}
on_full = "{on_full}"
slow_s = {slow_s}
"""
PIPELINE = """\
stages:
  prompt:
    type: render_prompt
  answer:
    type: llm
  save:
    type: persist
  remember:
    type: writeback
    targets: memory
"""
"""Asks no engine: what turns notice is writeback's doing."""
MIA = "id: mia\nname: Mia\nprompt: You are Mia.\nmodel:\n  name: house/fake\npipeline: talk\n"


@dataclass
class Load:
    """Turns at a fixed rate, and what came of them."""

    app: App
    diary: FakeMem0
    users: list[UserId]
    said: dict[UserId, list[str]] = field(default_factory=dict[UserId, list[str]])
    """In the order in which each user's turns ended."""
    latencies: list[float] = field(default_factory=list[float])
    refused: int = 0
    counted: Counter[str] = field(default_factory=Counter[str])
    """What the outbox told its watchers, by policy."""
    depths: list[int] = field(default_factory=list[int])
    ages: list[float] = field(default_factory=list[float])
    _number: int = 0
    _busy: dict[UserId, anyio.Lock] = field(default_factory=dict[UserId, anyio.Lock])

    def __post_init__(self) -> None:
        self.app.backlog.watch(lambda policy, count: self.counted.update({policy: count}))
        self.said = {user_id: [] for user_id in self.users}
        self._busy = {user_id: anyio.Lock() for user_id in self.users}

    async def run(self, seconds: float, a_minute: float) -> None:
        """For so long; gives back when every turn has ended."""
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for number in range(int(seconds * a_minute / 60)):
                await anyio.sleep(max(0.0, began + number * 60 / a_minute - time.monotonic()))
                tasks.start_soon(self._turn, self.users[self._number % USERS], f"I own teapot {self._number}")
                self._number += 1

    async def _turn(self, user_id: UserId, text: str) -> None:
        async with self._busy[user_id]:  # nobody talks across themselves
            began = time.monotonic()
            try:
                async with self.app.engine.run(Turn(text, user_id, "mia")) as running:
                    last = [event async for event in running][-1]
            except Overloaded:
                self.refused += 1
                return
            assert isinstance(last, TurnFinished), last
            self.latencies.append(time.monotonic() - began)
            self.said[user_id].append(text)

    async def look(self) -> None:
        """Write down how deep the outbox is, until cancelled."""
        while True:
            figures = await SqlOutbox(self.app.database).figures()
            self.depths.append(figures.open)
            self.ages.append(figures.oldest_s)
            await anyio.sleep(0.5)

    async def drained(self) -> float:
        """Wait until every job is done; gives the seconds that it took."""
        began = time.monotonic()
        with anyio.fail_after(DRAIN_S):
            while await SqlOutbox(self.app.database).depth():
                await anyio.sleep(0.1)
        return time.monotonic() - began

    def arrived(self) -> tuple[int, list[str]]:
        """How many exchanges, and what is wrong with them."""
        sent = [r.json for r in self.diary.requests if r.method == "POST" and r.path == "/memories"]
        kept = {UUID(memory.metadata["cozy_turn"]) for memory in self.diary.memories.values()}
        wrong: list[str] = []
        if len(kept) != len(self.diary.memories):
            wrong.append("a turn was taken in twice")
        for user_id, texts in self.said.items():
            learned = [memory.text for memory in self.diary.of(str(user_id))]
            if learned != [text for text in texts if text in set(learned)]:
                wrong.append(f"out of order for {user_id}")
        self.posted = len(sent)
        return len(kept), wrong

    posted: int = 0
    """Requests to take in a turn, those that hung or failed included."""


@contextmanager
def database_of(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'cozy.db'}"
        return
    with postgres_server() as server, server.database() as url:
        yield url


@asynccontextmanager
async def loaded(kind: str, *, on_full: OnFull = "slow", most: int = 100_000) -> AsyncGenerator[Load]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database_of(kind, folder))
        await migrate.upgrade(url)
        model = await stack.enter_async_context(upstream(default=says("Hi", " there")))
        diary = await stack.enter_async_context(fake_mem0())
        for name, text in (("personalities/mia", MIA), ("pipelines/talk", PIPELINE)):
            (folder / name).parent.mkdir()
            (folder / f"{name}.yaml").write_text(text, "utf-8")
        configuration = CONFIGURATION.format(
            model=model.base_url,
            database=url,
            diary=diary.url,
            learn_s=LEARN_S,
            most=most,
            on_full=on_full,
            slow_s=SLOW_S,
        )
        (folder / "cozy.toml").write_text(configuration, "utf-8")
        app = await stack.enter_async_context(open_app(load_settings(folder, os.environ)))
        load = Load(app, diary, [await app.store.user(f"user-{number}") for number in range(USERS)])
        await load.run(3, 600)  # warm
        await load.drained()
        load.latencies.clear()
        yield load


async def dies_for_a_while(kind: str, phase_s: float, rate: float) -> bool:
    print(f"\n{kind}: {rate:g} turns a minute, {phase_s:g} s a phase")
    print(f"{'engine':>8} {'turns':>6} {'p50':>6} {'p99':>6} {'jobs at the end':>16} {'oldest s':>9}")
    async with loaded(kind) as load, anyio.create_task_group() as looking:
        looking.start_soon(load.look)
        first = (0.0, 0.0)
        for fault in PHASES:
            await load.diary.be(fault)
            load.latencies.clear()
            await load.run(phase_s, rate)
            half, most = median(load.latencies), quantiles(load.latencies, n=100)[98]
            first = first if any(first) else (half, most)
            figures = await SqlOutbox(load.app.database).figures()
            print(
                f"{fault:>8} {len(load.latencies):>6} {half / first[0]:>6.2f} {most / first[1]:>6.2f}"
                f" {figures.open:>16} {figures.oldest_s:>9.1f}"
            )
        took_s = await load.drained()
        looking.cancel_scope.cancel()
        arrived, wrong = load.arrived()
        told = sum(map(len, load.said.values()))
        away_s = phase_s * (len(PHASES) - 2)
        print(
            f"first phase: p50 {first[0] * 1000:.1f} ms, p99 {first[1] * 1000:.1f} ms;"
            f" deepest {max(load.depths)} jobs, oldest {max(load.ages):.0f} s;"
            f" drained {took_s:.1f} s after the last turn, {(took_s + phase_s) / away_s:.2f} of the time"
            f" that the engine was away; {arrived} of {told} arrived, of {load.posted} attempts that reached"
            f" it; {wrong or 'each once, in order'}"
        )
        return arrived == told and not wrong


async def is_full(kind: str, on_full: OnFull, phase_s: float, rate: float) -> bool:
    async with loaded(kind, on_full=on_full, most=SMALL) as load, anyio.create_task_group() as looking:
        await load.run(phase_s / 2, rate)
        usual = median(load.latencies)
        load.latencies.clear()
        looking.start_soon(load.look)
        await load.diary.be("refused")
        await load.run(phase_s, rate)
        await load.diary.be("well")
        took_s = await load.drained()
        looking.cancel_scope.cancel()
        arrived, wrong = load.arrived()
        told = sum(map(len, load.said.values()))
        missing = told - arrived
        counted = load.counted[on_full]
        dropped = counted if on_full.startswith("drop") else 0
        slowed = sum(latency > usual + SLOW_S / 2 for latency in load.latencies)
        is_right = missing == dropped and not wrong and (on_full != "reject" or load.refused == counted)
        print(
            f"{kind} {on_full:>12}: deepest {max(load.depths)} of {SMALL}, {told} told, {missing} missing,"
            f" {load.refused} refused, {slowed} slowed, {counted} counted;"
            f" p50 {median(load.latencies) / usual:.2f}; drained in {took_s:.1f} s"
            f" {'' if is_right else f'WRONG {wrong}'}"
        )
        return is_right


async def main(kinds: list[str], phase_s: float, rate: float) -> bool:
    logging.disable(logging.CRITICAL)
    os.environ["MEM0_KEY"] = KEY
    is_right = [await dies_for_a_while(kind, phase_s, rate) for kind in kinds]
    print(f"\na small outbox, the engine refuses for {phase_s:g} s")
    for kind in kinds:
        is_right += [await is_full(kind, on_full, phase_s, rate) for on_full in get_args(OnFull)]
    return all(is_right)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rate", type=float, default=1000, help="turns a minute")
    parser.add_argument("--phase", type=float, default=20, help="seconds")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="default: both")
    given = parser.parse_args()
    chosen = [given.database] if given.database else ["sqlite", "postgresql"]
    sys.exit(not anyio.run(main, chosen, given.phase, given.rate))
