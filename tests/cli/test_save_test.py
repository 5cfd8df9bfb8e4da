"""A turn that was said in a chat becomes a fixture that says the same."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from syrupy.assertion import SnapshotAssertion

from cozy.adapters.engine_context import EngineContext
from cozy.adapters.scripted import ScriptedLLM
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.app import App, open_app
from cozy.cli.chat import installation
from cozy.configuration import load_settings
from cozy.errors import CozyError
from cozy.events import TextDelta
from cozy.interfaces.repl.conversation import Conversation, Said
from tests.cli.terminal import called
from tests.interfaces.repl.talking import jobs_done


class Room:
    """A chat whose turns are recorded."""

    def __init__(self, app: App, conversation: Conversation) -> None:
        self.app, self.conversation = app, conversation

    async def say(self, text: str, *, stop_after: str | None = None) -> None:
        turn = await self.conversation.turn(text)
        events: list[object] = []
        with anyio.fail_after(30):
            async with self.app.engine.run(turn) as running:
                async for event in running:
                    events.append(event)
                    if isinstance(event, TextDelta) and event.text == stop_after:
                        running.interrupt()
        self.conversation.last = Said(turn, tuple(events))  # pyright: ignore[reportArgumentType]

    async def save(self, path: str | None = None) -> str:
        assert self.conversation.last is not None
        return await self.conversation.place.save_test(self.conversation.last, path)


@asynccontextmanager
async def room(folder: Path, personality: str = "default", **ports: object) -> AsyncIterator[Room]:
    async with open_app(load_settings(folder, {})) as app:
        app.engine.ports = replace(app.engine.ports, **ports)  # pyright: ignore[reportArgumentType]
        user = await app.store.user("ada")
        yield Room(app, Conversation(installation(app), user, personality))


def saved(folder: Path, name: str) -> str:
    return (folder / "tests" / "pipelines" / f"{name}.yaml").read_text(encoding="utf-8")


def passes(name: str) -> None:
    """The fixture runs: its own expectations hold, and a second run is as the first."""
    written = called("test", "--update", f"tests/pipelines/{name}.yaml")
    assert written.code == 0, written.out
    assert called("test").code == 0


def test_a_turn_with_tools_and_memory(here: Path, snapshot: SnapshotAssertion) -> None:
    async def talk() -> None:
        async with room(here, "health_assistant") as chat:
            await chat.say("我叫小明")
            await jobs_done(chat.app)
            await chat.say("我叫什么名字？另外 12*3 等于多少？")
            await chat.save("tools")

    anyio.run(talk)
    text = saved(here, "tools")
    lines = [line for line in text.splitlines() if not line.startswith("now:") and "prompt:" not in line]
    assert [line for line in lines if not re.search("completion:|score:", line)] == snapshot
    passes("tools")


def test_an_answer_that_was_stopped(here: Path) -> None:
    async def talk() -> None:
        llm = ScriptedLLM(
            replies=[{"text": ["从前有座山，", "山里有座庙。"], "fault": {"kind": "stall", "after": 1}}]
        )
        async with room(here, "minimal", llm=llm) as chat:
            await chat.say("讲个故事", stop_after="从前有座山，")
            await chat.save("stopped")

    anyio.run(talk)
    assert "after: 从前有座山，" in saved(here, "stopped")
    passes("stopped")


def test_a_turn_that_failed(here: Path) -> None:
    async def talk() -> None:
        llm = ScriptedLLM(replies=[{"text": "Once", "fault": {"kind": "EngineRateLimited", "after": 1}}])
        async with room(here, "minimal", llm=llm) as chat:
            await chat.say("tell me a story")
            await chat.save("failed")

    anyio.run(talk)
    assert "error: ENGINE_RATE_LIMITED" in saved(here, "failed")
    passes("failed")


def test_an_engine_that_failed(here: Path) -> None:
    async def talk() -> None:
        away = ScriptedKnowledge({"fault": {"kind": "EngineUnavailable", "message": "the shelf is empty"}})
        context = EngineContext.of(away, ScriptedProfiles(), ScriptedMemories())
        async with room(here, context=context) as chat:
            await chat.say("hello")
            await chat.save("degraded")

    anyio.run(talk)
    text = saved(here, "degraded")
    assert "kind: EngineUnavailable" in text
    assert "- knowledge" in text.partition("degraded:")[2]
    passes("degraded")


def test_several_stages_that_ask(here: Path) -> None:
    async def talk() -> None:
        async with room(here, "concierge") as chat:
            await chat.say("hello there")
            await chat.save()

    anyio.run(talk)
    passes("hello_there")


def test_a_turn_said_again(here: Path) -> None:
    async def talk() -> None:
        async with room(here, "minimal") as chat:
            await chat.say("one")
            await chat.say("two")
            first = chat.conversation.last
            again = await chat.conversation.again()
            assert first is not None
            assert again.retry_of == first.turn.id
            async with chat.app.engine.run(again) as running:
                chat.conversation.last = Said(again, tuple([e async for e in running]))
            await chat.save("again")

    anyio.run(talk)
    history = saved(here, "again").partition("history:")[2].partition("\nmodel:")[0]
    assert history.count("user:") == 1, "neither the turn nor the one it takes the place of is its history"
    passes("again")


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (None, "tests/pipelines/what_is_6_7.yaml"),
        ("mine", "tests/pipelines/mine.yaml"),
        ("mine.yaml", "tests/pipelines/mine.yaml"),
        ("./elsewhere/mine", "elsewhere/mine.yaml"),
    ],
)
def test_where_a_fixture_is_written(here: Path, path: str | None, file: str) -> None:
    told: list[str] = []

    async def talk() -> None:
        async with room(here) as chat:
            await chat.say("What is 6*7?")
            told.append(await chat.save(path))
            with pytest.raises(CozyError, match="is there already"):
                await chat.save(path)

    anyio.run(talk)
    assert (here / file).is_file()
    assert told == [f"wrote {file}; run `cozy test --update {file}`, read the snapshot, keep both"]
