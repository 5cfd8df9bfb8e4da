"""Fixtures written in a test, and what comes of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from textwrap import dedent

from cozy.dsl.diagnostics import as_text
from cozy.dsl.project import Project, Sources, read_project
from cozy.settings import shipped
from cozy.testing.reading import Case, Unreadable, read_case
from cozy.testing.runner import Outcome, migrated_file, run_case

GREETING = """\
personality: minimal
model:
  - text: 你好！
turns:
  - say: 你好
"""


@cache
def project() -> Project:
    return read_project(Sources((shipped("personalities"),), (shipped("pipelines"),)))


def read(text: str, folder: Path) -> Case | Unreadable:
    path = folder / "greeting.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return read_case(path, path.name, project())


def complaints(text: str, folder: Path) -> str:
    """What is said of a fixture that cannot be run."""
    case = read(text, folder)
    assert isinstance(case, Unreadable)
    return as_text(case.diagnostics, case.texts)


async def outcome_of(text: str, folder: Path) -> Outcome:
    case = read(text, folder)
    assert isinstance(case, Case), complaints(text, folder)
    async with migrated_file() as empty:
        return await run_case(case, empty)
