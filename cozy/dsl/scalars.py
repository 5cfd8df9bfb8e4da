"""Where a line of a text stands in the file that holds it, for each way in which YAML writes texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Piece = tuple[int, int, str]
"""Index of the file's line, column, what stands there; both from 0."""


def lines_of(lines: Sequence[str], line: int, column: int, parent: int | None) -> list[list[Piece]]:
    """For each line of the text that begins at `line` and `column` of the file: the pieces that make it up.
    `parent` is the column of its key; None for a list's item."""
    rest = lines[line][column:]
    if parent is None:
        parent = max(lines[line].rfind("-", 0, column), 0)
    if rest[:1] in {"|", ">"}:
        return _block(lines, line, rest, parent)
    return _flowing(lines, line, column, parent)


def _block(lines: Sequence[str], line: int, header: str, parent: int) -> list[list[Piece]]:
    body = list(_deeper(lines, line + 1, parent))
    digit = re.match(r"[|>][-+]?([1-9])", header)
    first = next((text for _, text in body if text.strip()), "")
    indent = parent + int(digit[1]) if digit else len(first) - len(first.lstrip(" "))
    pieces = [(index, indent, text[indent:]) for index, text in body]
    if header.startswith("|"):
        return [[piece] for piece in pieces]
    return _folded(pieces, keeps_deeper=True)


def _flowing(lines: Sequence[str], line: int, column: int, parent: int) -> list[list[Piece]]:
    first = lines[line][column:]
    pieces = [(line, column, first)]
    quote = first[:1] if first[:1] in {"'", '"'} else ""
    if not quote or not _closes(first[1:], quote):
        for index, text in _deeper(lines, line + 1, parent):
            content = text.strip()
            pieces.append((index, text.find(content), content))
            if quote and _closes(content, quote):
                break
    if quote == '"':  # each `\n` in it ends a line of the text
        pieces = [
            (i, c + m.start(), m[0])
            for i, c, text in pieces
            for m in re.finditer(r"(?:[^\\]|\\[^n])+|\\n", text)
        ]
        return [list(part) for part in _split_at_escapes(_folded(pieces, keeps_deeper=False))]
    return _folded(pieces, keeps_deeper=False)


def _split_at_escapes(folded: list[list[Piece]]) -> Iterator[list[Piece]]:
    for pieces in folded:
        part: list[Piece] = []
        for piece in pieces:
            if piece[2] == "\\n":
                yield part
                part = []
            else:
                part.append(piece)
        yield part


def _closes(text: str, quote: str) -> bool:
    """Whether a quoted text that goes on here ends here."""
    body = r"(?:[^'])*(?:''[^']*)*'(?!')" if quote == "'" else r'(?:[^"\\]|\\.)*"'
    return re.match(body, text) is not None


def _deeper(lines: Sequence[str], start: int, parent: int) -> Iterator[tuple[int, str]]:
    """The lines that are indented deeper than `parent`, and the blank ones among them."""
    blank: list[tuple[int, str]] = []
    for index in range(start, len(lines)):
        text = lines[index]
        if not text.strip():
            blank.append((index, text))
        elif len(text) - len(text.lstrip(" ")) > parent:
            yield from blank
            blank.clear()
            yield index, text
        else:
            return


def _folded(pieces: Sequence[Piece], *, keeps_deeper: bool) -> list[list[Piece]]:
    """YAML's folding: a line break becomes a space, n blank lines n line breaks."""
    result: list[list[Piece]] = [[]]
    blanks, deeper, last = 0, False, -1
    for piece in pieces:
        index, _, text = piece
        if not text.strip():
            blanks += 1
            continue
        is_deeper = keeps_deeper and text[:1] in {" ", "\t"}
        goes_on = last < 0 or index == last  # nothing is above it, or it is in the same line
        breaks = blanks + (not goes_on and (is_deeper or deeper))
        result += [[] for _ in range(breaks)]
        result[-1].append(piece)
        blanks, deeper, last = 0, is_deeper, index
    return result


def place_of(text: Sequence[Sequence[Piece]], line: int, needle: str) -> tuple[int, int, int]:
    """Line, column (from 0) and length of `needle` in line `line` (from 1) of a text; of all that is in the
    line, where it is not there."""
    here = list(text[line - 1]) if 0 < line <= len(text) else []
    pieces = here or [piece for pieces in text for piece in pieces]
    for index, column, content in pieces if needle else ():
        start = _find(content, needle)
        if start is not None:
            return index, column + start, len(needle)
    index, column, content = next((p for p in pieces if p[2].strip()), pieces[0] if pieces else (0, 0, ""))
    lead = len(content) - len(content.lstrip())
    return index, column + lead, max(len(content.strip()), 1)


def _find(content: str, needle: str) -> int | None:
    """Where a needle stands as a word, in braces if it does so there; else where it stands at all."""
    edges = (r"(?<!\w)" if needle[:1].isidentifier() else "", r"(?!\w)" if needle[-1:].isidentifier() else "")
    words = [m.start() for m in re.finditer(re.escape(needle).join(edges), content)]
    inside = [w for w in words if content.count("{", 0, w) > content.count("}", 0, w)]
    return next(iter(inside or words), None)
