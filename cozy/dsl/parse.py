"""YAML → values that keep their line and column.

strictyaml decides what is YAML here; this module asks it only for text, mappings and lists, and puts its
complaints into words of our own. Nothing that a file can hold raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cozy.dsl.cache import Cache
from cozy.dsl.diagnostics import Diagnostic, Place, error
from cozy.dsl.layout import entry_end
from cozy.dsl.page import Complaint, Mistake
from cozy.dsl.scalars import lines_of, place_of
from cozy.dsl.source import read_source, too_much
from cozy.dsl.syntax import explained

KeyPath = tuple[str | int, ...]
"""Where a value stands in a document: keys of mappings and indices of lists, from the top."""
Position = tuple[int, int, int, int, int, int]
"""Line, column and length of a key, then of its value; from 1. A list's item is its own key."""

MAX_MISTAKES = 10
"""How many mistakes of its YAML a file is read past, to find the rest."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: its values, and where each of them stands."""

    path: Path
    name: str
    """As it is shown to people."""
    text: str
    """Without its byte order mark, with `\\n` at the end of lines."""
    data: Mapping[str, Any]
    """Mappings, lists and texts."""
    positions: Mapping[KeyPath, Position]

    def key(self, *path: str | int) -> Place:
        """The key at `path` (of a list's item: the item). Parts that are not in the file are passed over, so
        a key that is missing is told of at its parent's."""
        line, column, length, *_ = self._position(path)
        return Place(self.name, line, column, length)

    def value(self, *path: str | int) -> Place:
        """The value at `path`: a text on its first line; of a mapping, a list or no value, its key."""
        *_, line, column, length = self._position(path)
        return Place(self.name, line, column, length)

    def inside(self, path: KeyPath, line: int, needle: str = "") -> Place:
        """Where `needle` stands in line `line` (from 1) of the text at `path`, however it is written: block,
        quoted or plain. Without a needle, or where it is not found, all that is in that line."""
        known = self._known(path)
        if not known:
            return self.key()
        _, key_column, _, start_line, start_column, _ = self.positions[known]
        is_item = isinstance(known[-1], int)
        lines = self.text.split("\n")
        text = lines_of(lines, start_line - 1, start_column - 1, None if is_item else key_column - 1)
        index, column, length = place_of(text, line, needle)
        return Place(self.name, index + 1, column + 1, length)

    def _known(self, path: Sequence[str | int]) -> KeyPath:
        known: KeyPath = ()
        for part in path:
            if (*known, part) in self.positions:
                known = (*known, part)
        return known

    def _position(self, path: Sequence[str | int]) -> Position:
        return self.positions.get(self._known(path)) or next(
            iter(self.positions.values()), (1, 1, 0, 1, 1, 0)
        )


@dataclass(frozen=True, slots=True)
class Parsed:
    """What came of a file."""

    text: str
    """For excerpts."""
    document: Document | None
    """Where its YAML has mistakes: what could be read around them, if anything."""
    diagnostics: tuple[Diagnostic, ...] = ()


def parse_file(path: Path, name: str, cache: Cache | None = None) -> Parsed:
    """Read one file; `name` is how it is shown."""
    source = read_source(path, name)
    if source.problem is not None:
        return Parsed(source.text, None, (source.problem,))
    stored = cache.load(path, source.raw) if cache else None
    if stored is not None:
        return Parsed(source.text, Document(path, name, source.text, *stored))
    parsed = parse_text(source.text, path, name)
    if cache and parsed.document is not None and not parsed.diagnostics:
        cache.store(path, source.raw, (parsed.document.data, parsed.document.positions))
    return parsed


def parse_text(text: str, path: Path, name: str) -> Parsed:
    """The same for a text at hand, with `\\n` at the end of lines."""
    if problem := too_much(text, name):
        return Parsed(text, None, (problem,))
    lines = text.split("\n")
    found: list[Diagnostic] = []
    while len(found) < MAX_MISTAKES:
        tree = _tree("\n".join(lines), name)
        if not isinstance(tree, Mistake):
            break
        found.append(tree.diagnostic)
        index = tree.diagnostic.place.line - 1
        if not tree.local or not lines[index].strip():
            return Parsed(text, None, tuple(found))
        end = entry_end(lines, index)
        lines[index:end] = [""] * (end - index)
    else:
        return Parsed(text, None, tuple(found))
    if not isinstance(tree, dict):
        return Parsed(text, None, tuple(found) or (_not_a_mapping(tree, text, name),))
    positions: dict[KeyPath, Position] = {}
    data = _values(tree, (), positions, lines)
    return Parsed(text, Document(path, name, text, data, positions), tuple(found))


def _tree(text: str, name: str) -> Any:
    """strictyaml's tree: subclasses of dict and list that know where their entries stand, or a text. Or the
    Mistake that keeps it from reading."""
    import strictyaml  # pyright: ignore[reportMissingTypeStubs]

    load: Callable[[str], Any] = cast("Any", strictyaml).load
    try:
        return load(text).as_marked_up()
    except strictyaml.YAMLError as problem:
        marked = cast("Any", problem)
        complaint = Complaint(
            kind=type(problem).__name__,
            context=marked.context or "",
            context_at=_at(marked.context_mark),
            problem=marked.problem or "",
            problem_at=_at(marked.problem_mark),
        )
        return explained(complaint, text.split("\n"), name)
    except RecursionError:
        return Mistake(
            error("CZ020", "mappings and lists are nested too deeply", Place(name, 1, 1, 0)), False
        )
    except Exception as problem:  # an old parser and a hostile file: it may raise anything
        return explained(Complaint(type(problem).__name__, "", None, "", None), text.split("\n"), name)


def _at(mark: Any) -> tuple[int, int] | None:
    return None if mark is None else (mark.line, mark.column)


def _not_a_mapping(tree: Any, text: str, name: str) -> Diagnostic:
    lines = text.split("\n")
    first = next(
        (i for i, x in enumerate(lines) if x.strip() and not x.lstrip().startswith(("#", "---"))), None
    )
    if first is None:
        return error(
            "CZ006",
            "the file holds only comments" if text.strip() else "the file is empty",
            Place(name, 1, 1, 0),
            "`cozy new NAME` writes a personality to begin with",
        )
    column = len(lines[first]) - len(lines[first].lstrip())
    place = Place(name, first + 1, column + 1, len(lines[first].strip()))
    if isinstance(tree, list):
        return error(
            "CZ007", "the file is a list", place, "it should be `key: value` lines: leave out the dashes"
        )
    complaint = Complaint(
        "ScannerError", "while scanning a simple key", (first, column), "could not find expected ':'", None
    )
    mistake = explained(complaint, lines, name).diagnostic
    if mistake.code == "CZ016" and mistake.place.column == column + 1:  # no typo of a colon
        return error(
            "CZ007", "the file is one text", place, "it should be `key: value` lines, such as `id: mia`"
        )
    return mistake


def _values(node: Any, path: KeyPath, positions: dict[KeyPath, Position], lines: Sequence[str]) -> Any:
    """Plain values, and where they stand."""
    if isinstance(node, dict):
        mapping = cast("dict[Any, Any]", node)
        places: Mapping[Any, tuple[int, int, int, int]] = cast("Any", mapping).lc.data
        result: dict[str, Any] = {}
        for key, value in mapping.items():
            line, column, value_line, value_column = places[key]
            here = (line + 1, column + 1, _length(lines, line, column, str(key)))
            positions[*path, str(key)] = (*here, *_value_place(value, lines, value_line, value_column, here))
            result[str(key)] = _values(value, (*path, str(key)), positions, lines)
        return result
    if isinstance(node, list):
        items = cast("list[Any]", node)
        item_places: Mapping[int, tuple[int, int]] = cast("Any", items).lc.data
        for i, value in enumerate(items):
            line, column = item_places[i]
            dash = lines[line].rfind("-", 0, column + 1)
            here = (line + 1, max(dash, 0) + 1, 1)
            if isinstance(value, (dict, list)):
                here = (line + 1, column + 1, _length(lines, line, column, ""))
            item = _value_place(value, lines, line, column, here)
            positions[*path, i] = (*item, *item)
        return [_values(value, (*path, i), positions, lines) for i, value in enumerate(items)]
    return str(node)


def _value_place(
    value: Any, lines: Sequence[str], line: int, column: int, key: tuple[int, int, int]
) -> tuple[int, int, int]:
    if isinstance(value, (dict, list)) or (not value and lines[line][column : column + 1] not in {"'", '"'}):
        return key
    return line + 1, column + 1, _length(lines, line, column, str(cast("object", value)))


_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")


def _length(lines: Sequence[str], line: int, column: int, value: str) -> int:
    """How much of its first line a text takes: all of it, where it ends there."""
    rest = lines[line][column:]
    if quoted := _QUOTED.match(rest):
        return quoted.end()
    if value and rest.startswith(value):
        return len(value)
    if not value:
        word = re.match(r"[^\s:]+", rest)
        return word.end() if word else 1
    return len(re.split(r"\s+#", rest, maxsplit=1)[0].rstrip()) or 1
