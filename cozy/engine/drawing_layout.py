"""Where the boxes of a drawing stand: levels from top to bottom, few crossings, straight lines.

The usual steps of layered drawing (Sugiyama, Tagawa and Toda, 1981): an edge that skips levels gets a cell on
each level that it passes; cells are ordered by the middle of their neighbours; then each is drawn to the
middle of its neighbours as far as the room beside it allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import floor

SWEEPS = 8


@dataclass(slots=True, eq=False)
class Cell:
    """A box, or a place where an edge passes a level."""

    width: int
    box: int | None
    """Its index; None where only an edge passes."""
    centre: int = 0
    above: list[Cell] = field(default_factory=list["Cell"], repr=False)
    below: list[Cell] = field(default_factory=list["Cell"], repr=False)

    @property
    def left(self) -> int:
        return self.centre - self.width // 2

    @property
    def right(self) -> int:
        """Just behind it."""
        return self.left + self.width


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of cells, top to bottom, each from left to right; the leftmost begins at 0."""

    rows: list[list[Cell]]
    width: int


def layout(
    levels: Sequence[Sequence[int]],
    edges: Sequence[tuple[int, int]],
    widths: Sequence[int],
    *,
    gap: int,
    passing: int,
) -> Layout:
    """Place boxes of these widths, `gap` apart; `passing` is the width of an edge's own cell."""
    rows = _cells(levels, edges, widths, passing)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            _order(row, down)
    for row in rows:
        _place(row, [0.0] * len(row), gap)
    for sweep in range(SWEEPS + 1):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            _place(row, [_middle(cell, down) for cell in row], gap)
    leftmost = min((row[0].left for row in rows), default=0)
    for row in rows:
        for cell in row:
            cell.centre -= leftmost
    return Layout(rows, max((row[-1].right for row in rows), default=0))


def _cells(
    levels: Sequence[Sequence[int]], edges: Sequence[tuple[int, int]], widths: Sequence[int], passing: int
) -> list[list[Cell]]:
    rows = [[Cell(widths[box], box) for box in level] for level in levels]
    cell_of = {cell.box: cell for row in rows for cell in row}
    level_of = {box: n for n, level in enumerate(levels) for box in level}
    for source, target in edges:
        upper = cell_of[source]
        for level in range(level_of[source] + 1, level_of[target]):
            cell = Cell(passing, None)
            rows[level].append(cell)
            _join(upper, cell)
            upper = cell
        _join(upper, cell_of[target])
    return rows


def _join(upper: Cell, lower: Cell) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _order(row: list[Cell], down: bool) -> None:
    """Sort a row by where its neighbours stand; `centre` is the position in the row for now."""

    def key(cell: Cell) -> float:
        near = cell.above if down else cell.below
        return sum(n.centre for n in near) / len(near) if near else cell.centre

    row.sort(key=key)
    for position, cell in enumerate(row):
        cell.centre = position


def _middle(cell: Cell, down: bool) -> float:
    near = cell.above if down else cell.below
    return sum(n.centre for n in near) / len(near) if near else cell.centre


def _place(row: Sequence[Cell], wanted: Sequence[float], gap: int) -> None:
    """Centres as near to the wanted ones as the widths allow, by least squares.

    With each cell's minimum distance taken off, the centres need only not to fall: isotonic regression,
    by pooling neighbours that violate it.
    """
    offsets = [0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + left.width - left.width // 2 + gap + right.width // 2)
    pools: list[tuple[float, int]] = []
    """Sum of what is wanted, and of how many."""
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            before, size = pools.pop()
            total, count = total + before, count + size
        pools.append((total, count))
    free = (floor(total / count + 0.5) for total, count in pools for _ in range(count))
    for cell, offset, centre in zip(row, offsets, free, strict=True):
        cell.centre = centre + offset
