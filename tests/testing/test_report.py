"""How a fixture passes, fails, and is brought up to date."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cozy.testing.report import Result, check_fixture, fixtures_in
from cozy.testing.runner import migrated_file
from tests.testing.cases import GREETING, project


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "greeting.yaml"
    file.write_text(GREETING, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
async def empty() -> AsyncIterator[Path]:
    async with migrated_file() as file:
        yield file


async def checked(path: Path, empty: Path, *, update: bool = False) -> Result:
    return await check_fixture(path, project(), empty, update=update)


async def test_a_fixture_without_a_snapshot_fails_and_says_what_to_do(path: Path, empty: Path) -> None:
    result = await checked(path, empty)
    assert result.status == "failed"
    assert result.text() == (
        "error: greeting.yaml:1:1: there is no snapshot of this fixture yet [CZ102]\n"
        "   1 | personality: minimal\n"
        "     | ^\n"
        "hint: run `cozy test --update greeting.yaml`, "
        "read greeting.expected.txt, and keep it beside the fixture"
    )


async def test_a_snapshot_that_was_written_is_held_to(path: Path, empty: Path) -> None:
    assert (await checked(path, empty, update=True)).status == "written"
    result = await checked(path, empty)
    assert (result.status, result.text()) == ("passed", "")


async def test_a_snapshot_that_is_up_to_date_is_not_written_again(path: Path, empty: Path) -> None:
    await checked(path, empty, update=True)
    assert (await checked(path, empty, update=True)).status == "passed"


async def test_a_difference_is_shown_as_a_diff(path: Path, empty: Path) -> None:
    await checked(path, empty, update=True)
    path.write_text(GREETING.replace("你好！", "您好！"), encoding="utf-8")
    result = await checked(path, empty)
    assert result.status == "failed"
    assert result.diff.startswith("--- greeting.expected.txt\n+++ what came out\n@@")
    assert '-    answer says "你好！"\n+    answer says "您好！"' in result.text()


async def test_a_disappointed_fixture_keeps_its_old_snapshot(path: Path, empty: Path) -> None:
    await checked(path, empty, update=True)
    kept = path.with_name("greeting.expected.txt").read_text(encoding="utf-8")
    path.write_text(
        GREETING.replace("你好！", "您好！") + "    expect:\n      reply: 你好！\n", encoding="utf-8"
    )
    result = await checked(path, empty, update=True)
    assert result.status == "failed"
    assert "greeting.yaml:7:14: the answer is “您好！” [CZ101]" in result.text()
    assert path.with_name("greeting.expected.txt").read_text(encoding="utf-8") == kept


async def test_a_fixture_that_cannot_be_read_fails(path: Path, empty: Path) -> None:
    path.write_text("personality minimal\n", encoding="utf-8")
    result = await checked(path, empty)
    assert result.status == "failed"
    assert "greeting.yaml:1:" in result.text()


async def test_a_snapshot_is_the_same_wherever_one_stands(
    path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await checked(path, empty, update=True)
    monkeypatch.chdir("/")
    result = await checked(path, empty)
    assert result.status == "passed", result.text()


def test_fixtures_are_found_in_folders_below_folders(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "deep/c.yaml", ".hidden.yaml", "a.expected.txt", "notes.md"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = fixtures_in([tmp_path, tmp_path / "a.yaml"])
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["a.yaml", "b.yaml", "deep/c.yaml"]
