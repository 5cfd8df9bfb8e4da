"""Turns without a terminal: plain text, or every event as a line of JSON."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from cozy.adapters.engine_context import EngineContext
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.app import App, open_app
from cozy.cli.chat import installation
from cozy.configuration import load_settings
from cozy.errors import CozyError
from cozy.interfaces.repl.conversation import Conversation
from cozy.interfaces.repl.plain import Plain, lines_of, one, whole
from tests.upstream import Answer, Cut, Hold, Script, chunk, sse, upstream


class Ends:
    """What was written where."""

    def __init__(self, app: App, conversation: Conversation) -> None:
        self.app, self.conversation = app, conversation
        self.out: list[str] = []
        self.err: list[str] = []

    async def say(self, *texts: str, as_json: bool = False) -> int:
        async def spoken() -> AsyncIterator[str]:
            for text in texts:
                yield text

        return await Plain(self.conversation, self.out.append, self.err.append, as_json).say_all(spoken())

    @property
    def text(self) -> str:
        return "".join(self.out)

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@asynccontextmanager
async def ends(folder: Path, personality: str = "default") -> AsyncIterator[Ends]:
    async with open_app(load_settings(folder, {})) as app:
        user = await app.store.user("ada")
        yield Ends(app, Conversation(installation(app), user, personality))


@asynccontextmanager
async def far(folder: Path, *scripts: Script) -> AsyncIterator[Ends]:
    async with upstream(*scripts) as server:
        (folder / "cozy.toml").write_text(
            f'[providers.far]\nbase_url = "{server.base_url}"\ndefault_model = "fake"\n', encoding="utf-8"
        )
        async with ends(folder, "minimal") as found:
            yield found


async def test_the_answer_and_nothing_else_goes_to_stdout(tmp_path: Path) -> None:
    async with ends(tmp_path) as found:
        assert await found.say("现在 6*7 等于多少？") == 0
    assert found.text.startswith("6*7 = 42")
    assert found.text.endswith("\n")
    assert found.err == []


async def test_texts_are_turns_of_one_session(tmp_path: Path) -> None:
    async with ends(tmp_path) as found:
        await found.say("my name is Ada", "", "  ", "what is my name?")
        assert "Your name is Ada" in found.text
        assert len(await found.conversation.messages(limit=10)) == 4


async def test_json_is_one_line_for_each_event_with_the_trace_at_the_end(tmp_path: Path) -> None:
    async with ends(tmp_path) as found:
        assert await found.say("12*37?", as_json=True) == 0
    names = [event["event"] for event in found.objects]
    assert names[0] == "StageStarted"
    assert {"TextDelta", "ToolStarted", "ToolFinished", "UsageReported", "StageFinished"} <= set(names)
    last = found.objects[-1]
    assert last["event"] == "TurnFinished"
    spoken = "".join(e["text"] for e in found.objects if e["event"] == "TextDelta")
    assert last["text"] == spoken
    trace = last["trace"]
    assert sum(s["seconds"] for s in trace["segments"]) == pytest.approx(trace["wall_s"], rel=0.01)
    assert trace["model"] == "demo/demo"
    assert {(e["stage"], e["engine"], e["provider"], e["outcome"]) for e in trace["engines"]} == {
        (kind, kind, "embedded", "empty") for kind in ("knowledge", "profile", "memory")
    }
    assert [m["role"] for m in trace["prompt"]["messages"]] == ["system", "user"]
    assert last["session_id"] == str(found.conversation.session and found.conversation.session.id)


async def test_chinese_stays_readable_in_json(tmp_path: Path) -> None:
    async with ends(tmp_path) as found:
        await found.say("我叫小明", as_json=True)
    assert "小明" in found.text


async def test_a_failed_turn_is_told_on_stderr_and_by_the_code(tmp_path: Path) -> None:
    async with far(tmp_path, Answer((sse(chunk("从前")), Cut()))) as found:
        assert await found.say("讲个故事") == 1
    assert found.text == "从前\n"
    assert found.err[0].startswith("error: ENGINE_UNAVAILABLE: far: ")


async def test_a_failed_turn_is_an_event_in_json(tmp_path: Path) -> None:
    async with far(tmp_path, Answer((Cut(),))) as found:
        assert await found.say("hello", as_json=True) == 1
    assert found.objects[-1]["event"] == "TurnFailed"
    assert found.objects[-1]["code"] == "ENGINE_UNAVAILABLE"
    assert found.err == []


async def test_the_turns_after_a_failed_one_are_said_all_the_same(tmp_path: Path) -> None:
    fine = Answer((sse(chunk("fine"), chunk(finish="stop"), "[DONE]"),))
    async with far(tmp_path, Answer((Cut(),)), fine) as found:
        assert await found.say("one", "two") == 1
    assert found.text == "fine\n"


async def test_what_degraded_is_a_warning(tmp_path: Path) -> None:
    async with ends(tmp_path) as found:
        away = ScriptedKnowledge({"fault": {"kind": "EngineUnavailable", "message": "the shelf is empty"}})
        context = EngineContext.of(away, ScriptedProfiles(), ScriptedMemories())
        found.app.engine.ports = replace(found.app.engine.ports, context=context)
        assert await found.say("hello") == 0
    assert found.err == ["warning: without knowledge: knowledge: the shelf is empty (ENGINE_UNAVAILABLE)\n"]


async def test_ctrl_c_stops_the_answer_keeps_it_and_ends_it_all(tmp_path: Path) -> None:
    async with far(tmp_path, Answer((sse(chunk("从前有座山")), Hold()))) as found:
        codes: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def say() -> None:
                codes.append(await found.say("讲个故事", "never said"))

            tasks.start_soon(say)
            with anyio.fail_after(30):
                while "山" not in found.text:
                    await anyio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
        assert codes == [130]
        kept = [row.message.content for row in await found.conversation.messages(limit=10)]
    assert kept == ["讲个故事", "从前有座山"]


async def test_ctrl_c_between_turns_ends_it_all(tmp_path: Path) -> None:
    async def silence() -> AsyncIterator[str]:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()
        yield ""

    async with ends(tmp_path) as found:
        with anyio.fail_after(30):
            assert (
                await Plain(found.conversation, found.out.append, found.err.append).say_all(silence()) == 130
            )


async def test_a_reader_that_has_left_ends_it(tmp_path: Path) -> None:
    def gone(text: str) -> None:
        raise BrokenPipeError

    async with ends(tmp_path) as found:
        assert await Plain(found.conversation, gone, found.err.append).say_all(one("hello")) == 141


async def read(data: bytes, *, of_whole: bool = False) -> list[str]:
    """What is read of a pipe into which this was written."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    try:
        return [text async for text in (whole(reading) if of_whole else lines_of(reading))]
    finally:
        os.close(reading)


async def test_a_pipe_is_read_line_by_line_or_as_a_whole() -> None:
    assert await read("\ufeff你好\nworld".encode()) == ["你好", "world"]
    assert await read("你好\nworld\n".encode(), of_whole=True) == ["你好\nworld\n"]
    assert await read(b"") == []


async def test_a_file_is_read_as_a_pipe_is(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("one\n二\n", encoding="utf-8")
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert [text async for text in lines_of(descriptor)] == ["one", "二"]
    finally:
        os.close(descriptor)


async def test_what_is_not_utf_8_is_refused_with_its_place() -> None:
    with pytest.raises(CozyError, match="line 2, byte 1"):
        await read(b"fine\n" + "你好".encode("gbk"))
