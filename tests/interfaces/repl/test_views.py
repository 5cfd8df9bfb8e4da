"""Tables of what is kept."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console, RenderableType
from syrupy.assertion import SnapshotAssertion

from cozy.cells import cells
from cozy.interfaces.repl.views import grid, memory_table, profile_table
from cozy.ports.memory import MemoryItem
from cozy.ports.profile import ProfileFact

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def seen(view: RenderableType, width: int = 60) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(view, highlight=False, markup=False)
    return out.getvalue()


def test_what_is_remembered_is_a_table_that_wide_text_does_not_break(snapshot: SnapshotAssertion) -> None:
    items = [
        MemoryItem("0a1b2c3d-0000", "用户对花生过敏", NOW - timedelta(minutes=3)),
        MemoryItem("4e5f6a7b-0000", "The user has two cats and a very long story to tell about both", NOW),
    ]
    facts = [ProfileFact("8c9d0e1f-0000", "basic_info", "name", "小明", NOW)]
    told = seen(profile_table(facts, NOW)) + seen(memory_table(items, NOW))
    assert told == snapshot
    assert max(map(cells, told.splitlines())) <= 60


def test_nothing_in_a_table_is_markup_or_steers_the_terminal() -> None:
    assert seen(grid(("a",), [("[bold]x[/bold]\x1b[2J",)])).splitlines()[1].strip() == "[bold]x[/bold][2J"
