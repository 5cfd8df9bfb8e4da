"""`cozy serve` as one process: how it starts, what it refuses, how it stops."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import anyio.to_thread
import pytest
from sqlalchemy import select

from cozy.storage.database import open_database
from cozy.storage.tables import messages
from tests.cli.projects import key_of, project
from tests.cli.serving import Stream, get, running, until
from tests.cli.terminal import cozy
from tests.interfaces.http import raw
from tests.upstream import Answer, Hold, chunk, sse, upstream

TINY = ["-m", "tests.cli.tiny_server"]
SERVE = ["-m", "cozy", "serve", "--port", "0"]
TALKS = 4


# -- the server itself -------------------------------------------------------------------------------------


def test_a_running_stream_is_heard_to_its_end_and_nobody_new_is_let_in(tmp_path: Path) -> None:
    with running(TINY, tmp_path) as server:
        port = server.port
        stream = Stream(port, "/stream?s=1")
        stream.read_until("word")
        server.tell(signal.SIGTERM)
        server.said("stopping when answers under way have ended")
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is not None)
        assert "end of" in stream.rest()
        assert server.end() == 0


def test_an_idle_connection_does_not_hold_the_stop_up(tmp_path: Path) -> None:
    with (
        running(TINY, tmp_path, GRACE_S="600") as server,
        socket.create_connection(("127.0.0.1", server.port)) as idle,
    ):
        idle.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in idle.recv(1000)
        server.tell(signal.SIGINT)
        assert server.end() == 0


def test_what_outlives_the_grace_has_time_for_last_words_and_is_cut_off(tmp_path: Path) -> None:
    with running(TINY, tmp_path, GRACE_S="0") as server:
        stream, ending = Stream(server.port, "/stream?s=600"), Stream(server.port, "/stream?s=0.8")
        stream.read_until("word")
        ending.read_until("word")
        server.tell(signal.SIGTERM)
        assert "end of" in ending.rest()
        assert server.end() == 0
        assert "end of" not in stream.rest()
        assert not [line for line in server.err if " error " in line]


def test_a_second_signal_stops_it_at_once(tmp_path: Path) -> None:
    with running(TINY, tmp_path, GRACE_S="600") as server:
        stream = Stream(server.port, "/stream?s=600")
        stream.read_until("word")
        server.tell(signal.SIGTERM)
        server.said("stopping when answers")
        server.tell(signal.SIGINT)
        assert server.end() == 128 + signal.SIGINT
        assert "end of" not in stream.rest()


def test_its_answers_do_not_tell_what_serves_them(tmp_path: Path) -> None:
    with running(TINY, tmp_path) as server:
        head = get(server.port, "/").partition("\r\n\r\n")[0].lower()
        assert "hypercorn" not in head
        assert "server:" not in head


# -- `cozy serve` ------------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_before_it_listens(tmp_path: Path) -> None:
    (tmp_path / "personalities").mkdir()
    (tmp_path / "personalities" / "mia.yaml").write_text("id: mia\nname: Mia\npipeline: standrad\n")
    told = cozy(
        tmp_path,
        "serve",
        "--port",
        "0",
        COZY_DATABASE_URL="postgresql://ada:hunter2@127.0.0.1:1/cozy",
        COZY_JWT_KEYS="one=short-secret-hunter3",
        COZY_REDIS_URL="redis://:hunter4@127.0.0.1:1/0",
    )
    assert told.code == 1
    assert "personalities have errors" in told.err
    assert "did you mean `standard`?" in told.err
    assert "the database is away" in told.err
    assert "COZY_JWT_KEYS" in told.err
    assert "warning: redis does not answer" in told.err
    assert "hunter" not in told.err + told.out
    assert "listening" not in told.err


def test_a_first_start_shows_a_key_once_and_logs_it_never(tmp_path: Path) -> None:
    with running([*SERVE, "--log-format", "json"], tmp_path) as server:
        port = server.port
        key = server.said("export OPENAI_API_KEY=").strip().partition("=")[2]
        server.said(f"http://127.0.0.1:{port}/v1")
        assert '"status":"ok"' in get(port, "/health/live").replace(" ", "")
        server.tell(signal.SIGTERM)
        assert server.end() == 0
        assert all(key not in line for line in server.out)
        assert all(json.loads(line)["level"] for line in server.out)
    with running(SERVE, tmp_path) as again:
        assert again.port
        assert "OPENAI_API_KEY" not in "".join(again.err)


def test_several_workers_answer_stop_and_follow_a_reload_that_one_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "personalities").mkdir()
    mia = tmp_path / "personalities" / "mia.yaml"
    with running([*SERVE, "--workers", "2", "--log-format", "json"], tmp_path) as server:
        port = server.port
        key = server.said("export OPENAI_API_KEY=").strip().partition("=")[2]

        def reload() -> str:
            return Stream(port, "/v1/personalities/reload", method="POST", key=key).rest()

        def conditions() -> set[str]:
            # several connections, so that each worker answers some
            told = [get(port, "/health").rpartition("\r\n\r\n")[2] for _ in range(12)]
            return {
                next(d["status"] for d in body["dependencies"] if d["name"] == "personalities")
                for body in (json.loads(text[text.index("{") : text.rindex("}") + 1]) for text in told)
            }

        mia.write_text("id: mia\nname: Mia\npipeline: standrad\n")
        assert "did you mean `standard`?" in reload()
        until(lambda: conditions() == {"degraded"})
        assert '"default"' in Stream(port, "/v1/models", key=key).rest(), "the last good ones are in use"
        mia.write_text("id: mia\nname: Mia\nprompt: You are Mia.\npipeline: standard\n")
        reload()
        until(lambda: conditions() == {"ok"})
        # where one worker has answered all of it, the other one may be a moment behind
        until(lambda: all('"mia"' in Stream(port, "/v1/models", key=key).rest() for _ in range(8)))
        server.tell(signal.SIGTERM)
        assert server.end() == 0
        assert "".join(server.err).count("export OPENAI_API_KEY=") == 1
        told = [json.loads(line) for line in server.out]
    found = [
        line["diagnostics"] for line in told if line["logger"] == "cozy.reload" and "diagnostics" in line
    ]
    assert found, "of two workers one may have slept through the broken file"
    for [diagnostic] in found:
        assert (diagnostic["file"], diagnostic["line"]) == ("personalities/mia.yaml", 3)
        assert "`standrad`" in diagnostic["message"]
    assert not any(key in line for line in server.out)


def test_a_turn_under_way_is_heard_to_its_end_when_the_server_is_told_to_stop(tmp_path: Path) -> None:
    with running([*SERVE, "--log-format", "text"], tmp_path) as server:
        port = server.port
        key = server.said("export OPENAI_API_KEY=").strip().partition("=")[2]
        body = json.dumps(
            {
                "model": "default",
                "stream": True,
                "messages": [{"role": "user", "content": "tell me a long story about whiskerina"}],
            }
        )
        stream = Stream(port, "/v1/chat/completions", method="POST", key=key, body=body)
        stream.read_until("data: ")
        server.tell(signal.SIGTERM)
        assert "data: [DONE]" in stream.rest()
        assert server.end() == 0
    told = [line for line in server.err if line[:2].isdigit()]  # the log's lines begin with a time
    assert told
    assert not any("whiskerina" in line.lower() or key in line for line in told)


async def test_turns_that_outlive_the_grace_are_told_so_and_what_was_said_is_kept(
    tmp_path: Path, sqlite_url: str
) -> None:
    key = await key_of(sqlite_url)
    said = {"model": "mia", "messages": [{"role": "user", "content": "tea?"}], "cozy": {"session_id": "new"}}
    async with upstream(default=Answer((sse(chunk("Hi")), Hold()))) as model, AsyncExitStack() as stack:
        project(tmp_path, model.base_url, sqlite_url, server="grace_s = 0.3\n")
        server = stack.enter_context(running(SERVE, tmp_path))
        port = await anyio.to_thread.run_sync(lambda: server.port)
        streamed, whole = [await stack.enter_async_context(raw.wire_to(port)) for _ in range(2)]
        await whole.send(raw.request("POST", raw.CHAT, key, said))
        await streamed.send(raw.request("POST", raw.CHAT, key, {**said, "stream": True}))
        await streamed.head()
        while b'"Hi"' not in await streamed.piece():
            pass
        while len(model.requests) < 2:
            await anyio.sleep(0.01)
        server.tell(signal.SIGTERM)
        error = json.loads((await streamed.piece()).removeprefix(b"data: "))["error"]
        status, head = await whole.head()
        assert await anyio.to_thread.run_sync(server.end) == 0
    assert error["code"] == "RATE_LIMIT_OVERLOADED"
    assert error["message"].startswith("the server is being stopped")
    assert (status, "retry-after" in head) == (503, True)
    assert not [line for line in server.err if " error " in line]
    assert await kept(sqlite_url) == sorted(
        [("user", "interrupted", "tea?"), ("assistant", "interrupted", "Hi")] * 2
    )


async def kept(url: str) -> list[tuple[str, str, str]]:
    """Every message: whose, how its turn ended, its text."""
    statement = select(messages.c.role, messages.c.status, messages.c.content)
    async with open_database(url) as database:
        rows = await database.read(lambda connection: connection.execute(statement).all())
    return sorted(tuple(row) for row in rows)


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """The database that another fixture gives."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("workers", "url"),
    [("1", "sqlite_url"), ("2", "postgres_url")],
    indirect=["url"],
    ids=["one process, SQLite", "two workers, PostgreSQL"],
)
async def test_a_second_signal_cuts_turns_off_and_what_was_said_is_kept(
    tmp_path: Path, url: str, workers: str
) -> None:
    key = await key_of(url)
    body = {"model": "mia", "messages": [{"role": "user", "content": "tea?"}], "stream": True}
    sent = raw.request("POST", raw.CHAT, key, {**body, "cozy": {"session_id": "new"}})
    async with upstream(default=Answer((sse(chunk("Hi")), Hold()))) as model, AsyncExitStack() as stack:
        project(tmp_path, model.base_url, url)
        server = stack.enter_context(running([*SERVE, "--workers", workers], tmp_path))
        port = await anyio.to_thread.run_sync(lambda: server.port)
        for _ in range(TALKS):
            talk = await stack.enter_async_context(raw.wire_to(port))
            await talk.send(sent)
            await talk.head()
            while b'"Hi"' not in await talk.piece():
                pass
        server.tell(signal.SIGTERM)
        await anyio.to_thread.run_sync(server.said, "stopping when answers")
        server.tell(signal.SIGTERM)
        assert await anyio.to_thread.run_sync(server.end) == 128 + signal.SIGTERM
    assert await kept(url) == sorted(
        [("user", "interrupted", "tea?"), ("assistant", "interrupted", "Hi")] * TALKS
    )
