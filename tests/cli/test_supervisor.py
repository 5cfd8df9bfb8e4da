"""Several processes at one socket: replaced when they die, started anew one by one, stopped without loss."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.serving import PATIENCE_S, Running, Stream, get, running, until

TINY = ["-m", "tests.cli.tiny_server"]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Running]:
    with running(TINY, tmp_path, WORKERS="2") as server:
        yield server


def pid(port: int) -> int:
    found = re.search(r"end of (\d+)", get(port, "/"))
    assert found
    return int(found[1])


def pids(port: int, count: int) -> set[int]:
    """So many different processes that answer."""
    found: set[int] = set()

    def enough() -> bool:
        found.add(pid(port))
        return len(found) >= count

    until(enough)
    return found


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_both_answer_and_a_running_stream_is_heard_to_its_end(two: Running) -> None:
    port = two.port
    pids(port, 2)
    streams = [Stream(port, "/stream?s=1.5") for _ in range(4)]
    for stream in streams:
        stream.read_until("word")
    two.tell(signal.SIGTERM)
    two.tell(signal.SIGHUP)  # changes nothing any more
    until(lambda: refused(port))
    assert all("end of" in text for text in [stream.rest() for stream in streams])
    assert two.end() == 0


def test_a_child_that_is_killed_is_replaced(two: Running) -> None:
    port = two.port
    before = pids(port, 2)
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    two.said("a child died")
    after = pids(port, 2)
    assert victim not in after
    assert before < after, "the other one stayed"
    assert "end of" not in get(port, "/die")
    pids(port, 2)
    two.tell(signal.SIGINT)
    assert two.end() == 0


def test_starting_anew_loses_no_stream_and_no_request(two: Running) -> None:
    port = two.port
    before = pids(port, 2)
    streams = [Stream(port, "/stream?s=2") for _ in range(4)]
    for stream in streams:
        stream.read_until("word")
    two.tell(signal.SIGHUP)
    new: set[int] = set()
    while len(new) < 2:
        answering = pid(port)  # every request is answered, by old or new
        new |= {answering} - before
    assert all("end of" in text for text in [stream.rest() for stream in streams])
    two.said("every child is new")
    assert not any(alive(process) for process in before)
    assert pids(port, 2) == new
    two.tell(signal.SIGTERM)
    assert two.end() == 0


def test_a_second_signal_ends_it_at_once_and_in_order(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with running(TINY, tmp_path, WORKERS="2", GRACE_S="600", LEFT=str(left)) as server:
        stream = Stream(server.port, "/stream?s=600")
        stream.read_until("word")
        children = pids(server.port, 2)
        server.tell(signal.SIGTERM)
        server.said("stopping when answers")
        server.tell(signal.SIGTERM)
        assert server.end() == 128 + signal.SIGTERM
        assert "end of" not in stream.rest()
        assert left.read_text() == "kept", "it was cut off, not killed"
        assert not any(alive(child) for child in children)


@pytest.mark.parametrize("signals", [2, 3], ids=["after a while", "by a third signal"])
def test_a_child_that_does_not_hear_that_it_is_to_stop_is_killed(tmp_path: Path, signals: int) -> None:
    with running(TINY, tmp_path, WORKERS="2", HASTE_S="0.5" if signals == 2 else "60") as server:
        stream = Stream(server.port, "/block")
        stream.read_until("word")
        for words in ("stopping when answers", "stopping at once", "killing")[:signals]:
            server.tell(signal.SIGTERM)
            server.said(words)
        assert server.end() == 128 + signal.SIGTERM
        assert "end of" not in stream.rest()


def test_a_second_signal_reaches_children_that_are_still_starting(tmp_path: Path) -> None:
    with running(TINY, tmp_path, WORKERS="2", SLOW_START_S="1") as server:
        until(lambda: len(children_of(server.process.pid)) == 2)
        server.tell(signal.SIGTERM)
        server.said("stopping when answers")
        server.tell(signal.SIGTERM)
        assert server.end() == 128 + signal.SIGTERM


def test_what_outlives_the_grace_is_cut_off_and_the_stop_is_still_clean(tmp_path: Path) -> None:
    with running(TINY, tmp_path, WORKERS="2", GRACE_S="0.3") as server:
        stream = Stream(server.port, "/stream?s=600")
        stream.read_until("word")
        server.tell(signal.SIGTERM)
        assert server.end() == 0
        assert "end of" not in stream.rest()


def test_a_signal_to_the_whole_group_is_one_signal(two: Running) -> None:
    # as systemd does: the supervisor and every child get it; the children twice, as it is the supervisor who
    # tells them to stop at once
    stream = Stream(two.port, "/stream?s=1")
    stream.read_until("word")
    for process in pids(two.port, 2):
        for _ in range(2):
            os.kill(process, signal.SIGTERM)
            time.sleep(0.1)  # two that come at once are one
    two.tell(signal.SIGTERM)
    assert "end of" in stream.rest()
    assert two.end() == 0


def test_children_end_when_their_supervisor_is_gone(two: Running) -> None:
    port = two.port
    children = pids(port, 2)
    stream = Stream(port, "/stream?s=1")
    stream.read_until("word")
    two.process.kill()
    assert "end of" in stream.rest(), "what is under way ends first"
    until(lambda: not any(alive(child) for child in children))
    until(lambda: refused(port))


def test_children_that_die_at_their_start_are_given_up(tmp_path: Path) -> None:
    with running(TINY, tmp_path, WORKERS="2", DIES_AT_START=str(tmp_path), QUICK_S="60") as server:
        assert server.end() == 1
        assert "giving up" in server.said("giving up")
        assert "exit_code=7" in server.said("giving up")


def test_one_that_cannot_be_replaced_leaves_the_others_at_work(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with running(TINY, tmp_path, WORKERS="2", DIES_AT_START=str(broken), QUICK_S="60") as server:
        victim, *others = pids(server.port, 2)
        broken.touch()
        os.kill(victim, signal.SIGKILL)
        server.said("attempts=6")
        assert pids(server.port, 1) == set(others)
        broken.unlink()
        assert pids(server.port, 2) > set(others)
        server.tell(signal.SIGTERM)
        assert server.end() == 0


def test_a_new_child_that_does_not_start_leaves_the_old_ones(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with running(TINY, tmp_path, WORKERS="2", DIES_AT_START=str(broken)) as server:
        before = pids(server.port, 2)
        broken.touch()
        server.tell(signal.SIGHUP)
        server.said("the old ones stay")
        assert pids(server.port, 2) == before
        broken.unlink()
        server.tell(signal.SIGHUP)
        server.said("every child is new")
        assert not pids(server.port, 2) & before


def test_it_can_be_stopped_while_children_start(tmp_path: Path) -> None:
    with running(TINY, tmp_path, WORKERS="2", SLOW_START_S="1") as server:
        until(lambda: server.process.poll() is None and len(children_of(server.process.pid)) == 2)
        server.tell(signal.SIGTERM)
        assert server.end() == 0, "".join(server.err)


def children_of(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(number) for number in listed.split()]
