"""Tables of what is kept: sessions, memory, personalities; and how rows are laid out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cozy.engine.graph import Graph
from cozy.interfaces.repl.safe import one_line, safe
from cozy.ports.memory import MemoryItem
from cozy.ports.profile import ProfileFact
from cozy.ports.store import Session

ID_LENGTH = 8
"""How much of an id is shown; as much is enough to name it by."""


def grid(
    columns: Sequence[str], rows: Iterable[Sequence[RenderableType]], *, numbers: Sequence[int] = ()
) -> Table:
    """Rows under quiet headings; the columns of `numbers` are set to the right."""
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=any(columns)
    )
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


def say(console: Console, text: str, style: str = "") -> None:
    """Text as it is: no markup, no colours of its own, wrapped where it is long."""
    console.print(Text(safe(text), style=style), highlight=False)


def short(id_: object) -> str:
    return str(id_)[:ID_LENGTH]


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `yesterday`, or the day."""
    if moment is None:
        return ""
    now = now or datetime.now(UTC)
    minutes = int((now - moment).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if minutes < 24 * 60:
        return f"{minutes // 60} h ago"
    return "yesterday" if minutes < 48 * 60 else f"{moment.astimezone():%Y-%m-%d}"


def sessions_table(
    sessions: Sequence[Session], current: object, now: datetime | None = None
) -> RenderableType:
    """The user's sessions, newest first; `current` is the id of the one that is open."""
    return grid(
        ("", "id", "personality", "title", "messages", "last"),
        [
            (
                "*" if s.id == current else "",
                short(s.id),
                s.personality_id,
                one_line(s.title or "", 40),
                str(s.message_count),
                ago(s.last_message_at or s.created_at, now),
            )
            for s in sessions
        ],
        numbers=(4,),
    )


def personalities_table(graphs: Iterable[Graph], current: str) -> RenderableType:
    """Every personality; the current one is marked."""
    return grid(
        ("", "id", "name", "what it is for"),
        [
            (
                "*" if g.id == current else "",
                Text(g.id, "bold"),
                g.persona.about.name,
                g.persona.about.description,
            )
            for g in sorted(graphs, key=lambda g: g.id)
        ],
    )


def memory_table(items: Sequence[MemoryItem], now: datetime | None = None) -> RenderableType:
    """What was told, newest first."""
    return grid(("id", "memory", "told"), [(short(m.id), m.text, ago(m.created_at, now)) for m in items])


def profile_table(facts: Sequence[ProfileFact], now: datetime | None = None) -> RenderableType:
    """Who the user is, by topic."""
    return grid(
        ("id", "about", "profile", "told"),
        [(short(f.id), f"{f.topic}/{f.sub_topic}", f.content, ago(f.updated_at, now)) for f in facts],
    )
