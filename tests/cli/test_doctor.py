"""`cozy doctor`: one page, and whether the installation is fit."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from syrupy.assertion import SnapshotAssertion

from cozy.adapters.engine_context import EngineContext
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.cli.doctor import engine_row, judged, state_of
from cozy.engine.appraisal import Appraisal, Use, Wait, appraise
from cozy.storage.database import open_database
from cozy.storage.migrate import HEAD, current
from tests.cli.terminal import Ended, called

TALK = """\
stages:
  recall:
    type: fetch_context
    source: memory
    timeout: {timeout}
    on_error: {on_error}
  prompt:
    type: render_prompt
  answer:
    type: llm
"""
NO_TIME = "0.001ms"
QUICK = Wait("mia", "recall", 0.01, "stage", can_do_without=True)
PATIENT = Wait("小美", "回忆", 2.0, "context", can_do_without=False)


def masked(text: str) -> str:
    """Without clock values, versions and the width that they need."""
    text = re.sub(r"\b\d+(\.\d+)? (ms|s)\b", "#", text)
    text = re.sub(r"version \w{12}", "version #", text)
    return re.sub(r" {2,}", "  ", text).rstrip()


def doctor(*arguments: str) -> Ended:
    return called("doctor", "--times", "2", *arguments)


def write(folder: Path, *, timeout: str = "500ms", on_error: str = "degrade", model: str = "") -> None:
    """`mia`, who has a pipeline of her own."""
    (folder / "personalities").mkdir()
    (folder / "pipelines").mkdir()
    mia = f"id: mia\nname: Mia\npipeline: talk\nprompt: You are Mia.\n{model}"
    (folder / "personalities" / "mia.yaml").write_text(mia, "utf-8")
    talk = TALK.format(timeout=timeout, on_error=on_error)
    (folder / "pipelines" / "talk.yaml").write_text(talk, "utf-8")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """One at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# -- the page ----------------------------------------------------------------------------------------------


def test_an_empty_project_is_fit_and_left_alone(here: Path, snapshot: SnapshotAssertion) -> None:
    done = doctor()
    assert done.code == 0
    assert masked(done.out) == snapshot
    assert done.err == "warning: no model server is configured: the demo model answers\nfit: 1 warning\n"
    assert not (here / "data").exists(), "looking makes nothing"


def test_a_database_that_is_there_is_asked_itself(here: Path, sqlite_url: str) -> None:
    (here / "cozy.toml").write_text(f'[database]\nurl = "{sqlite_url}"\n')
    done = doctor()
    assert done.code == 0
    assert re.search(rf"^database +ok +[\d.]+ ms +sqlite, revision {HEAD}$", done.out, re.MULTILINE)


def test_a_database_of_an_earlier_version_is_not_changed(here: Path, sqlite_url: str) -> None:
    (here / "cozy.toml").write_text(f'[database]\nurl = "{sqlite_url}"\n')
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    done = doctor()
    assert done.code == 0
    assert f"at revision 0001, brought to {HEAD} at the next start" in done.out
    assert anyio.run(current, sqlite_url) == ("0001", HEAD)


def test_jobs_that_wait_are_left_to_those_who_do_them(here: Path, sqlite_url: str) -> None:
    from tests.storage.test_outbox import Desk

    async def jobs(hand_in: bool) -> int:
        async with open_database(sqlite_url) as database:
            desk = Desk(database)
            if hand_in:
                await desk.hand_in(await desk.store.user("ada"), "tea")
            return await desk.outbox.depth()

    (here / "cozy.toml").write_text(f'[database]\nurl = "{sqlite_url}"\n')
    before = anyio.run(jobs, True)
    assert doctor().code == 0
    assert before == anyio.run(jobs, False) == 1


def test_programs_get_the_same_as_json(here: Path) -> None:
    write(here, timeout=NO_TIME)
    done = doctor("--format", "json")
    assert done.code == 0
    told = json.loads(done.out)
    assert told["fit"] is True
    assert {c["name"]: c["state"] for c in told["checks"]} == {
        "configuration": "ok",
        "personalities": "ok",
        "database": "ok",
        "signing keys": "ok",
        "time zone": "ok",
        "redis": "ok",
        "default model": "warning",
        "engines": "ok",
    }
    memory = next(engine for engine in told["engines"] if engine["engine"] == "memory")
    assert (memory["provider"], memory["state"], memory["asked"]) == ("embedded", "warning", 2)
    assert 0 < memory["p50_ms"] <= memory["p95_ms"]
    assert memory["waits"][0] == {"personality": "mia", "stage": "recall", "ms": 0.0, "set_by": "stage"}
    assert (memory["errors"], memory["silent"]) == ({}, 0)
    assert len(told["warnings"]) == 2
    assert done.err == "fit: 2 warnings\n"


def test_what_is_wrong_is_told_and_the_rest_is_not_looked_at(here: Path) -> None:
    write(here)
    (here / "personalities" / "mia.yaml").write_text("id: mia\nname: Mia\npipeline: standrad\n")
    (here / "cozy.toml").write_text('[tools]\ntimezone = "Mars/Olympus"\n[server]\nport = 99999\n')
    done = doctor()
    assert done.code == 1
    for name, state in (("configuration", "error"), ("personalities", "error"), ("time zone", "error")):
        assert re.search(rf"^{name} +{state}\b", done.out, re.MULTILINE)
    assert "did you mean `standard`?" in done.err
    assert "engines and model servers were not looked at" in done.err
    assert done.err.endswith("not fit: 3 errors, 2 warnings\n")


def test_redis_that_is_away_is_a_warning(here: Path, closed_port: int) -> None:
    (here / "cozy.toml").write_text(f'[redis]\nurl = "redis://127.0.0.1:{closed_port}/0"\n')
    done = doctor()
    assert done.code == 0
    assert re.search(r"^redis +warning .*nothing listens at its address$", done.out, re.MULTILINE)


def test_redis_that_answers_is_timed(here: Path, redis_url: str) -> None:
    (here / "cozy.toml").write_text(f'[redis]\nurl = "{redis_url}"\n')
    assert re.search(r"^redis +ok +[\d.]+ ms$", doctor().out, re.MULTILINE)


# -- model servers -----------------------------------------------------------------------------------------


def test_a_model_server_that_is_away_is_an_error_for_those_who_have_no_other(
    here: Path, closed_port: int
) -> None:
    (here / "cozy.toml").write_text(f'[providers.house]\nbase_url = "http://127.0.0.1:{closed_port}/v1"\n')
    write(here, model="model:\n  name: house/small\n")
    done = doctor()
    assert done.code == 1
    assert re.search(r"^model/house +error .*nothing listens at its address$", done.out, re.MULTILINE)
    assert "`mia` cannot answer without it" in done.err
    assert "hint: look whether it runs, and at `providers.house.base_url`" in done.err


def test_it_is_a_warning_where_another_takes_its_place(here: Path, closed_port: int) -> None:
    (here / "cozy.toml").write_text(f'[providers.house]\nbase_url = "http://127.0.0.1:{closed_port}/v1"\n')
    write(here, model="model:\n  name: house/small\n  fallbacks: demo/demo\n")
    done = doctor()
    assert done.code == 0
    assert re.search(r"^model/house +warning ", done.out, re.MULTILINE)


# -- engines -----------------------------------------------------------------------------------------------


def test_a_stage_that_gives_an_engine_too_little_time_is_named(here: Path) -> None:
    write(here, timeout=NO_TIME)
    done = doctor()
    assert done.code == 0
    assert re.search(r"^memory of embedded +warning +2 .*stage `recall` of `mia`$", done.out, re.MULTILINE)
    assert re.search(
        r"^warning: the memory engine `embedded` takes [\d.]+ ms \(p50\): most turns would go without "
        r"stage `recall` of `mia` \(waits 0.001 ms\)\nhint: raise the stage's `timeout` over [\d.]+ ms",
        done.err,
        re.MULTILINE,
    )


def test_it_is_an_error_where_turns_would_fail(here: Path) -> None:
    write(here, timeout=NO_TIME, on_error="fail")
    done = doctor()
    assert done.code == 1
    assert re.search(r"^error: .*: most turns would fail in stage `recall` of `mia`", done.err, re.MULTILINE)


def test_an_engine_that_fails_is_told_with_its_reason(here: Path, sqlite_url: str) -> None:
    (here / "cozy.toml").write_text(f'[database]\nurl = "{sqlite_url}"\n')
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DROP TABLE memories")
    done = doctor()
    assert done.code == 0
    assert re.search(
        r"^memory of embedded +warning +2 +– +– +2 ENGINE_UNAVAILABLE +400 ms", done.out, re.MULTILINE
    )
    assert (
        "warning: the memory engine `embedded` failed 2 of 2 times (ENGINE_UNAVAILABLE): memory: " in done.err
    )
    assert "most turns would go without stage `memory` of `careful_writer` (waits 400 ms)" in done.err


class Mem0(BaseHTTPRequestHandler):
    """A server for memories that takes its time and has none; without the right key it has only words."""

    delay_s: ClassVar[float] = 0.03

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(self.delay_s)
        allowed = self.headers["x-api-key"] == "right"
        body = b'{"results": []}' if allowed else b'{"detail": "no such key in 10.0.0.7"}'
        self.send_response(200 if allowed else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the terminal is the command's."""


@pytest.fixture
def mem0(here: Path) -> Iterator[None]:
    """A running one, which the project's memory is kept in."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Mem0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        (here / "cozy.toml").write_text(
            f'[engines.notes]\nkind = "mem0"\nurl = "http://127.0.0.1:{server.server_port}"\n'
            'api_key_env = "NOTES_KEY"\n[context]\nmemory = "notes"\n'
        )
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_an_engine_outside_is_asked_over_the_network(
    here: Path, mem0: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, timeout="10ms")
    monkeypatch.setenv("NOTES_KEY", "right")
    done = doctor()
    assert done.code == 0
    row = r"^memory of notes +warning +2 +(\d+) ms +(\d+) ms +0 +10 ms +stage `recall` of `mia`$"
    found = re.search(row, done.out, re.MULTILINE)
    assert found
    assert 30 <= int(found[1]) <= int(found[2])
    assert "(p50): most turns would go without stage `recall` of `mia` (waits 10 ms)\n" in done.err


def test_an_engine_that_refuses_the_key_is_told_of_without_the_key(
    here: Path, mem0: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, on_error="fail")
    monkeypatch.setenv("NOTES_KEY", "hunter2")
    done = doctor()
    assert done.code == 1
    assert re.search(r"^memory of notes +error +2 +– +– +2 ENGINE_AUTH ", done.out, re.MULTILINE)
    assert "failed 2 of 2 times (ENGINE_AUTH): notes: " in done.err
    assert "hint: look at the key or the account that `[engines.notes]` names" in done.err
    assert "hunter2" not in done.out + done.err


async def test_a_slow_engine_warns_whom_it_is_too_slow_for_and_nobody_else() -> None:
    slow = ScriptedKnowledge({"delay_ms": 30})
    engines: Any = (slow, ScriptedProfiles(), ScriptedMemories())
    context = EngineContext.of(*engines)
    [found] = await appraise(context, [Use("knowledge", "embedded", (QUICK, PATIENT))], 3)
    [(is_problem, words)] = judged(found)
    assert not is_problem
    assert "(p50): most turns would go without stage `recall` of `mia` (waits 10 ms)\n" in words
    assert "小美" not in words
    assert state_of(found) == "warning"


MEMORY = Use("memory", "mem0", (QUICK, PATIENT))
WITHOUT = "would go without stage `recall` of `mia` (waits 10 ms)"
FAIL = "would fail in stage `回忆` of `小美` (waits 2.0 s)"
STAGE, CONTEXT = "raise the stage's `timeout`", "raise `context.timeout_s`"
BOTH = "raise the stage's `timeout` and `context.timeout_s`"
WHY = "or see why it is slow"
BUSY = "failed {} times (ENGINE_RATE_LIMITED): mem0: busy"
SERVER = "look at its server and `[engines.mem0]`"


@pytest.mark.parametrize(
    ("seconds", "errors", "told"),
    [
        pytest.param((0.001, 0.01), 0, [], id="quick enough"),
        pytest.param(
            (0.001, 0.001, 0.02),
            0,
            [(False, f"takes 20 ms (p95): some turns {WITHOUT}\nhint: {STAGE} over 20 ms, {WHY}")],
            id="late now and then",
        ),
        pytest.param(
            (2.5, 2.5, 3.0),
            0,
            [
                (False, f"takes 2.5 s (p50): most turns {WITHOUT}\nhint: {BOTH} over 3.0 s, {WHY}"),
                (True, f"takes 2.5 s (p50): most turns {FAIL}\nhint: {CONTEXT} over 3.0 s, {WHY}"),
            ],
            id="later than anybody waits",
        ),
        pytest.param(
            (0.001, 0.002, 0.003),
            1,
            [
                (False, f"{BUSY.format('1 of 4')}: some turns {WITHOUT}\nhint: {SERVER}"),
                (False, f"{BUSY.format('1 of 4')}: some turns {FAIL}\nhint: {SERVER}"),
            ],
            id="failing now and then",
        ),
        pytest.param(
            (),
            3,
            [
                (False, f"{BUSY.format('3 of 3')}: most turns {WITHOUT}\nhint: {SERVER}"),
                (True, f"{BUSY.format('3 of 3')}: most turns {FAIL}\nhint: {SERVER}"),
            ],
            id="failing always",
        ),
    ],
)
def test_what_is_said_of_an_engine(
    seconds: tuple[float, ...], errors: int, told: list[tuple[bool, str]]
) -> None:
    codes = {"ENGINE_RATE_LIMITED": errors} if errors else {}
    found = Appraisal(MEMORY, len(seconds) + errors, seconds, codes, "mem0: busy.")
    assert list(judged(found, 2.0)) == [(bad, f"the memory engine `mem0` {words}") for bad, words in told]


def test_many_stages_are_not_all_named() -> None:
    waits = tuple(Wait(f"p{n}", "recall", 0.01, "stage", can_do_without=True) for n in range(7))
    found = Appraisal(Use("memory", "mem0", waits), 1, (0.5,), {}, "")
    [(_, words)] = judged(found)
    assert "stage `recall` of `p3` (waits 10 ms) and 3 more\n" in words


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("ENGINE_AUTH", "the key or the account that `[engines.mem0]` names"),
        ("ENGINE_INIT", "`[engines.mem0]`, and at the key or the account that it names"),
        ("ENGINE_UNAVAILABLE", "its server and `[engines.mem0]`"),
    ],
)
def test_where_the_cause_is_to_be_looked_for(code: str, place: str) -> None:
    [(_, words)] = judged(Appraisal(Use("memory", "mem0", ()), 1, (), {code: 1}, "mem0: no"))
    assert words.endswith(f"\nhint: look at {place}")


def test_an_engine_that_nobody_asks_is_told_of_when_it_fails() -> None:
    found = Appraisal(Use("memory", "mem0", ()), 1, (), {"ENGINE_AUTH": 1}, "mem0: no such key")
    assert engine_row(found)[-2:] == ("–", "no stage asks it")
    [(is_problem, words)] = judged(found)
    assert not is_problem
    assert words.startswith("the memory engine `mem0` failed 1 of 1 times (ENGINE_AUTH): mem0: no such key\n")
