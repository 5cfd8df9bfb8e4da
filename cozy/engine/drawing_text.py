"""A graph in box characters, for a terminal.

Stages of one level stand side by side. A wire that crosses another goes unbroken from top to bottom, the
other one passes beneath it: only corners and tees are joints. Where the terminal is too narrow, the stages
stand in a list, those of one level in brackets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from wcwidth import iter_graphemes

from cozy.cells import cells, clipped
from cozy.engine.drawing import Box, Sketch, sketch
from cozy.engine.drawing_layout import Cell, layout
from cozy.engine.graph import Graph

WIDEST = 34
"""Cells that a line in a box may take,"""
MOST_LINES = 3
"""and lines that one fact may take there."""
NARROWEST = 24
"""A list is not drawn narrower than this."""
GAP, PASSING, PORT_GAP = 2, 3, 4


def as_text(graph: Graph, width: int) -> str:
    """The drawing, not wider than `width` cells if that is at least 24; a title first."""
    drawn = sketch(graph)
    lines = _boxes(drawn, width)
    if lines is None:
        lines = list(_list(drawn, max(width, NARROWEST)))
    title = _wrapped(drawn.title, max(width, NARROWEST))
    return "\n".join([*title, "", *lines])


def box_lines(box: Box) -> Iterator[str]:
    """What stands in a box, in lines of at most 34 cells."""
    for line in box.lines():
        broken = _wrapped(clip(line, 4 * WIDEST), WIDEST)
        yield from broken[:MOST_LINES]
        if len(broken) > MOST_LINES:
            yield "…"


def clip(text: str, width: int) -> str:
    """The text on one line, its end replaced by an ellipsis where it is wider than `width` cells."""
    return clipped("".join(c if c.isprintable() else " " for c in text), width)


# -- boxes and wires -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bus:
    """Wires that join: from each of the sources to each of the targets, over one line between two rows."""

    sources: list[Cell]
    targets: list[Cell]
    tops: list[int] = field(default_factory=list[int])
    """Columns where it leaves the sources."""
    bottoms: list[int] = field(default_factory=list[int])
    track: int = 0

    @property
    def straight(self) -> bool:
        return self.tops == self.bottoms and len(self.tops) == 1

    @property
    def span(self) -> tuple[int, int]:
        columns = self.tops + self.bottoms
        return min(columns), max(columns)


def _boxes(drawn: Sketch, width: int) -> list[str] | None:
    """None where it does not fit, or where wires would run into one another."""
    texts = [list(box_lines(box)) for box in drawn.boxes]
    leaving = [sum(source == i for source, _ in drawn.drawn) for i in range(len(texts))]
    widths = [
        max(max(map(cells, lines)) + 4, PORT_GAP * (ports - 1) + 3)
        for lines, ports in zip(texts, leaving, strict=True)
    ]
    placed = layout(drawn.levels, drawn.drawn, widths, gap=GAP, passing=PASSING)
    if placed.width > width:
        placed = layout(drawn.levels, drawn.drawn, widths, gap=1, passing=PASSING)
    if placed.width > width:
        return None
    lines: list[str] = []
    ports: dict[int, tuple[list[int], list[int]]] = {id(c): ([], []) for row in placed.rows for c in row}
    gaps: list[list[_Bus]] = []
    for row in placed.rows[:-1]:
        buses = list(_buses(row))
        for bus in buses:
            _bottoms(bus)
        if not _tracks(buses):
            return None
        gaps.append(buses)
        for bus in buses:
            for cell, column in zip(bus.sources, bus.tops, strict=True):
                ports[id(cell)][1].append(column)
            for cell, column in zip(bus.targets, bus.bottoms, strict=True):
                ports[id(cell)][0].append(column)
    for n, row in enumerate(placed.rows):
        lines += _row(row, texts, ports)
        if n < len(gaps):
            lines += _wires(gaps[n], placed.width)
    return lines


def _buses(row: Sequence[Cell]) -> Iterator[_Bus]:
    """The wires below a row: targets that wait for the same cells share theirs."""
    found: dict[tuple[int, ...], _Bus] = {}
    for cell in row:
        for target in cell.below:
            sources = sorted(target.above, key=lambda c: c.centre)
            key = tuple(id(source) for source in sources)
            bus = found.setdefault(key, _Bus(sources, []))
            if target not in bus.targets:
                bus.targets.append(target)
    leaving: dict[int, list[_Bus]] = {}
    for bus in found.values():
        for source in bus.sources:
            leaving.setdefault(id(source), []).append(bus)
    for cell in row:
        buses = sorted(leaving.get(id(cell), []), key=lambda b: fmean(t.centre for t in b.targets))
        first = cell.centre - PORT_GAP * (len(buses) - 1) // 2
        for i, bus in enumerate(buses):
            bus.tops.append(first + PORT_GAP * i)
    yield from found.values()


def _bottoms(bus: _Bus) -> None:
    """Where a bus meets its targets: in the middle, or straight below the only source if it can."""
    bus.bottoms = [target.centre for target in bus.targets]
    if len(bus.sources) == len(bus.targets) == 1:
        target, column = bus.targets[0], bus.tops[0]
        if target.left < column < target.right - 1:
            bus.bottoms = [column]


def _tracks(buses: Sequence[_Bus]) -> bool:
    """Give each bus its line; whether wires can be kept apart.

    Where one bus leaves a source in the column in which another meets a target, the first must turn off
    higher up.
    """
    waiting = [bus for bus in buses if not bus.straight]
    done: list[_Bus] = []
    while waiting:
        free = [b for b in waiting if not any(set(o.tops) & set(b.bottoms) for o in waiting if o is not b)]
        if not free:
            return False
        bus = min(free, key=lambda b: b.span[1] - b.span[0])
        waiting.remove(bus)
        above = [o.track for o in done if set(o.tops) & set(bus.bottoms)]
        bus.track = max(above, default=-1) + 1
        while any(o.track == bus.track and _meet(o, bus) for o in done):
            bus.track += 1
        done.append(bus)
    return True


def _meet(one: _Bus, other: _Bus) -> bool:
    (left, right), (begin, end) = one.span, other.span
    return left <= end + 1 and begin <= right + 1


_JOINTS = {
    # left, right, up, down
    (False, True, True, False): "╰",
    (True, False, True, False): "╯",
    (False, True, False, True): "╭",
    (True, False, False, True): "╮",
    (True, True, True, False): "┴",
    (True, True, False, True): "┬",
    (False, True, True, True): "├",
    (True, False, True, True): "┤",
    (True, True, True, True): "┼",
}


def _wires(buses: Sequence[_Bus], width: int) -> list[str]:
    height = max((b.track + 1 for b in buses if not b.straight), default=0)
    grid = [[" "] * width for _ in range(height)]
    for bus in buses:
        if not bus.straight:
            left, right = bus.span
            grid[bus.track][left : right + 1] = "─" * (right + 1 - left)
    for bus in buses:
        for column in bus.tops:
            for y in range(height if bus.straight else bus.track):
                grid[y][column] = "│"
        for column in () if bus.straight else bus.bottoms:
            for y in range(bus.track + 1, height):
                grid[y][column] = "│"
    for bus in buses:
        if bus.straight:
            continue
        left, right = bus.span
        for column in {*bus.tops, *bus.bottoms}:
            sides = (column > left, column < right, column in bus.tops, column in bus.bottoms)
            grid[bus.track][column] = _JOINTS[sides]
    return ["".join(row).rstrip() for row in grid]


def _row(
    row: Sequence[Cell],
    texts: Sequence[Sequence[str]],
    ports: dict[int, tuple[list[int], list[int]]],
) -> Iterator[str]:
    height = max((len(texts[c.box]) for c in row if c.box is not None), default=0)
    for y in range(-1, height + 1):
        line, at = "", 0
        for cell in row:
            tops, bottoms = ports[id(cell)]
            drawn = _slice(cell, y, height, texts, tops, bottoms)
            line += " " * (cell.left - at) + drawn
            at = cell.right
        yield line.rstrip()


def _slice(
    cell: Cell, y: int, height: int, texts: Sequence[Sequence[str]], tops: list[int], bottoms: list[int]
) -> str:
    """One line of a cell, exactly as wide as it is."""
    if cell.box is None:
        line = [" "] * cell.width
        line[cell.centre - cell.left] = "│"
        return "".join(line)
    if y in (-1, height):
        corners, marks, mark = ("┌┐", tops, "▼") if y < 0 else ("└┘", bottoms, "┬")
        line = [corners[0], *"─" * (cell.width - 2), corners[1]]
        for column in marks:
            line[column - cell.left] = mark
        return "".join(line)
    lines = texts[cell.box]
    text = lines[y] if y < len(lines) else ""
    return f"│ {text}{' ' * (cell.width - 4 - cells(text))} │"


# -- the list --------------------------------------------------------------------------------------------


def _list(drawn: Sketch, width: int) -> Iterator[str]:
    left = len(drawn.boxes)
    for n, level in enumerate(drawn.levels):
        if n:
            yield "│"
        for position, i in enumerate(level, 1):
            left -= 1
            ends = position == len(level)
            head = "○" if len(level) == 1 else "┌" if position == 1 else "└" if ends else "├"
            side = "│" if left and not (ends and len(level) > 1) else " "
            id_, *facts = drawn.boxes[i].lines()
            before = [drawn.boxes[source].id for source, target in drawn.drawn if target == i]
            yield f"{head} {clip(id_, width - 2)}"
            texts = (" · ".join(facts), f"← {', '.join(before)}" if before else "")
            for line in (line for text in texts for line in _wrapped(text, width - 4)):
                yield f"{side}   {line}"


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at spaces where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if cells(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = ""
        for grapheme in iter_graphemes(word):
            if cells(line + grapheme) > width:
                lines.append(line)
                line = ""
            line += grapheme
    return [*lines, line] if line else lines
