"""`cozy render`: the exact prompt, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.terminal import called


def test_a_prompt_is_printed_with_its_sources_and_nothing_is_stored(here: Path) -> None:
    called("chat", "--once", "我叫小明")
    done = called("render", "health_assistant", "我叫什么？")
    assert (done.code, done.err) == (0, "")
    lines = [tuple(part.strip() for part in line.partition("│")[::2]) for line in done.out.splitlines()]
    assert ("prompt:1", "你是一个专业的健康咨询助手，名字叫小研，说话亲切、简明。") in lines
    assert ("message", "我叫什么？") in lines
    assert any(source == "context:4 profile" and "小明" in text for source, text in lines)
    assert "我叫什么？" not in called("render", "default", "x", "--session", "last").out


def test_the_pieces_of_the_json_are_the_messages(here: Path) -> None:
    (preview,) = json.loads(called("render", "default", "hello", "--json").out)
    assert [m["role"] for m in preview["messages"]] == ["system", "user"]
    for message in preview["messages"]:
        assert "".join(piece["text"] for piece in message["pieces"]) == message["content"]
    assert {s["section"] for s in preview["sections"]} == {"system", "tools", "message"}
    assert preview["budget"]["used"] <= preview["budget"]["room"]
    assert "calculator" in [tool["name"] for tool in preview["tools"]]


def test_a_session_brings_its_history(here: Path) -> None:
    called("chat", "--once", "remember the teapot")
    assert "remember the teapot" in called("render", "default", "x", "--session", "last").out
    assert "remember the teapot" not in called("render", "default", "x").out


def test_what_a_model_would_decide_first_is_told(here: Path) -> None:
    done = called("render", "concierge", "hi")
    assert done.code == 0
    assert "note: `intent` would ask a model first" in done.err
    assert "prompt of first_look" in done.out


def test_an_unknown_personality_is_an_error(here: Path) -> None:
    done = called("render", "defualt", "hi")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: no personality `defualt`\nhint: did you mean `default`?\n"
