"""The chat itself, key by key, on a terminal in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.interfaces.repl.talking import ALT_ENTER, CTRL_C, ENTER, Talk, normal, talking
from tests.upstream import Answer, Hold, Script, Upstream, chunk, plain, says, sse, upstream


@asynccontextmanager
async def far(folder: Path, *scripts: Script) -> AsyncIterator[tuple[Talk, Upstream]]:
    """A chat with a model on a server of the test."""
    async with upstream(*scripts) as server:
        (folder / "cozy.toml").write_text(
            f'[providers.far]\nbase_url = "{server.base_url}"\ndefault_model = "fake"\n', encoding="utf-8"
        )
        async with talking(folder, personality="minimal") as talk:  # it asks the model once a turn
            yield talk, server


async def test_a_talk_as_it_is_seen(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("Hello, my name is Ada")
        await talk.say("现在 12*37+5 等于多少？")
        await talk.say("what is my name?")
    assert normal(talk.text) == snapshot


async def test_a_personality_says_its_welcome_first(tmp_path: Path) -> None:
    async with talking(tmp_path, personality="health_assistant") as talk:
        assert talk.text.splitlines()[2] == "主人好，我是小研，有什么健康问题可以随时问我哦！"


async def test_another_chat_remembers_what_was_told(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("我叫小明")
    async with talking(tmp_path) as talk:
        assert "小明" in await talk.say("我叫什么名字？")
    async with talking(tmp_path, user="bob") as talk:
        assert "小明" not in await talk.say("我叫什么名字？")


async def test_alt_enter_begins_a_new_line_and_enter_sends_both(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        talk.type("my name is Ada", ALT_ENTER)
        await talk.say("and I live in Paris")
        rows = await talk.conversation.messages(limit=10)
    assert rows[0].message.content == "my name is Ada\nand I live in Paris"


async def test_ctrl_c_clears_the_line_and_on_an_empty_one_tells_how_to_leave(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        talk.type("never sent")
        await talk.seen("never sent")
        talk.type(CTRL_C)
        await talk.seen(lambda text: "never sent" not in text)
        talk.type(CTRL_C)
        await talk.seen("ctrl+d quits\n\ndefault ❯")
        assert await talk.conversation.messages(limit=10) == ()


async def test_ctrl_c_stops_the_answer_and_what_was_said_is_kept(tmp_path: Path) -> None:
    cut = Answer((sse(chunk("从前有座山，"), chunk("山里有座庙")), Hold()))
    async with far(tmp_path, cut, says("好的")) as (talk, server):
        talk.type("讲个故事", ENTER)
        await talk.seen("山里有座庙")
        talk.type(CTRL_C)
        await talk.seen("stopped ·")
        await server.left()
        kept = [row.message.content for row in await talk.conversation.messages(limit=10)]
        assert kept == ["讲个故事", "从前有座山，山里有座庙"]
        await talk.say("继续")
        assert "山里有座庙" in str(server.requests[1].body["messages"])


async def test_what_is_typed_during_an_answer_waits_for_the_next_line(tmp_path: Path) -> None:
    held = Answer((sse(chunk("one")), Hold("gate"), sse(chunk(" two"), chunk(finish="stop"), "[DONE]")))
    async with far(tmp_path, held, says("second answer")) as (talk, server):
        talk.type("first", ENTER)
        await server.reached("gate")
        await talk.seen("one")
        talk.type("second", ENTER)
        server.open("gate")
        await talk.seen("second answer")
    assert server.requests[1].body["messages"][-1]["content"].endswith("second")


async def test_a_failed_turn_tells_what_is_wrong_and_the_chat_goes_on(tmp_path: Path) -> None:
    refused = plain({"error": {"message": "no such model"}}, 404)
    async with far(tmp_path, refused, says("here again")) as (talk, _):
        told = await talk.say("hello?")
        assert told.splitlines()[0].startswith("error: ENGINE_")
        assert "(stage `answer`)" in told
        assert "here again" in await talk.say("/retry")
        kept = [row.message.content for row in await talk.conversation.messages(limit=10)]
        assert kept == ["hello?", "here again"]


async def test_a_session_can_be_taken_up_again(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    async with talking(tmp_path, personality="health_assistant") as talk:
        await talk.say("你好，我对花生过敏")
    async with talking(tmp_path, session="last") as talk:
        assert talk.conversation.personality_id == "health_assistant"
    assert normal(talk.text) == snapshot


async def test_a_session_is_made_with_the_first_words_and_named_after_them(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        sessions = talk.app.store.sessions
        assert await sessions(talk.conversation.user_id) == []
        await talk.say("  hello   there  ")
        (session,) = await sessions(talk.conversation.user_id)
        assert session.title == "hello there"


async def test_an_empty_line_says_nothing(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        talk.type("   ", ENTER)
        await talk.seen(lambda _: talk.prompts == 2)
        assert talk.conversation.session is None


async def test_what_was_typed_is_there_again_with_the_up_key(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("you said 你好")
    async with talking(tmp_path) as talk:
        talk.type("\x1b[A")
        await talk.seen("❯ you said 你好")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        pytest.param("/per", "list personalities, or talk to another one", id="commands"),
        pytest.param("/personality he", "健康助手小研", id="personalities"),
        pytest.param("/memory ", "ID TEXT", id="verbs"),
        pytest.param("/model ", "demo/demo", id="models"),
        pytest.param("/sessions ", "the one talked in last", id="sessions"),
    ],
)
async def test_what_may_follow_is_offered(tmp_path: Path, typed: str, offered: str) -> None:
    async with talking(tmp_path) as talk:
        talk.type(typed)
        await talk.seen(offered)


async def test_tab_completes_a_command(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        talk.type("/perso")
        await talk.seen("talk to another one")
        talk.type("\t")
        await talk.seen("❯ /personality")
