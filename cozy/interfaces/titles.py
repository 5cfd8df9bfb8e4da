"""What a conversation is called as long as nobody has named it."""

from __future__ import annotations

import re

from wcwidth import iter_graphemes

LONGEST = 50
"""Characters."""
AROUND = " \t\"'`*#_“”‘’「」『』《》〈〉【】[]()（）-–—·•。.，,、：:；;"
"""What does not stand at either end of a title."""
_SENTENCE = re.compile(r"[。！？!?…\n]|\.(?=\s|$)")


def first_words(text: str) -> str:
    """The first sentence of a message, or as much of it as a title may have; empty where it says nothing."""
    sentences = (" ".join(part.split()).strip(AROUND) for part in _SENTENCE.split(text[:2000]))
    return cut(next((s for s in sentences if any(c.isalnum() for c in s)), ""))


def cut(text: str, longest: int = LONGEST) -> str:
    """At most so many code points, and no character torn: an accent stays with its letter, a flag whole."""
    if len(text) <= longest:
        return text
    end = 0
    for grapheme in iter_graphemes(text):
        if end + len(grapheme) > longest:
            break
        end += len(grapheme)
    return text[:end].rstrip()
