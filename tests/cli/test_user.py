"""`cozy user`: who may come in."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path
from select import select
from uuid import UUID

import pytest

from tests.cli.terminal import called, environment


def audited(here: Path) -> list[tuple[str, dict[str, object]]]:
    with sqlite3.connect(here / "data" / "cozy.db") as connection:
        rows = connection.execute(
            "SELECT event_type, payload FROM audit_events ORDER BY created_at"
        ).fetchall()
    connection.close()
    return [(what, json.loads(payload)) for what, payload in rows]


def kept_hash(here: Path, name: str) -> str:
    with sqlite3.connect(here / "data" / "cozy.db") as connection:
        (found,) = connection.execute("SELECT password_hash FROM users WHERE username = ?", [name]).fetchone()
    connection.close()
    return found


def test_the_life_of_a_user(here: Path) -> None:
    nobody = called("user", "list")
    assert (nobody.code, nobody.out) == (0, "")
    assert "cozy user create" in nobody.err

    made = called(
        "user", "create", "Ann", "--email", "Ann@example.com", "--password-stdin", says="secret 1\n"
    )
    assert (made.code, made.err) == (0, "made `ann`\n")
    ann = str(UUID(made.out.strip()))
    assert kept_hash(here, "ann").startswith("$argon2id$")
    called("user", "create", "小明", "--no-password", "--role", "admin")

    listed = called("user", "list").out.splitlines()
    assert [line.split()[:3] for line in listed[1:]] == [
        ["ann", "user", "ann@example.com"],
        ["小明", "admin", "-"],
    ]
    assert [u["username"] for u in json.loads(called("user", "list", "--json").out)] == ["ann", "小明"]
    for name in ("ANN", "ann@example.com", ann):
        assert json.loads(called("user", "show", name, "--json").out)["id"] == ann
    shown = called("user", "show", "ann").out
    assert "ann@example.com" in shown
    assert "argon2" not in shown

    before = kept_hash(here, "ann")
    assert (
        called("user", "password", "ann", "--password-stdin", says="secret 2").err
        == "`ann` has a new password\n"
    )
    assert kept_hash(here, "ann") != before
    assert called("user", "role", "ann", "admin").err == "`ann` has the role `admin`\n"
    assert called("user", "disable", "ann").err == "`ann` is closed\n"
    assert "admin, closed" in called("user", "list").out
    assert called("user", "enable", "ann").err == "`ann` is open\n"
    assert called("user", "second-factor", "ann").out == "no\n"
    assert called("user", "second-factor", "ann", "--reset").err == "`ann` has no second factor\n"

    events = audited(here)
    assert [what for what, _ in events] == [
        "user.created",
        "user.created",
        "user.password_changed",
        "user.role_changed",
        "user.disabled",
        "user.enabled",
        "user.second_factor_reset",
    ]
    assert events[3][1] == {"by": "command line", "terminal_user": "ada", "user": ann, "role": "admin"}
    assert "secret" not in repr(events)


@pytest.mark.parametrize(
    ("arguments", "says", "told"),
    [
        (["create", "ann", "--no-password"], "", "the user name `ann` is taken"),
        (["create", "bob", "--no-password", "--email", "ann@example.com"], "", "the e-mail address is taken"),
        (["create", "x", "--no-password"], "", "a user name has 3 to 50 characters"),
        (["create", "bob", "--no-password", "--email", "x"], "", "this is no e-mail address"),
        (["create", "bob", "--password-stdin"], "short", "a password has 6 to 1000 characters"),
        (["password", "ann", "--password-stdin"], "", "a password has 6 to 1000 characters"),
        (["show", "nobody"], "", "no user `nobody`"),
        (["disable", "ann"], "", "this is the last active admin"),
        (["role", "ann", "user"], "", "this is the last active admin"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_told(here: Path, arguments: list[str], says: str, told: str) -> None:
    called("user", "create", "ann", "--no-password", "--role", "admin", "--email", "ann@example.com")
    done = called("user", *arguments, says=says)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {told}")
    assert len(json.loads(called("user", "list", "--json").out)) == 1
    assert len(audited(here)) == 1


@pytest.mark.parametrize(
    ("arguments", "says", "told"),
    [
        (["create", "ann"], "", "say --password-stdin"),
        (["create", "ann", "--no-password", "--password-stdin"], "", "not both"),
        (["create", "ann", "--password-stdin"], "x" * 20_000, "more than a password"),
        (["create", "ann", "--role", "root"], "", "'root'"),
    ],
)
def test_what_was_said_wrongly_is_told(here: Path, arguments: list[str], says: str, told: str) -> None:
    done = called("user", *arguments, says=says)
    assert done.code == 2
    assert told in done.err


def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(here: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cozy", "user", "create", "ann"],
        cwd=here,
        env=environment(here.parent),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    answers = [b"secret one\n", b"secret one\n"]
    while select([ours], [], [], 180)[0]:
        try:
            piece = os.read(ours, 1024)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        seen += piece
        # what is typed before the space is thrown away: the terminal is told only then to show nothing
        if answers and seen.endswith(b": "):
            os.write(ours, answers.pop(0))
    out, _ = process.communicate(timeout=180)
    os.close(ours)
    assert process.returncode == 0, seen
    UUID(out.decode().strip())
    assert b"secret" not in seen
    assert kept_hash(here, "ann").startswith("$argon2id$")


def test_a_user_is_erased_and_what_is_left_is_told_until_it_is_gone(here: Path) -> None:
    called("user", "create", "ann", "--no-password")
    assert "never been erased" in called("user", "erase", "ann", "--status").err
    called("memory", "list", "--user", "ann")
    asked = called("user", "erase", "ann", says="n\n")
    assert (asked.code, asked.out) == (1, "")
    assert "erase all that is kept of what `ann` said?" in asked.err
    assert json.loads(called("user", "show", "ann", "--json").out)["erased_at"] is None

    done = called("user", "erase", "ann", says="y\n")
    assert done.code == 0
    assert "erased what was kept of `ann`: nothing was" in done.err
    assert "not erased yet" in done.err
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["memory/embedded", "profile/embedded"]
    shown = json.loads(called("user", "show", "ann", "--json").out)
    assert shown["erased_at"]
    assert shown["not_erased_yet"] == ["memory/embedded", "profile/embedded"]

    with sqlite3.connect(here / "data" / "cozy.db") as connection:
        connection.execute("UPDATE outbox SET last_error = 'EngineUnavailable: is away'")
    connection.close()
    assert called("user", "erase", "ann", "--status").out.count("EngineUnavailable: is away") == 2

    called("chat", "--once", "hello", "--user", "bob")  # whoever runs does what waits
    told = called("user", "erase", "ann", "--status")
    assert (told.out, told.err) == ("", "every engine has forgotten `ann`\n")
    assert json.loads(called("user", "erase", "ann", "--status", "--json").out)["waiting"] == []

    what, payload = audited(here)[-1]
    assert (what, payload["by"], payload["user"]) == ("user.erased", "command line", shown["id"])
    assert payload["removed"] == dict.fromkeys(payload["removed"], 0)  # type: ignore[call-overload]
    assert called("user", "erase", "nobody", "--yes").err.startswith("error: no user `nobody`")
