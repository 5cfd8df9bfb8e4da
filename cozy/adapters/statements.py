"""Statements that people make about themselves, and the rules that know them by their form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONGEST = 80
"""Characters of what somebody likes, is or has; something longer was not understood."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that a user says of themselves."""

    sentence: str
    """As memory keeps it, in the user's language."""
    topic: str
    sub_topic: str
    content: str
    """With `topic` and `sub_topic` a fact of the profile."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Forms of one statement, each a pattern of a whole clause with a group `x`.

    `clean` finds in `x` the things that are stated: none, one, or each of a list. The texts may name `x` and
    the patterns' other groups.
    """

    patterns: Sequence[str]
    clean: Callable[[str], Sequence[str]]
    topic: str
    sub_topic: str
    content: str
    sentence: str

    def read(self, clause: str) -> list[Statement]:
        """What the clause states; nothing where it has another form."""
        for pattern in self.patterns:
            if match := re.fullmatch(pattern, clause, re.IGNORECASE):
                groups = {name: value or "" for name, value in match.groupdict().items()}
                things = [thing for thing in self.clean(groups.pop("x")) if 0 < len(thing) <= LONGEST]
                return [self._statement(groups | {"x": thing}) for thing in things]
        return []

    def _statement(self, groups: dict[str, str]) -> Statement:
        return Statement(
            self.sentence.format(**groups),
            self.topic,
            self.sub_topic.format(**groups).casefold(),
            self.content.format(**groups),
        )


def age(text: str) -> Sequence[str]:
    """`text`, unless its digits are no person's age."""
    return () if text.isdecimal() and not 1 <= int(text) <= 130 else (text,)
