"""Rows in columns, for a screen and for a pipe alike."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]]) -> str:
    """The rows as lines, each column as wide as its widest cell on a screen."""
    from cozy.cells import cells
    from cozy.interfaces.repl.safe import safe

    shown = [[" ".join(safe(cell).split()) for cell in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in shown
    )
