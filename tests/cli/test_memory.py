"""`cozy memory`: what users have told."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.cli.terminal import called


def test_the_life_of_a_memory(here: Path) -> None:
    nothing = called("memory", "list")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "nothing is remembered of this user\n")
    called("chat", "--once", "my name is Ada")
    known = json.loads(called("memory", "list", "--json").out)
    (fact,) = known["profile"]
    assert (fact["sub_topic"], fact["content"]) == ("name", "Ada")
    assert f"{fact['id'][:8]}  basic_info/name  Ada" in called("memory", "list").out.splitlines()

    assert called("memory", "edit", fact["id"][:8], "小红").code == 0
    assert "小红" in called("memory", "list").out
    assert "小红" in called("chat", "--once", "what is my name?").out
    other = called("memory", "forget", fact["id"], "--user", "bob")
    assert (other.code, other.err.startswith("error: no memory")) == (1, True)
    assert "小红" in called("memory", "list").out, "another user forgets nothing of mine"

    assert called("memory", "forget", fact["id"][:8]).err == "forgotten: 1\n"
    assert "小红" not in called("memory", "list").out
    called("memory", "forget", "all")
    assert called("memory", "list").out == ""


def test_memory_is_searched_as_a_personality_would(here: Path) -> None:
    called("chat", "--once", "I live in Paris")
    called("chat", "--once", "I am allergic to peanuts")
    assert "peanuts" in called("memory", "search", "allergic", "--top", "1").out
    assert "Paris" not in called("memory", "search", "allergic", "--top", "1").out


def test_what_another_engine_remembers_is_seen_where_it_is_named(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    engine = f'[engines.diary]\nkind = "mem0"\nurl = "http://127.0.0.1:{port}"\n'
    (here / "cozy.toml").write_text(f'{engine}[context]\nmemory = "diary"\n')
    (here / "personalities").mkdir()
    own = "id: mia\nname: Mia\nprompt: You are Mia.\nengines:\n  memory: embedded\n"
    (here / "personalities" / "mia.yaml").write_text(own)
    called("chat", "mia", "--once", "I have a cat called Luna")
    assert called("memory", "list").err.startswith("error: diary: ")
    assert "Luna" in called("memory", "list", "--engine", "embedded").out
    assert called("memory", "search", "cat", "--engine", "embedded").code == 0
    wrong = called("memory", "list", "--engine", "dairy")
    assert wrong.err.startswith(
        "error: no engine `dairy` brings memory or profile\nhint: did you mean `diary`?"
    )
