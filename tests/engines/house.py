"""An installation whose whole personal context comes from engines outside, which a test breaks and mends."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4, uuid5

import pytest

from cozy.adapters.breaker import Breaker, BreakerRules
from cozy.adapters.guard import Guard
from cozy.adapters.memobase_profile import NAMESPACE
from cozy.app import App, open_app
from cozy.configuration import load_settings
from cozy.engine.trace import Trace
from cozy.events import TurnFinished
from cozy.ports.context import EngineRecord
from cozy.turn import SessionId, Turn, UserId
from tests.engines.fake_cognee import FakeCognee, fake_cognee
from tests.engines.fake_mem0 import FakeMem0, FakeMem0Platform, fake_mem0, fake_mem0_platform
from tests.engines.fake_memobase import FakeMemobase, fake_memobase
from tests.engines.opened import ENVIRON
from tests.engines.server import FakeEngine

PATIENCE = "10s"
"""Of a stage whose engine is well: long enough for any machine."""
HURRY = "100ms"
CONFIGURATION = """
[context]
knowledge = "wiki"
profile = "people"
memory = "diary"
timeout_s = 20
{context}
[engines.wiki]
kind = "cognee"
url = "{wiki}"
api_key_env = "COGNEE_KEY"
datasets = ["plants"]
[engines.people]
kind = "memobase"
url = "{people}"
api_key_env = "MEMOBASE_KEY"
[engines.diary]
kind = "mem0"
url = "{diary}"
api_key_env = "MEM0_KEY"
[engines.cloud]
kind = "mem0_platform"
url = "{cloud}"
api_key_env = "MEM0_KEY"
{more}
"""
PERSONALITY = """\
id: {id}
name: Mia
prompt: You are Mia.
model:
  name: demo/demo
stages:
  knowledge:
    timeout: {knowledge}
  profile:
    timeout: {profile}
  memory:
    timeout: {memory}
"""
SILENT = "  remember: off\n"
"""For a personality that teaches its engines nothing."""
HOSTED = "engines:\n  memory: cloud\n"
PLACES = ("knowledge", "profile", "memory")


@dataclass
class House:
    app: App
    wiki: FakeCognee
    people: FakeMemobase
    diary: FakeMem0
    cloud: FakeMem0Platform

    @property
    def engines(self) -> Mapping[str, FakeEngine]:
        """By what they are for; `hosted` is the memory of personalities of that name."""
        return {
            "knowledge": self.wiki,
            "profile": self.people,
            "memory": self.diary,
            "hosted": self.cloud,
        }

    def guard(self, victim: str) -> Guard:
        names = {"knowledge": "wiki", "profile": "people", "memory": "diary", "hosted": "cloud"}
        return next(g for g in self.app.context.guards if g.name == names[victim])

    def reset(self) -> None:
        """Every breaker as at the start."""
        for guard in self.app.context.guards:
            guard.breaker = Breaker(BreakerRules())

    async def user(self, *, knows: str = "Ada likes tea") -> UserId:
        """Somebody new, whom profile and memory know by this."""
        user_id = await self.app.store.user(f"user-{uuid4().hex}")
        self.people.keep(str(uuid5(NAMESPACE, str(user_id))), knows)
        for memory in (self.diary, self.cloud):
            memory.keep(str(user_id), knows)
        return user_id

    async def say(
        self,
        text: str,
        user_id: UserId,
        personality: str = "mia",
        *,
        session_id: SessionId | None = None,
    ) -> TurnFinished:
        """A turn, which must answer."""
        turn = Turn(text, user_id, personality, session_id)
        async with self.app.engine.run(turn) as running:
            last = [event async for event in running][-1]
        assert isinstance(last, TurnFinished), last
        assert last.text
        return last


def records(trace: Trace) -> dict[str, EngineRecord]:
    return {record.engine: record for _, record in trace.engines}


def prompt_of(trace: Trace) -> str:
    assert trace.prompt is not None
    return trace.prompt.text


@asynccontextmanager
async def house_in(
    folder: Path,
    *,
    context: str = "",
    more: str = "",
    database: str = "",
    personality: str = SILENT,
) -> AsyncGenerator[House]:
    """`mia` waits for her engines, `mia_hosted` for those that are hosted; `mia_KIND` is in a hurry with that
    one, `mia_in_the_cloud` with the hosted one."""
    (folder / "personalities").mkdir(exist_ok=True)
    hurries = {"mia": "", **{f"mia_{place}": place for place in (*PLACES, "all")}}
    for id_, hurried in {**hurries, "mia_hosted": "", "mia_in_the_cloud": "memory"}.items():
        times = {place: HURRY if hurried in (place, "all") else PATIENCE for place in PLACES}
        text = PERSONALITY.format(id=id_, **times) + personality
        text += HOSTED if id_ in ("mia_hosted", "mia_in_the_cloud") else ""
        (folder / "personalities" / f"{id_}.yaml").write_text(text, encoding="utf-8")
    async with AsyncExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in ENVIRON.items():
            patched.setitem(os.environ, name, value)
        wiki = await stack.enter_async_context(fake_cognee())
        people = await stack.enter_async_context(fake_memobase())
        diary = await stack.enter_async_context(fake_mem0())
        cloud = await stack.enter_async_context(fake_mem0_platform())
        text = CONFIGURATION.format(
            context=context,
            more=more,
            wiki=wiki.url,
            people=people.url,
            diary=diary.url,
            cloud=cloud.url,
        )
        if database:
            text += f'[database]\nurl = "{database}"\n'
        (folder / "cozy.toml").write_text(text, encoding="utf-8")
        app = await stack.enter_async_context(open_app(load_settings(folder, ENVIRON)))
        await app.knowledge.add(dataset="plants", name="tea.md", text="Green tea wants water at 80 degrees.")
        yield House(app, wiki, people, diary, cloud)
