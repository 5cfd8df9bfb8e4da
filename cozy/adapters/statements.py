"""Statements that people make about themselves, and the rules that know them by their form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 80
"""Characters of what somebody likes, is or has; something longer was not understood."""

Matter = tuple[str, str]
"""A topic and sub-topic: what one statement about it says takes the place of what another one said."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that a user says of themselves."""

    sentence: str
    """As memory keeps it, in the user's language."""
    topic: str
    sub_topic: str
    content: str
    """With `topic` and `sub_topic` a fact of the profile."""

    @property
    def matter(self) -> Matter:
        return self.topic, self.sub_topic


def _whole(thing: str) -> tuple[str, str]:
    return "", thing


def _same(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Rule:
    """Forms of one statement, each a pattern of a whole clause with a group `x`.

    `clean` finds in `x` the things that are stated: none, one, or each of a list. The texts may name `x`, the
    patterns' other groups, and what `apart` takes `x` apart into: `verb` and `thing`.
    """

    patterns: Sequence[str]
    clean: Callable[[str], Sequence[str]]
    topic: str
    sub_topic: str
    content: str
    sentence: str
    apart: Callable[[str], tuple[str, str]] = _whole

    def read(self, clause: str, as_written: Callable[[str], str] = _same) -> list[Statement]:
        """What the clause states; nothing where it has another form. `as_written` gives the writing of what
        is found in it."""
        for pattern in self.patterns:
            if match := re.fullmatch(pattern, clause, re.IGNORECASE):
                groups = {name: as_written(value or "") for name, value in match.groupdict().items()}
                things = [as_written(thing) for thing in self.clean(match["x"]) if 0 < len(thing) <= LONGEST]
                return [self._statement(groups | {"x": thing}) for thing in things]
        return []

    def matter_of(self, sentence: str) -> Matter | None:
        """What a sentence that this rule has made is about; None for any other."""
        match = _form(self.sentence).fullmatch(sentence)
        return self._statement(match.groupdict()).matter if match else None

    def _statement(self, groups: dict[str, str]) -> Statement:
        groups["verb"], groups["thing"] = self.apart(groups["x"])
        return Statement(
            self.sentence.format(**groups),
            self.topic,
            self.sub_topic.format(**groups).casefold(),
            self.content.format(**groups),
        )


_GROUPS = {
    "x": ".+",
    "a": "(?:an? ?)?",
    "many": r"[一二两三四五\d兩][只条个匹隻條個]|an?|one|two|three|four|five|\d",
}


@lru_cache(maxsize=256)
def _form(sentence: str) -> re.Pattern[str]:
    """How sentences look that were made by this template."""
    form = re.sub(
        r"\\\{(\w+)\\\}", lambda name: f"(?P<{name[1]}>{_GROUPS.get(name[1], '.*?')})", re.escape(sentence)
    )
    return re.compile(form, re.IGNORECASE)


def age(text: str) -> Sequence[str]:
    """`text`, unless its digits are no person's age."""
    return () if text.isdecimal() and not 1 <= int(text) <= 130 else (text,)
