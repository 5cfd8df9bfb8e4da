"""Every fixture of this folder, run as `cozy test` runs them, against the same snapshots."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from cozy.dsl.project import Project, Sources, read_project
from cozy.settings import shipped
from cozy.testing.report import SUFFIX, check_fixture, fixtures_in
from cozy.testing.runner import migrated_file

HERE = Path(__file__).parent


@cache
def project() -> Project:
    return read_project(Sources((shipped("personalities"),), (shipped("pipelines"),)))


@pytest.fixture(scope="module")
async def empty() -> AsyncIterator[Path]:
    async with migrated_file() as path:
        yield path


@pytest.mark.parametrize("path", fixtures_in([HERE]), ids=lambda path: path.stem)
async def test_a_pipeline_does_what_its_fixture_tells(path: Path, empty: Path) -> None:
    result = await check_fixture(path, project(), empty)
    assert result.status == "passed", result.text()


def test_every_snapshot_belongs_to_a_fixture() -> None:
    snapshots = {path.name.removesuffix(SUFFIX) for path in HERE.glob(f"*{SUFFIX}")}
    assert snapshots == {path.stem for path in fixtures_in([HERE])}
