"""Several processes at one socket tell one set of figures, whoever is asked and whoever has died."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from cozy.cli.shared_metrics import FOLDER, open_shares
from cozy.errors import ConfigError
from tests.cli.serving import Running, Stream, get, running, until

SERVE = ["-m", "cozy", "serve", "--port", "0", "--log-format", "text"]
CHAT = "/v1/chat/completions"
UNLIMITED = "[limits]\nper_address = 0\nper_user = 0\nper_key = 0\n"
TALK = """\
stages:
  prompt:
    type: render_prompt
  answer:
    type: llm
"""

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(port: int) -> Figures:
    """A scrape over a connection of its own: whichever process takes it answers."""
    text = get(port, "/metrics").partition("\r\n\r\n")[2]
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "each figure is told once"
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def figure(told: Figures, name: str, **labels: str) -> float:
    return told.get((name, frozenset(labels.items())), 0.0)


@dataclass(frozen=True)
class House:
    """A server of two processes whose figures lie in `folder`."""

    server: Running
    folder: Path
    key: str

    @property
    def port(self) -> int:
        return self.server.port

    def say(self, to: str) -> Stream:
        body = json.dumps({"model": to, "messages": [{"role": "user", "content": "hi"}]})
        return Stream(self.port, CHAT, method="POST", key=self.key, body=body)

    def tokens(self) -> int:
        """Have a turn; gives what its answer cost."""
        text = self.say("mia").rest()
        return json.loads(text[text.index("{") : text.rindex("}") + 1])["usage"]["total_tokens"]

    def files(self, pattern: str = "*.db") -> set[str]:
        return {file.name for file in self.folder.glob(f"cozy-metrics-*/{pattern}")}

    def turns_of_each(self) -> list[float]:
        """What each process has counted for itself."""
        return [
            sum(value for key, value, *_ in _entries(file) if '"cozy_turns_total"' in key)
            for file in sorted(self.folder.glob("cozy-metrics-*/counter_*.db"))
        ]

    def talk(self, least: int = 3) -> list[int]:
        """Turns until each of two processes had some; gives what each cost."""
        cost: list[int] = []
        before = self.turns_of_each()

        def each_had_some() -> bool:
            cost.append(self.tokens())
            news = [now - then for now, then in zip(self.turns_of_each(), before, strict=True)]
            return sum(count >= least for count in news) >= 2

        until(each_had_some)
        return cost

    def children(self) -> list[int]:
        told = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.server.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line) for line in told.stdout.split()]


def _entries(file: Path) -> list[Any]:
    return list(MmapedDict.read_all_values_from_file(str(file)))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


@contextmanager
def two_processes(folder: Path) -> Iterator[House]:
    for kind in ("pipelines", "personalities", "shared"):
        (folder / kind).mkdir()
    (folder / "pipelines" / "talk.yaml").write_text(TALK, "utf-8")
    for name, model in (("mia", "demo/demo"), ("tom", "silent/fake")):
        text = f"id: {name}\nname: {name}\nprompt: Hi.\nmodel:\n  name: {model}\npipeline: talk\n"
        (folder / "personalities" / f"{name}.yaml").write_text(text, "utf-8")
    shared = folder / "shared"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (folder / "cozy.toml").write_text(f'{UNLIMITED}[providers.silent]\nbase_url = "{url}"\n', "utf-8")
        with running([*SERVE, "--workers", "2"], folder, **{FOLDER: str(shared)}) as server:
            key = server.said("export OPENAI_API_KEY=").strip().partition("=")[2]
            house = House(server, shared, key)
            assert house.port
            until(lambda: len(house.files("counter_*.db")) == 2)
            yield house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all tests: what it counts only grows, whatever is done to its processes."""
    with two_processes(tmp_path_factory.mktemp("house")) as house:
        yield house


def alone_in_flight(house: House) -> None:
    """A scrape counts itself; the one before may be under way in the other process after it was read."""
    until(lambda: figure(figures(house.port), "cozy_http_requests_in_flight") == 1)


def nothing_runs(house: House) -> None:
    until(lambda: figure(figures(house.port), "cozy_turns_running") == 0)


def finished(told: Figures) -> float:
    return figure(told, "cozy_turns_total", personality="mia", outcome="finished")


def test_every_scrape_tells_the_sum_of_all_processes(house: House) -> None:
    before, cost = figures(house.port), house.talk()
    request = {"method": "POST", "route": CHAT, "status": "200"}
    counted = figure(before, "cozy_http_requests_total", **request) + len(cost)
    # a request is counted when its answer has been sent, so maybe a moment after it was read
    until(lambda: figure(figures(house.port), "cozy_http_requests_total", **request) == counted)
    for _ in range(8):
        told = figures(house.port)

        def grown(name: str, **labels: str) -> float:
            return figure(told, name, **labels) - figure(before, name, **labels)  # noqa: B023

        assert grown("cozy_turns_total", personality="mia", outcome="finished") == len(cost)
        assert grown("cozy_http_requests_total", **request) == len(cost)
        kinds = [grown("cozy_tokens_total", model="demo/demo", kind=k) for k in ("prompt", "completion")]
        assert sum(kinds) == sum(cost)
        assert figure(told, "cozy_turns_running") == 0
        assert figure(told, "cozy_http_requests_in_flight") >= 1, "the scrape itself"
        assert figure(told, "cozy_connections_open") >= 1
        assert not any(name.endswith("_created") for name, _ in told)
        assert not any("pid" in dict(labels) for _, labels in told)
    alone_in_flight(house)


def test_histograms_stay_histograms(house: House) -> None:
    house.talk()
    told = figures(house.port)
    mine = {("personality", "mia")}
    buckets = sorted(
        (float(dict(labels)["le"]), value)
        for (name, labels), value in told.items()
        if name == "cozy_turn_seconds_bucket" and mine <= labels
    )
    assert len(buckets) == 12
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    count = figure(told, "cozy_turn_seconds_count", personality="mia")
    assert buckets[-1] == (float("inf"), count)
    assert count >= finished(told)
    assert 0 < figure(told, "cozy_turn_seconds_sum", personality="mia") < 60 * count


def test_a_file_that_a_process_has_only_just_made_does_not_stop_a_scrape(house: House) -> None:
    [folder] = house.folder.iterdir()
    (empty := folder / "counter_share9.db").touch()
    alone_in_flight(house)
    empty.unlink()


def test_a_child_that_is_killed_leaves_its_counters_and_takes_its_gauges_along(house: House) -> None:
    house.talk()
    before = finished(figures(house.port))
    waiting = [house.say("tom") for _ in range(12)]
    until(lambda: figure(figures(house.port), "cozy_turns_running") == len(waiting))
    victim, other = house.children()
    os.kill(victim, signal.SIGKILL)
    house.server.said("a child died")
    until(lambda: len(house.children()) == 2)
    more = house.talk()
    assert {finished(figures(house.port)) - before for _ in range(8)} == {len(more)}
    os.kill(other, signal.SIGKILL)
    until(lambda: len(house.children()) == 2 and other not in house.children())
    more += house.talk()
    assert {finished(figures(house.port)) - before for _ in range(8)} == {len(more)}
    nothing_runs(house)
    until(lambda: figure(figures(house.port), "cozy_connections_open") < len(waiting))
    assert all(stream.rest() == "" for stream in waiting), "their connections were cut"


def test_nothing_falls_over_a_rolling_restart(house: House) -> None:
    def restarts() -> int:
        return sum("every child is new" in line for line in house.server.err)

    house.talk()
    begun, old = restarts(), set(house.children())
    before = last = figures(house.port)
    house.server.tell(signal.SIGHUP)
    while restarts() == begun:
        told = figures(house.port)
        assert figure(told, "cozy_reload_success_timestamp_seconds") > time.time() - 600
        for (name, labels), value in last.items():
            if name.endswith(("_total", "_bucket", "_count", "_sum")):
                assert told.get((name, labels), -1) >= value, (name, labels)
        last = told
    until(lambda: len(house.children()) == 2)
    assert not old & set(house.children())
    more = house.talk()
    assert {finished(figures(house.port)) - finished(before) for _ in range(8)} == {len(more)}
    nothing_runs(house)
    # as many as there were processes at one time, and not more with each restart
    assert house.files("counter_*.db") <= {f"counter_share{n}.db" for n in range(3)}
    assert len(house.files("gauge_livesum_*.db")) == 2


def test_the_figures_lie_in_a_private_folder_that_is_gone_at_the_end(house: House) -> None:
    """The last of those who ask this server: it is stopped."""
    [folder] = house.folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    house.server.tell(signal.SIGTERM)
    assert house.server.end() == 0
    assert list(house.folder.iterdir()) == []


def test_a_single_process_keeps_its_figures_to_itself(tmp_path: Path) -> None:
    (shared := tmp_path / "shared").mkdir()
    with running(SERVE, tmp_path, **{FOLDER: str(shared)}) as server:
        told = figures(server.port)
        assert figure(told, "cozy_http_requests_in_flight") == 1
        assert not any(name.endswith("_created") for name, _ in told)
        assert list(shared.iterdir()) == []


# -- shares ------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def test_a_share_is_had_by_one_process_at_a_time(place: Path) -> None:
    with open_shares() as shares:
        assert [shares.take() for _ in range(3)] == ["share0", "share1", "share2"]
        shares.give_back("share1")
        assert [shares.take() for _ in range(2)] == ["share1", "share3"]


@pytest.mark.parametrize("name", ["plain", "with [brackets]"])
def test_of_a_share_that_is_given_back_only_what_was_going_on_is_forgotten(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / name).mkdir()
    monkeypatch.setenv(FOLDER, str(place / name))
    with open_shares() as shares:
        folder = Path(shares.environment[FOLDER])
        share = shares.take()
        for file in ("counter", "histogram", "gauge_livesum", "gauge_livemin", "gauge_livemostrecent"):
            (folder / f"{file}_{share}.db").touch()
        (folder / "gauge_livesum_share10.db").touch()
        shares.give_back(share)
        assert {file.name for file in folder.iterdir()} == {
            "counter_share0.db",
            "histogram_share0.db",
            "gauge_livesum_share10.db",
        }


def test_a_folder_that_takes_no_files_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "/no/such/folder")
    with pytest.raises(ConfigError, match="/no/such/folder") as caught, open_shares():
        pass
    assert FOLDER in str(caught.value.hint)
