"""Each command, as it is typed and as it answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from cozy.interfaces.repl.commands import COMMANDS
from tests.interfaces.repl.talking import ENTER, jobs_done, talking


async def test_help_lists_every_command(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    async with talking(tmp_path) as talk:
        told = await talk.say("/help")
    assert all(name in told for name in COMMANDS)
    assert told == snapshot


async def test_an_unknown_command_is_answered_with_the_nearest(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        assert await talk.say("/promt x") == (
            "error: no command `/promt`\nhint: did you mean `/prompt`?; `/help` lists them all"
        )


async def test_personalities_are_listed_and_changed(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("hello")
        assert await talk.say("/personality") == snapshot
        talk.type("/personality health_assistant", ENTER)
        await talk.seen("主人好，我是小研")
        assert talk.conversation.session is None, "another personality is another session"
        await talk.say("你好")
        assert talk.conversation.session is not None
        assert talk.conversation.session.personality_id == "health_assistant"


async def test_an_unknown_personality_leaves_everything_as_it_is(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("hello")
        session = talk.conversation.session
        told = await talk.say("/personality helth_assistant")
        assert told == "error: no personality `helth_assistant`\nhint: did you mean `health_assistant`?"
        assert talk.conversation.session is session


async def test_sessions_are_listed_and_taken_up(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    async with talking(tmp_path) as talk:
        assert await talk.say("/sessions") == "nothing has been said yet"
        await talk.say("hello, I am the first")
        first = talk.conversation.session
        await talk.say("/new")
        await talk.say("第二个会话")
        assert await talk.say("/sessions") == snapshot
        assert first is not None
        told = await talk.say(f"/sessions {str(first.id)[:8]}")
        assert "❯ hello, I am the first" in told
        assert talk.conversation.session == first or talk.conversation.session.id == first.id
        assert (await talk.say("/sessions nope")).startswith("error: no session `nope`")


async def test_the_prompt_is_shown_section_by_section(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    async with talking(tmp_path, personality="health_assistant") as talk:
        assert await talk.say("/prompt") == "error: nothing has been said yet"
        # nothing that is learned: nobody knows when that would be in the prompt
        await talk.say("12*3 等于多少？")
        await talk.say("那 12*4 呢？")
        told = await talk.say("/prompt")
    uncounted = re.sub(r"(?<![\w.*+])[0-9]+(?=[ ,]|$)", "N", told, flags=re.MULTILINE)
    assert re.sub(r"─+", "──", re.sub(r" {2,}", "  ", uncounted)) == snapshot


async def test_the_prompt_shows_what_was_sent_beyond_it(tmp_path: Path) -> None:
    async with talking(tmp_path, personality="concierge") as talk:
        await talk.say("12*37?")
        told = await talk.say("/prompt")
    assert "put together by first_look" in told
    assert "Which word fits my last message best?" in told.partition("sent by intent after that")[2]
    assert "tool: 444" in told.partition("sent by tools after that")[2]


async def test_the_trace_names_every_stage_and_tool(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("what is 12*37?")
        told = await talk.say("/trace")
    for stage in ("history", "knowledge", "profile", "memory", "budget", "prompt", "answer", "tools", "save"):
        assert stage in told
    assert "round 1: 0 ms · calculator(expression: 12*37) → 444" in told
    assert re.search(r"^  memory: memory of embedded · [\d.]+ ms · 0 items$", told, re.MULTILINE)
    assert "together" in told
    assert "100.0 %" in told


async def test_the_graph_is_drawn(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        told = await talk.say("/graph")
    assert told.startswith("Cozy (default) · pipeline standard")
    assert "┌ history" in told


async def test_memory_is_listed_edited_and_forgotten(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        assert await talk.say("/memory") == "nothing is remembered of you yet"
        await talk.say("我叫小明")
        await jobs_done(talk.app)
        assert "basic_info/name  小明     just now" in await talk.say("/memory")
        user = talk.conversation.user_id
        fact = next(f for f in await talk.app.profiles.facts(user) if f.sub_topic == "name")
        assert await talk.say(f"/memory edit {fact.id[:8]} 小红") == "changed"
        assert "小红" in await talk.say("/memory")
        assert await talk.say(f"/memory forget {fact.id[:8]}") == "forgotten: 1"
        assert "小红" not in await talk.say("/memory")
        assert (await talk.say("/memory forget all")).startswith("forgotten: ")
        assert await talk.say("/memory") == "nothing is remembered of you yet"
        assert (await talk.say("/memory forget 123")).startswith("error: no memory `123`")


async def test_memory_is_that_of_the_personality_at_hand(tmp_path: Path) -> None:
    engine = '[engines.diary]\nkind = "mem0"\nurl = "http://127.0.0.1:9"\n'
    (tmp_path / "cozy.toml").write_text(f'{engine}[context]\nmemory = "diary"\n')
    (tmp_path / "personalities").mkdir()
    own = "id: mia\nname: Mia\nprompt: You are Mia.\nengines:\n  memory: embedded\n"
    (tmp_path / "personalities" / "mia.yaml").write_text(own)
    async with talking(tmp_path, personality="mia") as talk:
        assert await talk.say("/memory") == "nothing is remembered of you yet"
        await talk.say("/personality minimal")
        assert (await talk.say("/memory")).startswith("error: diary: ")


@pytest.mark.parametrize("typed", ["/memory forget", "/memory edit", "/memory x y"])
async def test_memory_says_how_it_is_used(tmp_path: Path, typed: str) -> None:
    async with talking(tmp_path) as talk:
        assert "hint: /memory [forget ID|all] [edit ID TEXT]" in await talk.say(typed)


async def test_another_model_is_chosen_and_given_back(tmp_path: Path) -> None:
    async with talking(tmp_path, personality="health_assistant") as talk:
        assert await talk.say("/model") == "demo/demo (the personality's own)"
        assert (await talk.say("/model opnai/x")).startswith("error: opnai: no provider of this name")
        assert await talk.say("/model demo/other") == "demo/other"
        assert talk.conversation.models == ("demo/other",)
        assert "demo/other" in await talk.say("你好")
        assert await talk.say("/model auto") == "demo/demo (the personality's own)"


async def test_a_model_that_the_configuration_does_not_allow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cozy.toml").write_text('[model]\ndefault = "demo/demo"\nallow = ["demo/*"]\n')
    async with talking(tmp_path) as talk:
        assert await talk.say("/model ollama/qwen3") == (
            "error: the configuration does not allow the model `ollama/qwen3`\nhint: allowed: demo/*"
        )


async def test_reload_takes_changes_and_refuses_mistakes(tmp_path: Path) -> None:
    folder = tmp_path / "personalities"
    folder.mkdir()
    file = folder / "mia.yaml"
    file.write_text("id: mia\nname: Mia\nprompt: You are Mia.\nwelcome: one\npipeline: minimal\n")
    async with talking(tmp_path, personality="mia") as talk:
        file.write_text("id: mia\nname: Mia\nprompt: You are Mia.\nwelcome: 第二\npipeline: minimal\n")
        assert "are in use now" in await talk.say("/reload")
        assert "第二" in await talk.say("/new")
        file.write_text("id: mia\nname: Mia\nprompt: x\npipeline: minimall\n")
        told = await talk.say("/reload")
        assert "did you mean `minimal`?" in told
        assert "nothing was changed" in told
        assert "第二" in await talk.say("/new")
        file.unlink()
        await talk.say("/reload")
        assert (await talk.say("hello?")).startswith("error: no personality `mia`")


async def test_retry_says_the_last_words_again_in_their_place(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        assert await talk.say("/retry") == "error: nothing has been said yet"
        await talk.say("one")
        await talk.say("two")
        assert (await talk.say("/retry")).startswith("again: two")
        kept = [r.message.content for r in await talk.conversation.messages(limit=20)]
    assert kept.count("two") == 1


async def test_retry_finds_the_last_words_of_a_session_that_was_taken_up(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        await talk.say("第一句")
    async with talking(tmp_path, session="last") as talk:
        assert (await talk.say("/retry")).startswith("again: 第一句")
        kept = [r.message.content for r in await talk.conversation.messages(limit=20)]
    assert kept.count("第一句") == 1


async def test_quit_leaves(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        prompts = talk.prompts
        talk.type("/quit", ENTER)
    assert talk.prompts == prompts
