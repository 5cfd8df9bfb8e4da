"""JSON as servers really write it: numbers as strings, characters cut in two, nesting without end."""

from __future__ import annotations

import json
from typing import Any

MAX_COUNT = 10**12
"""Nothing that is counted here comes in greater numbers."""


def parsed(text: str) -> Any:
    """The value that `text` writes. Raises ValueError where it is no JSON, or nested too deeply to read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def whole_number(value: Any) -> int | None:
    """A count or an index, written as a number or as a string of digits; None for anything else."""
    if isinstance(value, str) and len(value) < 20 and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= MAX_COUNT else None  # neither NaN nor an infinity is


class CharacterJoin:
    """Pieces of text that were cut without regard to characters beyond U+FFFF, which JSON may write as two.

    A half that never meets its other half becomes U+FFFD.
    """

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """`text` after what was held back of the piece before; a first half at its end is held back."""
        if self._half:
            text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text

    def end(self) -> str:
        """What stands for a half that is still held back."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""
