"""Personalities and pipelines that a test writes itself."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from cozy.dsl.check import CheckedPersonality, CheckResult, check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from tests.dsl.checking import ROOT, WORLD

MIA = "id: mia\nname: 米娅\nprompt: 你叫米娅。\n"
"""What every personality needs, before the lines that a test is about."""


def check_files(folder: Path, files: dict[str, str], world: World = WORLD) -> CheckResult:
    """What the check says of these files; `personalities/mia.yaml` → its text."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
    return check(read_project(Sources(pipelines=(ROOT / "pipelines",), files=(folder,))), world)


def check_mia(folder: Path, lines: str, world: World = WORLD) -> CheckResult:
    """What the check says of a personality with these lines below its id, name and prompt."""
    return check_files(folder, {"personalities/mia.yaml": MIA + dedent(lines)}, world)


def mia(folder: Path, lines: str) -> CheckedPersonality:
    """A personality that passes the check."""
    result = check_mia(folder, lines)
    assert not result.errors, result.text()
    [checked] = result.personalities
    return checked


def edges(checked: CheckedPersonality) -> list[str]:
    """Each stage with what it takes and waits for, a line each."""
    lines: list[str] = []
    for stage in checked.stages:
        inputs = " ".join(f"{i.parameter}={','.join(i.sources)}({i.count})" for i in stage.inputs)
        waits = f" after {','.join(stage.waits)}" if stage.waits else ""
        marks = " speaks" * stage.speaks + " offers-tools" * stage.offers_tools
        lines.append(f"{stage.id}: {inputs or '-'}{waits}{marks}")
    return lines


def codes(result: CheckResult) -> list[str]:
    """The codes of all that is said, in order."""
    return [diagnostic.code for diagnostic in result.diagnostics]
