"""What is wrong with a file that an author wrote: where, what, and what would be right.

The same diagnostics come from `cozy check`, from startup and from reload. Every one has a stable code,
whose long story `cozy explain CODE` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from wcwidth import iter_graphemes, wcswidth

Severity = Literal["error", "warning"]

WINDOW = 96
"""Cells of a line that an excerpt shows at most."""
REACH = 400
"""Characters on either side of a place that are looked at, however long its line is."""
TAB = 4


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A stretch of one line of a file."""

    file: str
    """As it is shown to people: relative to where they stand, with forward slashes."""
    line: int
    """From 1."""
    column: int
    """From 1, in characters (code points), whatever their width on a screen."""
    length: int = 1
    """In characters; 0 is a place between two."""

    @property
    def end(self) -> int:
        """The column behind the last character."""
        return self.column + self.length

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that has to do with it."""

    message: str
    place: Place


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong."""

    code: str
    """`CZ` and three digits; it never changes its meaning."""
    severity: Severity
    message: str
    """What is wrong: lower case, no full stop, names in backticks."""
    place: Place
    hint: str | None = None
    """What would be right."""
    related: tuple[Related, ...] = ()


def error(
    code: str, message: str, place: Place, hint: str | None = None, related: Iterable[Related] = ()
) -> Diagnostic:
    """A diagnostic that stops the file from being used."""
    return Diagnostic(code, "error", message, place, hint, tuple(related))


def warning(
    code: str, message: str, place: Place, hint: str | None = None, related: Iterable[Related] = ()
) -> Diagnostic:
    """A diagnostic that stops nothing."""
    return Diagnostic(code, "warning", message, place, hint, tuple(related))


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Each once, by file, line and column."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=lambda d: (d.place, d.severity, d.code, d.message)))


# -- as text -------------------------------------------------------------------------------------------


def as_text(diagnostics: Iterable[Diagnostic], texts: Mapping[str, str]) -> str:
    """For a terminal: each with the line it is about and a caret beneath; `texts` are the files by name."""
    return "\n\n".join(_block(d, texts) for d in in_order(diagnostics))


def _block(diagnostic: Diagnostic, texts: Mapping[str, str]) -> str:
    d = diagnostic
    lines = [f"{d.severity}: {d.place}: {visible(d.message)} [{d.code}]", *excerpt(d.place, texts)]
    for related in d.related:
        lines += [f"note: {related.place}: {visible(related.message)}", *excerpt(related.place, texts)]
    if d.hint:
        lines.append(f"hint: {visible(d.hint)}")
    return "\n".join(lines)


def excerpt(place: Place, texts: Mapping[str, str]) -> list[str]:
    """The line of a place and a run of carets under it; nothing where the text is not known."""
    lines = texts.get(place.file, "").split("\n")
    if place.line > len(lines) or lines == [""]:
        return []
    shown, offset, width = _window(lines[place.line - 1], place)
    gutter = f"{place.line:>4} | "
    return [(gutter + shown).rstrip(), " " * (len(gutter) - 2) + "| " + " " * offset + "^" * width]


@dataclass(frozen=True, slots=True)
class _Cell:
    """A grapheme as it is shown, and how many columns of the screen it takes."""

    column: int
    shown: str
    width: int


def _cells(text: str, column: int) -> Iterator[_Cell]:
    """The graphemes of a text that begins at `column`; a tab becomes the spaces up to its stop."""
    used = 0
    for grapheme in iter_graphemes(text):
        shown = " " * (TAB - used % TAB) if grapheme == "\t" else visible(grapheme)
        width = max(wcswidth(shown), 0)
        yield _Cell(column, shown, width)
        used += width
        column += len(grapheme)


def _window(text: str, place: Place) -> tuple[str, int, int]:
    """The part of a line around a place, the cells before the carets, and how many carets there are."""
    near = slice(max(0, place.column - 1 - REACH), place.column - 1 + REACH)
    cells = list(_cells(text[near], near.start + 1))
    # a place may begin within a grapheme (a combining mark): then the grapheme is meant
    first = max(sum(c.column <= place.column for c in cells) - 1, 0)
    last = sum(c.column < max(place.end, place.column + 1) for c in cells)
    if place.column > len(text):
        first = last = len(cells)
    begin, end = 0, len(cells)
    if near.start > 0 or near.stop < len(text) or sum(c.width for c in cells) > WINDOW:
        wanted = sum(c.width for c in cells[first:last])
        begin, room = _fitting(cells, first, -1, max(WINDOW // 4, WINDOW - 2 - wanted - WINDOW // 5))
        end, room = _fitting(cells, first, 1, WINDOW - 2 - sum(c.width for c in cells[begin:first]))
        begin, _ = _fitting(cells, begin, -1, room)
    head = "…" if near.start + begin else ""
    tail = "…" if end < len(cells) or near.stop < len(text) else ""
    shown = head + "".join(c.shown for c in cells[begin:end]) + tail
    offset = len(head) + sum(c.width for c in cells[begin:first])
    return shown, offset, max(1, sum(c.width for c in cells[first : min(last, end)]))


def _fitting(cells: Sequence[_Cell], at: int, step: Literal[-1, 1], room: int) -> tuple[int, int]:
    """How far one can go from the border `at` before the room is used up, and what is left of it."""
    while (at > 0 if step < 0 else at < len(cells)) and cells[min(at, at + step)].width <= room:
        room -= cells[min(at, at + step)].width
        at += step
    return at, room


def visible(text: str) -> str:
    """The text with each character that a screen hides, or obeys, written out; line breaks are kept."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\u3000" or _joins(text, i) else _written_out(c)
        for i, c in enumerate(text)
    )


def _joins(text: str, i: int) -> bool:
    """Whether a character does what it is for: it joins an emoji of several, or shapes a script's letters."""
    before, after = text[i - 1 : i], text[i + 1 : i + 2]
    match text[i]:
        case "\u200d":
            return before > "\u0600" and after > "\u0600"
        case "\u200c":
            return before > "\u0600"
        case _:
            return False


def _written_out(character: str) -> str:
    if character < " ":
        return chr(0x2400 + ord(character))  # ␀ and its like
    return f"<U+{ord(character):04X}>"
