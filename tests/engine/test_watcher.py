"""Personalities are read again when asked, when their files change, and when another process did."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from cozy.dsl.check import CheckResult, check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from cozy.engine.watcher import Reloader, Stamps, stamps
from cozy.errors import StorageError
from tests.clock import LoopClock

GOOD = """\
id: mia
name: Mia
prompt: You are Mia.
pipeline:
  stages:
    prompt:
      type: render_prompt
    answer:
      type: llm
"""
QUICK_S = 0.02
WORLD = World("demo/demo", frozenset({"demo"}), (), frozenset(), (), ())


class Counts:
    """Signals of one process and others."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.fails = False

    async def raise_(self, name: str) -> int:
        self.kept[name] = self.kept.get(name, 0) + 1
        return self.kept[name]

    async def counts(self) -> Mapping[str, int]:
        if self.fails:
            raise StorageError("the database is away")
        return dict(self.kept)


class Place:
    """A folder of personalities, and a process that reads them."""

    def __init__(self, folder: Path, signals: Counts) -> None:
        self.folder = folder
        self.read_count = 0
        self.bug: Exception | None = None
        self.reloader = Reloader(self.read, signals, [folder])

    async def read(self) -> CheckResult:
        self.read_count += 1
        if self.bug is not None:
            raise self.bug
        return await anyio.to_thread.run_sync(
            lambda: check(read_project(Sources(personalities=(self.folder,))), WORLD)
        )

    def write(self, text: str, name: str = "mia.yaml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def signals() -> Counts:
    return Counts()


@pytest.fixture
def place(tmp_path: Path, signals: Counts) -> Place:
    (tmp_path / "mia.yaml").write_text(GOOD, encoding="utf-8")
    return Place(tmp_path, signals)


@asynccontextmanager
async def following(place: Place, look_s: float = QUICK_S) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.reloader.follow_files, look_s)
        tasks.start_soon(place.reloader.follow_signals, QUICK_S)
        await anyio.sleep(QUICK_S)
        yield
        tasks.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not holds():
            await anyio.sleep(0.01)


async def test_asked_it_reads_and_tells_every_process(place: Place, signals: Counts) -> None:
    told = await place.reloader.reload()
    assert (told.errors, signals.kept) == (0, {"reload": 1})
    assert place.reloader.state.last is told


async def test_a_file_with_errors_is_told_with_its_places(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.write(GOOD.replace("name:", "nmae:"))
    told = await place.reloader.reload()
    assert told.errors == len(told.lines) > 0
    assert any("mia.yaml:2:1" in line and "[CZ" in line for line in told.lines)
    assert told.values()[0]["place"]["line"] >= 1
    record = next(r for r in caplog.records if r.name == "cozy.reload")
    assert record.problems == told.errors  # type: ignore[attr-defined]
    assert [d.place.line for d in record.diagnostics][:1] == [2]  # type: ignore[attr-defined]
    assert "nmae" not in record.getMessage()


async def test_a_file_that_changes_is_read_once_it_is_whole(
    place: Place, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []

    def counted(folders: Sequence[Path]) -> Stamps:
        looks.append(folders)
        return stamps(folders)

    monkeypatch.setattr("cozy.engine.watcher.stamps", counted)

    async def look() -> None:
        before = len(looks)
        while len(looks) == before:
            await loop_clock.pass_by(0.1)

    async with following(place, 2):
        loop_clock.stop()
        for text in (GOOD[:20], GOOD[:30], GOOD.replace("Mia", "Maia")):
            place.write(text)
            await look()
        await look()
        while place.read_count == 0:
            await loop_clock.pass_by(0)
        assert place.reloader.state.last.errors == 0
        for _ in range(3):
            await look()
        assert place.read_count == 1, "nothing has changed since"


@pytest.mark.parametrize("change", ["new", "gone", "moved over"])
async def test_files_that_come_and_go_are_noticed(place: Place, tmp_path: Path, change: str) -> None:
    async with following(place):
        if change == "new":
            place.write(GOOD.replace("mia", "bo"), "bo.yaml")
        elif change == "gone":
            (tmp_path / "mia.yaml").unlink()
        else:  # as editors write
            (tmp_path / "x.tmp").write_text(GOOD + "# more\n")
            (tmp_path / "x.tmp").rename(tmp_path / "mia.yaml")
        await until(lambda: place.read_count > 0)


async def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path, signals: Counts) -> None:
    place = Place(tmp_path / "later", signals)
    async with following(place):
        place.folder.mkdir()
        place.write(GOOD)
        await until(lambda: place.read_count > 0)


async def test_every_process_follows_the_one_that_was_asked(place: Place, signals: Counts) -> None:
    other = Place(place.folder, signals)
    async with following(place), following(other):
        await place.reloader.reload()
        await until(lambda: other.read_count == 1)
        await anyio.sleep(QUICK_S * 5)
        assert (place.read_count, other.read_count) == (1, 1), "nobody reads twice"


async def test_a_signal_from_before_the_start_means_nothing(place: Place, signals: Counts) -> None:
    signals.kept = {"reload": 7}
    async with following(place):
        await anyio.sleep(QUICK_S * 5)
        assert place.read_count == 0
        signals.kept = {"reload": 8}
        await until(lambda: place.read_count == 1)


async def test_a_signal_that_was_raised_while_a_process_started_is_followed(
    place: Place, signals: Counts
) -> None:
    before = stamps([place.folder])
    place.write(GOOD + "# changed after it was read\n")
    signals.kept = {"reload": 1}
    place.reloader = Reloader(place.read, signals, [place.folder], before)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.reloader.follow_signals, QUICK_S)
        await until(lambda: place.read_count == 1)
        await anyio.sleep(QUICK_S * 5)
        assert place.read_count == 1
        tasks.cancel_scope.cancel()


async def test_a_database_that_is_away_is_told_once_and_followed_again(
    place: Place, signals: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(place):
        signals.fails = True
        await anyio.sleep(QUICK_S * 5)
        signals.fails = False
        await signals.raise_("reload")
        await until(lambda: place.read_count == 1)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "the signals cannot be read"
    ]


async def test_a_bug_while_reading_does_not_end_the_following(place: Place, signals: Counts) -> None:
    place.bug = RuntimeError("a bug")
    async with following(place):
        place.write(GOOD + "# one\n")
        await until(lambda: place.read_count == 1)
        await signals.raise_("reload")
        await until(lambda: place.read_count == 2)
        place.bug = None
        place.write(GOOD + "# three\n")
        await until(lambda: place.read_count == 3)
