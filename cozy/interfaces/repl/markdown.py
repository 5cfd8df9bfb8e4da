"""Markdown for a terminal, as it comes in: which of it cannot change any more, and how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.containers import Lines
from rich.markdown import (
    CodeBlock,
    Heading,
    Markdown,
    MarkdownContext,
    MarkdownElement,
    Paragraph,
    TableDataElement,
    TableElement,
)
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from wcwidth import iter_graphemes, wcswidth

Line = list[Segment]

CODE_THEME = "ansi_dark"
"""The terminal's own colours on its own background."""


@cache
def _parser() -> MarkdownIt:
    # HTML is text here: rich leaves it out of what it shows
    return MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")


def settled(text: str) -> int:
    """How many characters of a growing text are whole blocks that nothing that follows can change.

    Markdown's blocks are read line by line, and a block is over when the next begins: all but the last of
    the complete lines are settled. A line that is not complete may still turn into anything.
    """
    whole = text[: text.rfind("\n") + 1]
    starts = [t.map[0] for t in _parser().parse(whole) if t.level == 0 and t.map and t.nesting >= 0]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in whole.split("\n")[: starts[-1]])


def lines_of(text: str, console: Console, width: int) -> list[Line]:
    """The text as it looks, `width` cells wide, without blank lines around it."""
    options = console.options.update(width=width, height=None)
    lines = [_trimmed(line) for line in console.render_lines(Prose(text), options, pad=False)]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _trimmed(line: Line) -> Line:
    """Without the spaces at its end: a terminal that is made narrower would break them into lines."""
    kept = list(line)
    while kept and not kept[-1].text.strip() and not (kept[-1].style and kept[-1].style.bgcolor):
        kept.pop()
    if kept and not (kept[-1].style and kept[-1].style.bgcolor):
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    return kept


class Words(Text):
    """A text whose lines are broken where readers of its script expect it."""

    def wrap(self, console: Console, width: int, **rules: Any) -> Lines:
        # rich breaks at spaces and nowhere else: what it is given are lines that fit already
        parts = (part.divide(breaks(part.plain, width)) for part in self.split(allow_blank=True))
        return Text("\n").join(line for part in parts for line in part).wrap(console, width, **rules)


class _Paragraph(Paragraph):
    def on_enter(self, context: MarkdownContext) -> None:
        super().on_enter(context)
        self.text = Words(justify="left")


class _Heading(Heading):
    def on_enter(self, context: MarkdownContext) -> None:
        super().on_enter(context)
        self.text = Words(justify="left")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _CodeBlock(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = self.text.plain.rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 1))


class _Table(TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                table.show_edge = False
            yield table


class _TableCell(TableDataElement):
    def __init__(self, justify: JustifyMethod) -> None:
        super().__init__(justify)
        self.content = Words("", justify=justify)


class Prose(Markdown):
    """rich's Markdown, with line breaks kept, HTML shown, and lines broken as Chinese is."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = Markdown.elements | {
        "paragraph_open": _Paragraph,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "table_open": _Table,
        "td_open": _TableCell,
        "th_open": _TableCell,
    }

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme=CODE_THEME, hyperlinks=False)
        self.parsed = _parser().parse(text)
        for token in self.parsed:
            for child in token.children or ():
                if child.type == "softbreak":
                    child.type = "hardbreak"


_CLOSING = frozenset("，。！？、；：）》」』】〉〕”’…—～·,.!?;:)]}%")
"""Never first on a line."""
_OPENING = frozenset("（《「『【〈〔“‘([{")
"""Never last on a line."""


def breaks(text: str, width: int) -> list[int]:
    """Where to break one line of text so that none is wider than `width` cells.

    After spaces, and beside wide characters but not before closing or after opening marks; within a word only
    where it is wider than a line.
    """
    found: list[int] = []
    start = chance = used = used_at_chance = 0
    before = ""
    for at, grapheme, size in _graphemes(text):
        if at > start and _may_break(before, grapheme):
            chance, used_at_chance = at, used
        while used + size > width and not grapheme.isspace() and at > start:
            # once more where what is behind the break does not fit on a line of its own
            start, used = (chance, used - used_at_chance) if chance > start else (at, 0)
            found.append(start)
        used += size
        before = grapheme
    return found


def _graphemes(text: str) -> Iterator[tuple[int, str, int]]:
    at = 0
    for grapheme in iter_graphemes(text):
        yield at, grapheme, max(wcswidth(grapheme), 0)
        at += len(grapheme)


def _may_break(before: str, after: str) -> bool:
    if before.isspace():
        return not after.isspace()
    if after.isspace() or after in _CLOSING or before in _OPENING:
        return False
    return wcswidth(before) == 2 or wcswidth(after) == 2
