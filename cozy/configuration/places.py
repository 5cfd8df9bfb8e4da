"""Where the keys of a TOML file stand in it, which `tomllib` does not tell."""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence

Key = tuple[str | int, ...]
"""The way to a value, through tables by name and through lists by number:
`("providers", "openai", "models", "gpt-4.1-mini", "price_in")`."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|#[^\n]*"
    r"|[\[\]{}=,.\n]"
    r"|[^\s\[\]{}=,.#\"']+",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ENDS_A_VALUE = frozenset({",", "]", "}", "\n"})


def places_of(text: str) -> Mapping[Key, tuple[int, int]]:
    """Line and column, from 1 and in characters, of each key where it is first named, and of lists' items.

    `text` is what `tomllib` has read without an error: of other texts anything may be said.
    """
    return _Scan(text).places()


def shown_key(path: Sequence[str | int]) -> str:
    """A key as TOML writes it, an item of a list by its number: `providers.openai.models."gpt-4.1".price_in`,
    `server.trusted_proxies[1]`."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            shown += f".{name}" if shown else name
    return shown


class _Scan:
    """Reads a file from its beginning to its end, once."""

    def __init__(self, text: str) -> None:
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._tokens = [found for found in _TOKEN.finditer(text) if not found[0].startswith("#")]
        self._at = 0
        self._tables: dict[Key, int] = {}
        """For each list of tables the number of the one that is being filled."""
        self._found: dict[Key, tuple[int, int]] = {}

    def places(self) -> Mapping[Key, tuple[int, int]]:
        table: Key = ()
        while word := self._peek():
            if word == "\n":
                self._at += 1
            elif word == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _peek(self) -> str:
        """What comes next; empty at the end."""
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _header(self) -> Key:
        """The table that `[a.b]` or `[[a.b]]` begins."""
        self._at += 1
        is_list = self._peek() == "["
        self._at += is_list
        path: Key = ()
        names = self._names("]")
        self._at += is_list
        for place, (name, start) in enumerate(names, start=1):
            path = (*path, name)
            self._mark(path, start)
            if is_list and place == len(names):
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path = (*path, self._tables[path])
                self._mark(path, start)
        return path

    def _pair(self, table: Key) -> None:
        """`key = value`, in a table of its own or one in braces."""
        path = table
        for name, start in self._names("="):
            path = (*path, name)
            self._mark(path, start)
        self._value(path)

    def _names(self, end: str) -> list[tuple[str, int]]:
        """The parts of a dotted key with where each begins; what ends it is taken too."""
        names: list[tuple[str, int]] = []
        while (word := self._peek()) != end:
            if word != ".":
                name = tomllib.loads(f"name = {word}")["name"] if word[0] in "\"'" else word
                names.append((name, self._tokens[self._at].start()))
            self._at += 1
        self._at += 1
        return names

    def _value(self, path: Key) -> None:
        opening = self._peek()
        self._at += 1
        if opening == "[":
            self._items(path)
        elif opening == "{":
            while (word := self._peek()) != "}":
                if word in _ENDS_A_VALUE:
                    self._at += 1
                else:
                    self._pair(path)
            self._at += 1
        else:  # numbers and dates may be several tokens
            while (word := self._peek()) and word not in _ENDS_A_VALUE:
                self._at += 1

    def _items(self, path: Key) -> None:
        number = 0
        while (word := self._peek()) != "]":
            if word in _ENDS_A_VALUE:
                self._at += 1
                continue
            self._mark((*path, number), self._tokens[self._at].start())
            self._value((*path, number))
            number += 1
        self._at += 1

    def _mark(self, path: Key, start: int) -> None:
        line = bisect_right(self._lines, start)
        self._found.setdefault(path, (line, start - self._lines[line - 1] + 1))
