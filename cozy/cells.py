"""How wide a text is on a terminal: Chinese takes two columns, a mark upon a letter none."""

from __future__ import annotations

from wcwidth import iter_graphemes, wcswidth


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return max(wcswidth(text), 0)


def clipped(text: str, width: int) -> str:
    """The text, its end replaced by an ellipsis where it takes more than `width` columns."""
    if cells(text) <= width:
        return text
    kept, room = "", width - 1
    for grapheme in iter_graphemes(text):
        room -= cells(grapheme)
        if room < 0:
            break
        kept += grapheme
    return f"{kept}…"
