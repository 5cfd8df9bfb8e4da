"""What a snapshot tells that no fixture of `tests/pipelines` shows, and what it leaves out."""

from __future__ import annotations

import re
from pathlib import Path

from cozy.testing.snapshot import snapshot
from tests.testing.cases import GREETING, outcome_of


async def test_a_snapshot_holds_neither_ids_nor_times(tmp_path: Path) -> None:
    text = GREETING + "  - say: 我呢？\n    user: eve\n    expect:\n      error: RESOURCE_NOT_FOUND\n"
    told = snapshot(await outcome_of(text, tmp_path))
    assert "no session `<session main>`" in told
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|\d+\.\d+ ?s|\d\d:\d\d", told)


async def test_ids_that_nobody_knows_are_numbered(tmp_path: Path) -> None:
    stranger = "0b0cbb3c-6a54-4a0f-9a51-6e2f9f3a1c11"
    text = GREETING.replace("你好！", f"{stranger} and {stranger}")
    assert '"<id 1> and <id 1>"' in snapshot(await outcome_of(text, tmp_path))


async def test_pictures_and_several_lines_are_told_line_by_line(tmp_path: Path) -> None:
    text = GREETING.replace("say: 你好", "say: |\n      一\n\n      二")
    told = snapshot(await outcome_of(text, tmp_path))
    assert "    user\n      | 一\n      |\n      | 二\n" in told


async def test_no_line_ends_in_a_space(tmp_path: Path) -> None:
    text = GREETING.replace("say: 你好", "say: |\n      一\n\n      二")
    assert not re.search(r"[ \t]\n", snapshot(await outcome_of(text, tmp_path)))
