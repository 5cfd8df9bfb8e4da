"""`cozy outbox`: jobs that turns have left."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid5

import pytest

from cozy.cli import main
from cozy.storage.schema import utc_now
from tests.cli.terminal import called
from tests.cli.test_user import audited

SPACE = UUID(int=0)
SAID = "我叫小明"


@pytest.fixture
def project(here: Path) -> Path:
    """Ann and 小明, and jobs of theirs in every state."""
    for name in ("ann", "小明"):
        called("user", "create", name, "--no-password")
    with sqlite3.connect(here / "data" / "cozy.db") as connection:
        users = dict(connection.execute("SELECT username, id FROM users").fetchall())
        payload = {"turn_id": "t1", "model": "demo/demo", "session_id": None, "user": SAID, "assistant": "Hi"}
        for number, (user, target, state, kind, error) in enumerate(
            [
                ("ann", "memory/mine", "dead", "write", "EngineInvalidRequest: 不行"),
                ("ann", "profile/embedded", "queued", "write", "EngineUnavailable: away"),
                ("小明", "memory/embedded", "leased", "write", None),
                ("小明", "memory/embedded", "done", "write", None),
                ("小明", "memory/mine", "queued", "erase", None),
            ]
        ):
            created = (utc_now() - timedelta(hours=number)).replace(tzinfo=None).isoformat(" ")
            connection.execute(
                "INSERT INTO outbox (id, user_id, target, kind, payload, state, attempts, due_at, "
                "leased_until, last_error, created_at) VALUES (?, ?, ?, ?, ?, ?, 2, ?, ?, ?, ?)",
                [
                    job(number).replace("-", ""),
                    users[user],
                    target,
                    kind,
                    json.dumps(payload if state != "done" else {}),
                    state,
                    "2999-01-01 00:00:00.000000",
                    "2999-01-01 00:00:00.000000" if state == "leased" else None,
                    error,
                    created,
                ],
            )
    connection.close()
    return here


def job(number: int) -> str:
    return str(uuid5(SPACE, f"{number}"))


def listed(*arguments: str) -> list[str]:
    found = json.loads(called("outbox", "list", "--json", *arguments).out)
    return [one["id"] for one in found]


def states() -> dict[str, str]:
    every = [part for state in ("queued", "leased", "dead", "done") for part in ("--state", state)]
    return {one["id"]: one["state"] for one in json.loads(called("outbox", "list", "--json", *every).out)}


def test_jobs_are_listed_the_oldest_first(project: Path) -> None:
    done = called("outbox", "list")
    head, *lines = done.out.splitlines()
    assert head.split() == ["job", "state", "target", "user", "age", "attempts", "due", "last", "error"]
    assert [line.split()[0] for line in lines] == [job(number)[:8] for number in (0, 1, 2, 4)]
    assert "EngineInvalidRequest: 不行" in lines[0]
    assert "queued, erases" in lines[3]
    assert "4h" in lines[3]
    assert SAID not in done.out
    assert SAID not in called("outbox", "list", "--json").out


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--state", "dead"], [0]),
        (["--state", "dead", "--state", "done"], [0, 3]),
        (["--target", "memory"], [0, 2, 4]),
        (["--target", "memory/mine"], [0, 4]),
        (["--target", "mem"], []),
        (["--user", "小明"], [2, 4]),
        (["--user", "ann", "--target", "profile"], [1]),
        (["--limit", "2"], [0, 1]),
    ],
    ids=lambda value: " ".join(map(str, value)) or "none",
)
def test_what_is_listed_can_be_chosen(project: Path, arguments: list[str], numbers: list[int]) -> None:
    assert listed(*arguments) == [job(number) for number in numbers]


def test_more_than_fit_are_told(project: Path) -> None:
    assert called("outbox", "list", "--limit", "2").err == "there are more than 2; say --limit\n"


def test_a_job_is_shown_without_what_its_user_said_unless_it_is_asked_for(project: Path) -> None:
    shown = called("outbox", "show", job(0)[:8])
    assert shown.code == 0
    assert "EngineInvalidRequest: 不行" in shown.out
    assert "demo/demo" in shown.out
    assert "… (4 characters)" in shown.out
    assert SAID not in shown.out
    assert SAID in called("outbox", "show", job(0)[:8], "--content").out
    assert json.loads(called("outbox", "show", job(0).upper(), "--json").out)["username"] == "ann"
    payload = json.loads(called("outbox", "show", job(0), "--json", "--content").out)["payload"]
    assert (payload["user"], payload["session_id"]) == (SAID, None)


def test_jobs_are_done_again(project: Path) -> None:
    assert called("outbox", "retry", job(1)[:6], job(1)).err == "to be done now: 1\n"
    assert called("outbox", "retry", "--dead").err == "to be done now: 1\n"
    assert called("outbox", "retry", "--dead").err == "to be done now: 0\n"
    found = {one["id"]: one for one in json.loads(called("outbox", "list", "--json").out)}
    assert [(found[job(n)]["state"], found[job(n)]["attempts"]) for n in (0, 1)] == [("queued", 0)] * 2
    assert found[job(1)]["due_at"] < "2999"
    events = [event for event in audited(project) if event[0] == "outbox.retried"]
    assert [payload["count"] for _, payload in events] == ["1", "1"]


def test_jobs_are_dropped_when_it_was_asked(project: Path) -> None:
    refused = called("outbox", "drop", job(0), says="n\n")
    assert refused.code == 1
    assert "drop 1 (memory/mine of `ann`)?" in refused.err
    assert job(0) in states()
    assert called("outbox", "drop", job(0)[:8], job(1)[:8], "--yes").err == "dropped: 2\n"
    assert {job(0), job(1)}.isdisjoint(states())
    what, payload = audited(project)[-1]
    assert (what, payload["count"]) == ("outbox.dropped", "2")
    assert SAID not in repr(payload)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "0000"], "no job `0000`"),
        (["show", "abc"], "`abc` is too little of an id"),
        (["show", "%%%%%"], "no job `%%%%%`"),
        (["show", "--", "----"], "no job `----`"),
        (["show", "--", "a-b-c-"], "`a-b-c-` is too little of an id"),
        (["show", "x" * 5000], "no job `xxx"),
        (["retry", job(2)], f"job `{job(2)}` is being done"),
        (["retry", job(3)], f"job `{job(3)}` is done"),
        (["drop", job(2), "--yes"], f"job `{job(2)}` is being done"),
        (["drop", job(4), "--yes"], f"job `{job(4)}` erases what `小明` said from memory/mine"),
        (["drop", job(0), "0000", "--yes"], "no job `0000`"),
        (["list", "--user", "nobody"], "no user `nobody`"),
    ],
    ids=lambda value: " ".join(value)[:24] if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_told_and_nothing_is_done(
    project: Path, arguments: list[str], told: str
) -> None:
    before = states()
    done = called("outbox", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {told}")
    assert states() == before


def test_nothing_that_a_terminal_obeys_comes_out_of_a_job(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b[2J\x9b2J\u202e"
    with sqlite3.connect(project / "data" / "cozy.db") as connection:
        connection.execute("UPDATE outbox SET target = ?, last_error = ?", [f"memory/{hostile}", hostile])
    connection.close()
    for arguments in (["list"], ["show", job(0)], ["drop", job(0)]):
        done = called("outbox", *arguments, says="n\n")
        assert not {"\x9b", "\u202e"} & {*done.out, *done.err}
    monkeypatch.setattr("sys.argv", ["cozy", "outbox", "show", f"0000{hostile}"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "error: no job `0000[2J2J`\n"


def test_a_beginning_that_several_ids_have_is_told(project: Path) -> None:
    with sqlite3.connect(project / "data" / "cozy.db") as connection:
        twin = job(0)[:8] + "f" * 24
        connection.execute("UPDATE outbox SET id = ? WHERE id = ?", [twin, job(1).replace("-", "")])
    connection.close()
    done = called("outbox", "show", job(0)[:8])
    assert done.code == 1
    assert done.err.startswith(f"error: several jobs begin with `{job(0)[:8]}`")
    assert job(0) in done.err


@pytest.mark.parametrize(
    "arguments", [["retry"], ["retry", "--dead", "abcd"], ["drop"], ["list", "--state", "x"]]
)
def test_what_was_said_wrongly_is_told(here: Path, arguments: list[str]) -> None:
    assert called("outbox", *arguments).code == 2


def test_an_empty_outbox_says_so(here: Path) -> None:
    done = called("outbox", "list")
    assert (done.code, done.out, done.err) == (0, "", "no such jobs\n")


def test_to_look_at_a_prompt_or_at_the_installation_does_no_jobs_and_drops_none(project: Path) -> None:
    called("outbox", "retry", job(1))
    (project / "cozy.toml").write_text('[outbox]\nmax_jobs = 1\nmax_age_s = 1\non_full = "drop_oldest"\n')
    before = states()
    assert called("render", "default", "hi").code == 0
    assert called("doctor", "--times", "1").code == 0
    assert states() == before
