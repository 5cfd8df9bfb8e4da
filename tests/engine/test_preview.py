"""The prompt as it would be sent, with no model asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from cozy.adapters.engine_context import EngineContext
from cozy.adapters.scripted import ScriptedLLM
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.app import App, open_app
from cozy.configuration import load_settings
from cozy.engine.preview import Preview, identity, previews, welcome
from cozy.errors import TurnError
from cozy.ports import Ports
from cozy.ports.context import Context
from cozy.turn import Turn

ROUTER = """\
id: router
name: Router
prompt: Answer.
pipeline:
  stages:
    history:
      type: fetch_context
      source: history
    first_look:
      type: render_prompt
    intent:
      type: llm
      ask: |
        Is this about health? {{ message }}
    knowledge:
      type: fetch_context
      source: knowledge
      when: intent.text == "yes"
    prompt:
      type: render_prompt
      from:
        - history
        - knowledge
      after: intent
    answer:
      type: llm
      visible: true
      from: prompt
      ask: |
        They said {{ intent.text }}.
    save:
      type: persist
"""
PLAIN = """\
id: plain
name: 小研
prompt: |
  你是{{ personality.name }}。
context: |
  {% for passage in knowledge %}- {{ passage.text }}（{{ passage.source }}）
  {% endfor %}
client_system: append
welcome: 你好，我是{{ personality.name }}。
voice:
  prompt: 简短一点。
"""


def engines(knowledge: Mapping[str, Any]) -> Context:
    """Engines of a script: these passages, and nothing of the user."""
    return EngineContext.of(ScriptedKnowledge(knowledge), ScriptedProfiles({}), ScriptedMemories({}))


class Room:
    """An installation with engines that a test has scripted, and a model that nobody may ask."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.llm = ScriptedLLM()
        self.ports: Ports = replace(
            app.engine.ports,
            llm=self.llm,
            context=engines({"passages": [{"text": "多喝水", "source": "a.md"}]}),
        )

    async def see(self, personality: str, text: str = "你好", **facts: object) -> list[Preview]:
        user = await self.app.store.user("ada")
        turn = replace(Turn(text, user, personality), **facts)  # pyright: ignore[reportArgumentType]
        return await previews(self.app.engine.library.graph(personality), turn, self.ports)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with room_in(tmp_path, router=ROUTER, plain=PLAIN) as found:
        yield found


@asynccontextmanager
async def room_in(folder: Path, **personalities: str) -> AsyncIterator[Room]:
    (folder / "personalities").mkdir(exist_ok=True)
    for name, text in personalities.items():
        (folder / "personalities" / f"{name}.yaml").write_text(text, encoding="utf-8")
    async with open_app(load_settings(folder, {})) as app:
        yield Room(app)


async def test_every_piece_names_its_source(room: Room, snapshot: SnapshotAssertion) -> None:
    (preview,) = await room.see("plain")
    pieces = [
        (m.section, p.text, p.source.rpartition("/")[2], p.expression, p.line)
        for m in preview.messages
        for p in m.pieces
    ]
    assert pieces == snapshot


async def test_the_pieces_are_what_would_be_sent(room: Room) -> None:
    for name in ("plain", "default", "health_assistant", "careful_writer"):
        for preview in await room.see(name, "what is my name?", channel="voice", client_system="Be brief."):
            assert [m.message for m in preview.messages] == list(preview.prompt.messages)
            for m in preview.messages:
                assert "".join(p.text for p in m.pieces) == m.message.content
                assert len(m.pieces) > 1 or m.section == "message", "the whole text has not one source"


async def test_the_rules_of_an_intent_are_shown_and_its_model_is_not_asked(tmp_path: Path) -> None:
    lines = "pipeline: attentive\nstages:\n  intent:\n    model:\n      temperature: 0\n"
    async with room_in(tmp_path, sorter=f"id: sorter\nname: S\nprompt: Answer.\n{lines}") as room:
        (asked,) = await room.see("sorter", "发烧怎么办")
        (greeted,) = await room.see("sorter", "你好")
        assert room.llm.requests == []
    assert "多喝水" in asked.prompt.context
    assert greeted.prompt.context == ""
    assert asked.unasked == greeted.unasked == ("intent",)


async def test_a_turn_sends_what_its_preview_shows(tmp_path: Path) -> None:
    async with room_in(tmp_path, plain=PLAIN) as room:
        (preview,) = await room.see("plain", "在吗")
        room.llm = ScriptedLLM("在")
        room.app.engine.ports = replace(room.ports, llm=room.llm)
        turn = Turn("在吗", await room.app.store.user("ada"), "plain")
        async with room.app.engine.run(turn) as running:
            async for _ in running:
                pass
    assert room.llm.requests[0].messages == preview.prompt.messages


async def test_no_model_is_asked_and_it_is_told_which_would_be(room: Room) -> None:
    first, second = await room.see("router")
    assert (first.stage, second.stage) == ("first_look", "prompt")
    assert (first.unasked, second.unasked) == ((), ("intent",))
    assert room.llm.requests == []
    assert "多喝水" not in second.prompt.text, "what depends on the answer is as if nothing had been said"


async def test_a_last_message_of_a_stage_is_shown_once_it_is_known(room: Room) -> None:
    first, second = await room.see("router", "头疼")
    assert [(a.stage, a.text, a.waits) for a in first.asks] == [("intent", "Is this about health? 头疼", ())]
    assert [(a.stage, a.text, a.waits) for a in second.asks] == [
        ("answer", "They said {{ intent.text }}.", ("intent",))
    ]


async def test_what_degrades_is_told_and_left_out(room: Room) -> None:
    room.ports = replace(
        room.ports, context=engines({"fault": {"kind": "EngineUnavailable", "message": "away"}})
    )
    (preview,) = await room.see("plain")
    assert [(d.stage, d.code) for d in preview.degraded] == [("knowledge", "ENGINE_UNAVAILABLE")]
    assert preview.prompt.context == ""


async def test_a_stage_s_own_timeout_holds(tmp_path: Path) -> None:
    hasty = PLAIN.replace("id: plain", "id: hasty") + "stages:\n  knowledge:\n    timeout: 20ms\n"
    async with room_in(tmp_path, hasty=hasty) as room:
        room.ports = replace(room.ports, context=engines({"fault": {"kind": "stall"}}))
        (preview,) = await room.see("hasty")
    assert [(d.stage, d.code) for d in preview.degraded] == [("knowledge", "ENGINE_TIMEOUT")]


async def test_a_stage_that_fails_fails_the_preview(tmp_path: Path) -> None:
    strict = PLAIN.replace("id: plain", "id: strict") + "stages:\n  knowledge:\n    on_error: fail\n"
    async with room_in(tmp_path, strict=strict) as room:
        room.ports = replace(room.ports, context=engines({"fault": {"kind": "EngineTimeout"}}))
        with pytest.raises(TurnError, match="knowledge") as caught:
            await room.see("strict")
    assert caught.value.details == {"code": "ENGINE_TIMEOUT", "stage": "knowledge"}


async def test_a_prompt_that_cannot_fit_is_an_error(room: Room) -> None:
    with pytest.raises(TurnError, match="what cannot be cut needs"):
        await room.see("plain", "字" * 80_000)


async def test_nothing_is_stored(room: Room) -> None:
    user = await room.app.store.user("ada")
    session = await room.app.store.create_session(user, "plain")
    await room.see("plain", session_id=session.id)
    assert await room.app.store.messages(user, session.id) == []


async def test_the_welcome_is_a_template(room: Room) -> None:
    graph = room.app.engine.library.graph("plain")
    assert welcome(graph, Turn("", await room.app.store.user("ada"), "plain")) == "你好，我是小研。"


async def test_who_it_is_can_be_told_without_a_turn(room: Room) -> None:
    graph = room.app.engine.library.graph("plain")
    turn = Turn("", await room.app.store.user("ada"), "plain")
    assert identity(graph, turn) == "你是小研。"
    assert identity(graph, replace(turn, channel="voice")) == "你是小研。\n\n简短一点。"
