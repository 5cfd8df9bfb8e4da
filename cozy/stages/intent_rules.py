"""What a message is about, told by rules: keywords and patterns for each label."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Annotated, Any, cast

import regex
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from cozy.stages.base import Names, Settings
from cozy.traditional import simplified
from cozy.writing import folded, runs_on

SEEN = 2000
"""Characters of a message that rules look at."""
PATIENCE_S = 0.05
"""What all patterns of a stage together may take for one message: one that runs away does not fit."""
LONGEST_PATTERN = 500
MOST_REPEATS = 10_000
"""The counts of a pattern, one times the other: `regex` writes them out, which a slip makes gigabytes."""

_WORD = re.compile(r"\w")
_PARTICLES = frozenset("啊呀呢吧嘛哦噢喔嗯哈啦咯哟哇诶欸了")
"""They may stand beside the words of a `whole` message; 吗 makes a question of them."""
_APOSTROPHES = str.maketrans("‘’ʼ", "'''")


def _compiles(pattern: str) -> str:
    times = prod(max(1, int(count)) for count in re.findall(r"\{\s*(\d+)", pattern))
    if times > MOST_REPEATS:
        raise PydanticCustomError(
            "pattern", "it repeats something more than {most} times", {"most": MOST_REPEATS}
        )
    try:
        compiled(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        said = str(error) or type(error).__name__
        raise PydanticCustomError("pattern", "{said}", {"said": said}) from None
    return pattern


PatternText = Annotated[
    str, Field(min_length=1, max_length=LONGEST_PATTERN), AfterValidator(_compiles), "pattern"
]


class IntentRule(Settings):
    """When a message has a label."""

    description: str = ""
    """What the label stands for, for a `model` that chooses."""
    keywords: Names = ()
    """Words that tell it: Latin ones as whole words, Chinese ones wherever they stand. Case, width and the
    traditional form make no difference."""
    patterns: tuple[PatternText, ...] = ()
    """Regular expressions that tell it, wherever in the message they fit; they see it in lower case, with
    half-width signs and simplified characters, and each run of white space as one blank."""
    whole: bool = False
    """Keywords and patterns must make up the whole message, punctuation and particles aside: a greeting
    before a question is no small talk."""
    max_length: int | None = Field(default=None, ge=1, le=SEEN)
    """A message of more characters does not get this label by its rules."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What the rules say of a message."""

    label: str | None = None
    """None: none of them fits."""
    matched: str = ""
    """The words that decided."""
    late: bool = False
    """Patterns ran out of time."""


class _TooLate(Exception):
    """The time for patterns is used up."""


class Rules:
    """The rules of all labels, compiled; the first label in order whose rule fits is the message's."""

    def __init__(self, rules: Mapping[str, IntentRule]) -> None:
        self._rules = [_Rule.of(label, rule) for label, rule in rules.items()]

    def fit(self, message: str) -> Fit:
        text = seen(message)
        clock = _Clock(perf_counter() + PATIENCE_S)
        is_late = False
        for rule in self._rules:
            try:
                matched = rule.fits(text, clock)
            except _TooLate:  # keywords of later labels need no patience
                is_late = True
                continue
            if matched is not None:
                return Fit(rule.label, matched, is_late)
        return Fit(late=is_late)


def seen(message: str) -> str:
    """The message as rules see it; a character more than `SEEN` where it goes on."""
    text = simplified(folded(message[: 2 * SEEN].translate(_APOSTROPHES)))
    text = " ".join(text.split())[: SEEN + 1]
    # white space, or signs that go, can leave less of what was looked at than that
    return text.ljust(SEEN + 1) if message[2 * SEEN :].strip() else text


@dataclass(frozen=True, slots=True)
class _Clock:
    """When patterns have to have come to an end."""

    until: float

    def found(self, pattern: Any, text: str) -> Iterator[tuple[int, int]]:
        """Where a pattern fits. Raises _TooLate."""
        left = self.until - perf_counter()
        if left <= 0:
            raise _TooLate
        try:
            for match in pattern.finditer(text, timeout=left):
                yield match.span()
        except TimeoutError:
            raise _TooLate from None


@dataclass(frozen=True, slots=True)
class _Rule:
    label: str
    keywords: _Words
    patterns: Sequence[Any]
    whole: bool
    longest: int

    @staticmethod
    def of(label: str, rule: IntentRule) -> _Rule:
        return _Rule(
            label,
            _Words.of(rule.keywords),
            [compiled(pattern) for pattern in rule.patterns],
            rule.whole,
            rule.max_length or (SEEN if rule.whole else SEEN + 1),
        )

    def fits(self, text: str, clock: _Clock) -> str | None:
        """The words that tell the label; None where it does not fit. Raises _TooLate."""
        if len(text) > self.longest:
            return None
        if not self.whole:
            first = next(self._spans(text[:SEEN], clock), None)
            return None if first is None else text[first[0] : first[1]]
        left = bytearray(b"\1") * len(text)
        for start, end in self._spans(text, clock):
            left[start:end] = bytes(end - start)
        rest = [c for c, is_left in zip(text, left, strict=True) if is_left]
        is_whole = not all(left) and not any(_WORD.match(c) and c not in _PARTICLES for c in rest)
        return text if is_whole else None

    def _spans(self, text: str, clock: _Clock) -> Iterator[tuple[int, int]]:
        yield from self.keywords.spans(text)
        for pattern in self.patterns:
            yield from clock.found(pattern, text)


@dataclass(frozen=True, slots=True)
class _Words:
    """Keywords, looked up one by one: thousands of them cost no more than a few."""

    known: frozenset[str]
    lengths: Mapping[str, Sequence[int]]
    """First character → how long the words are that begin with it, the longest first."""

    @staticmethod
    def of(keywords: Sequence[str]) -> _Words:
        known = frozenset(word for keyword in keywords if (word := seen(keyword)))
        lengths: dict[str, set[int]] = {}
        for word in known:
            lengths.setdefault(word[0], set()).add(len(word))
        return _Words(known, {first: sorted(found, reverse=True) for first, found in lengths.items()})

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they stand; a word of a spaced script is no part of a longer one."""
        at = 0
        while at < len(text):
            end = self._end(text, at)
            if end > at:
                yield at, end
            at = max(end, at + 1)

    def _end(self, text: str, at: int) -> int:
        """Of the longest word that stands here; 0: none does."""
        for length in self.lengths.get(text[at], ()):
            end = at + length
            is_known = end <= len(text) and text[at:end] in self.known  # beyond the end stands a shorter one
            if is_known and not (runs_on(text, at) or runs_on(text, end)):
                return end
        return 0


def compiled(pattern: str) -> Any:
    """A pattern as it is matched with what `seen` gives. Raises regex.error.

    `regex` and not `re`: it can be given a time after which it stops.
    """
    compile_ = cast("Any", regex.compile)  # pyright: ignore[reportUnknownMemberType]
    try:
        return compile_("".join(map(_as_seen, unicodedata.normalize("NFC", pattern))), regex.IGNORECASE)
    except regex.error:
        return compile_(pattern, regex.IGNORECASE)  # tells of the pattern as it is written, if it is wrong


def _as_seen(character: str) -> str:
    """A character of a pattern as messages have it: full-width signs are the half-width ones themselves."""
    if character.isascii():
        return character
    text = simplified(folded(character.translate(_APOSTROPHES)))
    if not text:  # it has no width: messages come without it
        return ""
    if text == character:
        return character
    return regex.escape(text) if len(text) == 1 else f"(?:{regex.escape(text)})"
