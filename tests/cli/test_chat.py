"""`cozy chat` as a process: what a script sees of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.terminal import called, cozy


def test_once_answers_in_an_empty_folder(tmp_path: Path) -> None:
    done = cozy(tmp_path, "chat", "--once", "what is 6*7?")
    assert (done.code, done.err) == (0, "")
    assert "42" in done.out
    assert (tmp_path / "data" / "cozy.db").is_file()


def test_a_stage_that_degrades_is_told_of_once_and_in_words(here: Path) -> None:
    (here / "personalities").mkdir()
    lines = "id: mia\nname: Mia\nprompt: You are Mia.\nstages:\n  memory:\n    top_k: turn.text\n"
    (here / "personalities" / "mia.yaml").write_text(lines, "utf-8")
    done = called("chat", "mia", "--once", "hello")
    assert done.err.startswith("warning: without memory: ")
    assert done.err.count("\n") == 1


def test_what_the_configuration_warns_of_is_told_beside_the_answer(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COZY_MODEL_DEFALT", "demo/demo")
    monkeypatch.setenv("OPENAI_API_KEY", f"cozy_{'A' * 43}")
    done = called("chat", "--once", "what is 6*7?")
    assert "42" in done.out
    assert [line.split("`")[1] for line in done.err.splitlines()] == ["COZY_MODEL_DEFALT", "OPENAI_API_KEY"]


def test_another_process_remembers_what_was_told(tmp_path: Path) -> None:
    cozy(tmp_path, "chat", "--once", "my name is Ada")
    assert "Ada" in cozy(tmp_path, "chat", "--once", "what is my name?").out


def test_another_user_is_told_nothing_of_it(here: Path) -> None:
    called("chat", "--once", "my name is Ada")
    assert "Ada" in called("chat", "--once", "what is my name?").out
    assert "Ada" not in called("chat", "--once", "what is my name?", "--user", "bob").out


def test_the_time_comes_from_the_tool(here: Path) -> None:
    done = called("chat", "--once", "现在几点了", "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    (told,) = [e for e in events if e["event"] == "ToolFinished"]
    assert told["name"] == "current_time"
    assert events[-1]["event"] == "TurnFinished"
    assert told["content"][:11] in events[-1]["text"]


def test_each_line_of_stdin_is_a_turn(tmp_path: Path) -> None:
    done = cozy(tmp_path, "chat", says="我叫小明\n\n我叫什么名字？\n")
    assert done.code == 0
    assert done.out.count("小明") >= 2
    with closing(sqlite3.connect(tmp_path / "data" / "cozy.db")) as database:
        assert database.execute("SELECT count(*), count(DISTINCT session_id) FROM messages").fetchone() == (
            4,
            1,
        )


def test_all_of_stdin_can_be_one_turn(tmp_path: Path) -> None:
    done = cozy(tmp_path, "chat", "--once", "-", says="one\ntwo\n")
    assert done.code == 0
    with closing(sqlite3.connect(tmp_path / "data" / "cozy.db")) as database:
        said = database.execute("SELECT content FROM messages WHERE role = 'user'").fetchall()
    assert said == [("one\ntwo",)]


def test_a_session_is_taken_up_by_its_id_or_as_the_last(here: Path) -> None:
    first = called("chat", "--once", "hello", "--json")
    session = json.loads(first.out.splitlines()[-1])["session_id"]
    called("chat", "--once", "another one")
    for name in (session[:8], session):
        again = called("chat", "--once", "again", "--session", name, "--json")
        assert json.loads(again.out.splitlines()[-1])["session_id"] == session
    last = called("chat", "--once", "again", "--session", "last", "--json")
    assert json.loads(last.out.splitlines()[-1])["session_id"] == session


def test_a_failed_turn_is_exit_code_1(here: Path) -> None:
    nobody = '[providers.away]\nbase_url = "http://127.0.0.1:9/v1"\ndefault_model = "m"\n'
    (here / "cozy.toml").write_text(nobody)
    done = called("chat", "minimal", "--once", "hello")
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: ENGINE_UNAVAILABLE: ")


def test_what_is_named_wrongly_is_told_before_anything_is_said(here: Path) -> None:
    for arguments, told in (
        (["chat", "defualt", "--once", "x"], "did you mean `default`?"),
        (["chat", "--model", "opnai/x", "--once", "x"], "no provider of this name"),
        (["chat", "--session", "last", "--once", "x"], "no session `last`"),
        (["chat", "--session", "nope", "--once", "x"], "no session `nope`"),
    ):
        done = called(*arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: ")
        assert told in done.err


def test_stdin_that_is_not_utf_8_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    done = cozy(tmp_path, "chat", says=b"hello\n" + "你好\n".encode("gbk"))
    assert done.code == 1
    assert done.err == "error: what is said is not UTF-8: line 2, byte 1\nhint: convert it to UTF-8\n"
    assert done.out != "", "the lines before it were said"
