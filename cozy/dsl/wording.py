"""Small words of messages: articles, lists of names, durations."""

from __future__ import annotations

from collections.abc import Iterable


def a(name: str) -> str:
    """With its article; a name in backticks is read as it is spoken."""
    spoken = name.strip("`")
    vowel = spoken[:1] in "AEIOUaeio" or spoken.startswith("llm")
    return f"{'an' if vowel else 'a'} {name}"


def quoted(names: Iterable[str]) -> list[str]:
    """Each in backticks."""
    return [f"`{name}`" for name in names]


def any_of(words: Iterable[str]) -> str:
    """`x, y or z`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def all_of(words: Iterable[str]) -> str:
    """`x, y and z`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def duration(seconds: float) -> str:
    """As the language writes it."""
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"
