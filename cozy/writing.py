"""How text is written: case, width, and scripts without spaces between words."""

from __future__ import annotations

import re
import unicodedata

from wcwidth import iter_graphemes

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U000323af"
)
"""Chinese, Japanese, Korean, Thai and their neighbours, as ranges for a regular expression's `[ ]`."""


_SPACE_AT_UNSPACED = re.compile(rf"(?<=[{UNSPACED}]) | (?=[{UNSPACED}])")
_SPACED = re.compile(rf"[^\W{UNSPACED}]")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0e\ufe0f\ufeff]")
"""Signs of no width: they come with what is copied from elsewhere."""
# of sentences; the signs of `C++`, `C#`, `3.5`, `-5` make a difference
_PUNCTUATION = re.compile(
    r"(?<![0-9])[.,:]|[.,:](?![0-9])|[;!?…。、；：！？“”‘’\"'`()（）《》「」『』【】\[\]*_~—]"
)

LONGEST_CHARACTER = 32
"""Code points of what is seen as one character, at most: a family with skin tones has eleven."""


def folded(text: str) -> str:
    """`text` without differences of case and width: NFKC, lower case as comparisons take it, no sign that
    does not show."""
    # a second time, because folding case can undo the first
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).casefold())


def fingerprint(text: str) -> str:
    """`text` without case, width and punctuation: the same for texts that say the same. May be empty."""
    return unpunctuated(folded(text))


def unpunctuated(text: str) -> str:
    """Folded text without punctuation, and without space where scripts need none."""
    words = " ".join(_PUNCTUATION.sub(" ", text).split())
    return _SPACE_AT_UNSPACED.sub("", words)


def runs_on(text: str, at: int) -> bool:
    """Whether a word of a script that puts spaces between words runs on through `at`."""
    return 0 < at < len(text) and bool(_SPACED.match(text[at - 1]) and _SPACED.match(text[at]))


def beginning(text: str, most: int) -> str:
    """At most so many characters of `text`, and no part of what is seen as one: an emoji of several, a letter
    with its accent."""
    if len(text) <= most:
        return text
    end = 0
    for grapheme in iter_graphemes(text[: most + 1 + LONGEST_CHARACTER]):
        if end + len(grapheme) > most:
            break
        end += len(grapheme)
    is_endless = end <= most - LONGEST_CHARACTER  # an accent upon accents
    return text[: most if is_endless else end]


def in_tags(tag: str, text: str) -> str:
    """The text between `<tag>` and `</tag>`, as material for a model: nothing in it closes them."""
    loose = re.sub(rf"<(?=/?\s*{tag}\b)", "< ", text, flags=re.IGNORECASE)
    return f"<{tag}>\n{loose}\n</{tag}>"
