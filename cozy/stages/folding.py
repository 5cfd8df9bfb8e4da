"""One part a section, and each thing said once: what `budget` measures and `render_prompt` sends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cozy.stages.values import ContextPart, ContextSection, Fold, Section, Snippet
from cozy.traditional import simplified
from cozy.writing import UNSPACED, folded, unpunctuated

FOLDED: tuple[ContextSection, ...] = ("profile", "memory", "knowledge")
"""Sections whose snippets may say the same; of two, the one of the section named first stays."""
LEAST = 12
"""How much a snippet must say to be folded into a longer one: its characters, Chinese ones counted twice."""
LONGEST = 20_000
"""Longer snippets are compared with nothing."""

_UNSPACED = re.compile(rf"[{UNSPACED}]")
_END = re.compile(r"([。!?;…]+|\.(?=\s|$)|(?:^|\n)\s*(?:[-+*•#>]+\s)?)")
"""Of a sentence in folded text, or of a line, with what marks the next one in Markdown."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What a turn brings, by section."""

    whole: dict[ContextSection, ContextPart]
    """All that was brought."""
    folded: tuple[Fold, ...] = ()
    """What another snippet says."""

    @property
    def parts(self) -> dict[ContextSection, ContextPart]:
        """Without what is folded."""
        gone = {(fold.section, fold.place) for fold in self.folded}
        return {
            name: replace(
                part, snippets=tuple(s for i, s in enumerate(part.snippets) if (name, i) not in gone)
            )
            if any(name == section for section, _ in gone)
            else part
            for name, part in self.whole.items()
        }


def join(parts: Sequence[ContextPart], order: Sequence[Section] = FOLDED) -> Joined:
    """One part a section: two stages that fetch for the same section add up. Snippets of which nothing
    shows are none, and of snippets that say the same one stays.

    The same is what differs in case, width, white space, punctuation and the traditional form alone, and what
    stands in a longer snippet sentence by sentence; then the longer one stays. A part of a sentence is not
    the same: the rest of it may deny it, or say it of somebody else. Of equal ones it is that of the section
    named first in `order`, which is given room first, and in a section the one that fits the turn best.
    """
    joined: dict[ContextSection, ContextPart] = {}
    for part in map(_without_blanks, parts):
        before = joined.get(part.section)
        joined[part.section] = part if before is None else _sum(before, part)
    places = {section: i for i, section in enumerate(order)}
    first_to_last = sorted(FOLDED, key=lambda section: places.get(section, len(places)))
    return Joined(joined, tuple(_folds(joined, first_to_last)))


def _without_blanks(part: ContextPart) -> ContextPart:
    snippets = tuple(s for s in part.snippets if any(c.isprintable() and c != " " for c in s.text))
    return part if len(snippets) == len(part.snippets) else replace(part, snippets=snippets)


def _sum(one: ContextPart, other: ContextPart) -> ContextPart:
    return replace(one, snippets=one.snippets + other.snippets, messages=one.messages + other.messages)


_Found = tuple[ContextSection, int, Snippet]


def _folds(parts: Mapping[ContextSection, ContextPart], order: Sequence[ContextSection]) -> Iterator[Fold]:
    """What another snippet says, and which; whatever others are folded into comes before them."""
    found: list[_Found] = [
        (section, i, snippet)
        for section in order
        if section in parts
        for i, snippet in enumerate(parts[section].snippets)
        if len(snippet.text) <= LONGEST
    ]
    if len(found) < 2:
        return
    said: dict[str, _Found] = {}
    same: list[Fold] = []
    for one in found:
        key = sentences(one[2].text)
        if key in said:
            same.append(_fold(one, said[key]))
        elif key:
            said[key] = one
    longest_first = sorted(said, key=len, reverse=True)
    for i, key in enumerate(longest_first):
        if _weight(key) < LEAST:
            continue
        holder = next((other for other in longest_first[:i] if key in other), None)
        if holder is not None:
            yield _fold(said[key], said[holder])
    yield from same  # last: where one of them is kept after all, the others stay folded into it


def _fold(one: _Found, other: _Found) -> Fold:
    return Fold(one[0], one[2], other[0], other[2], one[1], other[1])


def sentences(text: str) -> str:
    """What is compared: each sentence between line breaks, without case, width and punctuation, a question
    with its sign. So a text holds another one if it has all its sentences in a row. Empty where there is
    none.
    """
    pieces = _END.split(simplified(folded(text)))
    found = [
        key + "?" * ("?" in end)
        for words, end in zip(pieces[::2], [*pieces[1::2], ""], strict=True)
        if (key := unpunctuated(words))
    ]
    return "\n".join(["", *found, ""]) if found else ""


def _weight(key: str) -> int:
    return len(key) if key.isascii() else len(key) + len(_UNSPACED.findall(key))
