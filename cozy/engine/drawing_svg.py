"""A graph as an SVG that needs nothing beside it: no script, no font, no address; light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from cozy.cells import cells
from cozy.engine.drawing import Sketch, sketch
from cozy.engine.drawing_layout import Cell, Layout, layout
from cozy.engine.drawing_text import box_lines
from cozy.engine.graph import Graph

# pixels
MARGIN, TITLE, GAP, ROW_GAP, PASSING = 24, 44, 28, 44, 24
PADDING, LINE, NARROWEST = 14, 18, 112
CHARACTER, ID_CHARACTER = 7.4, 9.0
"""What one cell of a terminal comes to, on the wide side: the reader's fonts are not ours to know."""
PORT_GAP = 16

_STYLE = """
svg { --paper: #fff; --ink: #1f2430; --soft: #5d6675; --wire: #8b95a5; --box: #f5f7fa; --edge: #c3cad5;
  --speaks: #e6f2ec; --speaks-edge: #4a9d77 }
@media (prefers-color-scheme: dark) { svg { --paper: #16191f; --ink: #e8ebf0; --soft: #9aa4b2;
  --wire: #6d7888; --box: #20252d; --edge: #465061; --speaks: #1c332a; --speaks-edge: #5fb98f } }
.paper { fill: var(--paper) } .box { fill: var(--box); stroke: var(--edge); stroke-width: 1.5 }
.degrade .box { stroke-dasharray: 5 4 }
.speaks .box { fill: var(--speaks); stroke: var(--speaks-edge); stroke-width: 2 }
.wire { fill: none; stroke: var(--wire); stroke-width: 1.5 } .waits { stroke-dasharray: 4 4 }
.tip { fill: var(--wire) }
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "Noto Sans Mono CJK SC", monospace;
  fill: var(--soft) }
.id, .title { font: 600 13px system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", sans-serif;
  fill: var(--ink) }
.title { font-size: 15px }
"""


def as_svg(graph: Graph) -> str:
    """The drawing as one SVG document."""
    drawn = sketch(graph)
    widths = [_width(list(box_lines(box))) for box in drawn.boxes]
    placed = layout(drawn.levels, drawn.drawn, widths, gap=GAP, passing=PASSING)
    tops = _tops(drawn, placed)
    width = max(placed.width, round(cells(drawn.title) * ID_CHARACTER)) + 2 * MARGIN
    left = (width - placed.width) // 2
    height = tops[-1] - ROW_GAP + MARGIN
    name = _text(drawn.title)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"
  role="img" aria-label="{name}">
<style>{_STYLE}</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>
<rect class="paper" width="{width}" height="{height}" rx="8"/>
<text class="title" x="{width // 2}" y="{MARGIN + 8}" text-anchor="middle">{name}</text>
<g transform="translate({left} 0)">
{_joined(_wires(drawn, placed, tops))}
{_joined(_boxes(drawn, placed, tops))}
</g>
</svg>
"""


def _joined(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def _width(lines: Sequence[str]) -> int:
    widest = max(cells(lines[0]) * ID_CHARACTER, *(cells(line) * CHARACTER for line in lines[1:]))
    return max(round(widest) + 2 * PADDING, NARROWEST)


def _tops(drawn: Sketch, placed: Layout) -> list[int]:
    """Where each row begins, and where one below the last would."""
    tops = [MARGIN + TITLE]
    for row in placed.rows:
        tops.append(tops[-1] + max(_height(drawn, cell) for cell in row) + ROW_GAP)
    return tops


def _height(drawn: Sketch, cell: Cell) -> int:
    return 0 if cell.box is None else len(list(box_lines(drawn.boxes[cell.box]))) * LINE + PADDING + 6


def _boxes(drawn: Sketch, placed: Layout, tops: Sequence[int]) -> Iterator[str]:
    for row, top in zip(placed.rows, tops, strict=False):
        for cell in row:
            if cell.box is None:
                continue
            box = drawn.boxes[cell.box]
            classes = " ".join(name for name in ("degrade", "speaks") if name in box.rules)
            yield f'<g class="{classes}"><title>{_text(chr(10).join(box.lines()))}</title>'
            yield (
                f'<rect class="box" x="{cell.left}" y="{top}" width="{cell.width}"'
                f' height="{_height(drawn, cell)}" rx="7"/>'
            )
            for i, line in enumerate(list(box_lines(box))):
                y = top + PADDING + 9 + i * LINE
                kind = ' class="id"' if i == 0 else ""
                yield f'<text{kind} x="{cell.left + PADDING}" y="{y}">{_text(line)}</text>'
            yield "</g>"


def _wires(drawn: Sketch, placed: Layout, tops: Sequence[int]) -> Iterator[str]:
    kinds = {(e.source, e.target): e.kind for e in drawn.edges}
    row_of = {id(cell): n for n, row in enumerate(placed.rows) for cell in row}
    for row in placed.rows:
        for cell in row:
            if cell.box is None:
                continue
            for first in cell.below:
                path, last = _path(drawn, cell, first, row_of, tops)
                waits = " waits" if kinds[cell.box, last.box or 0] == "waits" else ""
                yield f'<path class="wire{waits}" marker-end="url(#tip)" d="{path}"/>'


def _path(
    drawn: Sketch, start: Cell, lower: Cell, row_of: dict[int, int], tops: Sequence[int]
) -> tuple[str, Cell]:
    """The way from a box over the cells that pass levels, and the box where it ends."""
    upper, x, y = start, _port(start, lower, start.below), tops[row_of[id(start)]] + _height(drawn, start)
    path = [f"M{x} {y}"]
    while True:
        end_x, end_y = _port(lower, upper, lower.above), tops[row_of[id(lower)]]
        bend = max((end_y - y) // 2, ROW_GAP // 2)
        path.append(f"C{x} {y + bend} {end_x} {end_y - bend} {end_x} {end_y}")
        if lower.box is not None:
            return "".join(path), lower
        upper, lower, x = lower, lower.below[0], end_x
        y = tops[row_of[id(upper)] + 1] - ROW_GAP
        path.append(f"V{y}")


def _port(cell: Cell, other: Cell, neighbours: Sequence[Cell]) -> int:
    """Where on a cell the wire to one of its neighbours begins: they stand in their neighbours' order."""
    order = sorted(neighbours, key=lambda c: c.centre)
    step = min(PORT_GAP, (cell.width - 2 * PADDING) // max(len(order), 1))
    at = next(i for i, c in enumerate(order) if c is other)
    return cell.centre + round((at - (len(order) - 1) / 2) * step)


def _text(text: str) -> str:
    return escape("".join(c if c.isprintable() or c == "\n" else " " for c in text), quote=True)
