"""Text from outside, made fit for a screen."""

from __future__ import annotations

import re

from cozy.cells import clipped

# what moves a cursor, changes colours or turns the reading order of a line: models, documents and names may
# hold it, a terminal must not obey it
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """The text without characters that a terminal would obey; line breaks and tabs stay."""
    return _OBEYED.sub("", text)


def one_line(text: str, width: int) -> str:
    """The text on one line of at most `width` cells, an ellipsis at its end where something is left out."""
    return clipped(" ".join(safe(text).split()), width)
