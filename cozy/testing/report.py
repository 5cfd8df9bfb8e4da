"""Fixtures run one after another, each held against what it expects and against its snapshot."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cozy.dsl.diagnostics import Diagnostic, Place, as_text, error, in_order
from cozy.dsl.project import Project
from cozy.testing.expectations import NOT_AS_EXPECTED, disappointments
from cozy.testing.reading import Unreadable, read_case
from cozy.testing.runner import LIMIT_S, run_case
from cozy.testing.snapshot import snapshot

NO_SNAPSHOT = "CZ102"
"""The code of a fixture whose snapshot nobody has accepted yet."""
SUFFIX = ".expected.txt"

Status = Literal["passed", "failed", "written"]


@dataclass(frozen=True, slots=True)
class Result:
    """How one fixture went."""

    name: str
    """Its file, as it is shown."""
    status: Status
    """`written`: its snapshot is new, or was brought up to date."""
    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] | None = None
    """The files that the diagnostics are about, by name."""
    diff: str = ""
    """Between the snapshot and what came out."""

    def text(self) -> str:
        """What there is to say of it, for a terminal; nothing of one that passed."""
        return "\n\n".join(
            part for part in (as_text(self.diagnostics, self.texts or {}), self.diff.rstrip("\n")) if part
        )


def fixtures_in(paths: Sequence[Path]) -> list[Path]:
    """The fixtures that are meant by files and folders, each once; folders are searched to the ground."""
    found: dict[Path, None] = {}
    for path in paths:
        files = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        found |= dict.fromkeys(file for file in files if not file.name.startswith("."))
    return list(found)


async def check_fixture(path: Path, project: Project, empty: Path, *, update: bool = False) -> Result:
    """Run one fixture on a copy of the database `empty`; with `update` its snapshot is written."""
    name = _shown(path)
    case = read_case(path, name, project)
    if isinstance(case, Unreadable):
        return Result(name, "failed", case.diagnostics, case.texts)
    texts = {name: case.document.text}
    try:
        outcome = await run_case(case, empty)
    except TimeoutError:
        late = error(
            NOT_AS_EXPECTED, f"the turns did not end within {LIMIT_S:g} s", case.document.key("turns")
        )
        return Result(name, "failed", (late,), texts)
    wrong = in_order(disappointments(outcome))
    came, file = snapshot(outcome), path.with_name(path.stem + SUFFIX)
    kept = file.read_text(encoding="utf-8") if file.exists() else None
    if update and not wrong and came != kept:
        file.write_text(came, encoding="utf-8")
        return Result(name, "written")
    if kept is None:
        hint = f"run `cozy test --update {name}`, read {_shown(file)}, and keep it beside the fixture"
        none = error(NO_SNAPSHOT, "there is no snapshot of this fixture yet", Place(name, 1, 1, 0), hint)
        return Result(name, "failed", (*wrong, none), texts)
    diff = _diff(kept, came, _shown(file)) if came != kept else ""
    return Result(name, "failed" if wrong or diff else "passed", wrong, texts, diff)


def _diff(kept: str, came: str, name: str) -> str:
    return "\n".join(
        difflib.unified_diff(kept.splitlines(), came.splitlines(), name, "what came out", lineterm="", n=3)
    )


def _shown(path: Path) -> str:
    """A path as people write it: from where they stand, with forward slashes."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return Path(os.path.relpath(path)).as_posix()
