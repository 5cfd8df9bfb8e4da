"""Lines of a YAML file by their indentation: good enough to explain a mistake or to bound a file, while the
values themselves are read by the parser."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_LINE = re.compile(
    r"""(?P<indent>[ \t]*)
        (?P<dashes>(?:[-?](?:[ ]+|$))*)
        (?:(?P<key>'(?:[^']|'')*' | "(?:[^"\\]|\\.)*" | [^\s'"\#|>&*!%@`\[\]{},:] [^:\#]{0,200}? | <<)
           [ ]{0,8}:(?=[ ]|$))?
        [ ]*(?P<value>.*)""",
    re.VERBOSE,
)
_BLOCK = re.compile(r"[|>][-+0-9]*[ ]*(#.*)?$")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that holds a key, an item or a piece of text; blank ones, comments and block texts do not."""

    index: int
    """From 0."""
    indent: int
    """Characters in front."""
    dashes: str
    """The `- ` of list items (and the `? ` that the language does not have)."""
    key: str | None
    """As written, quotes included."""
    value: str
    """What follows, comments included."""

    @property
    def level(self) -> int:
        """Where its content begins; what is indented deeper belongs to it."""
        return self.indent + len(self.dashes)

    @property
    def depth(self) -> int:
        """How many collections it is part of, by itself."""
        return len(self.dashes.split()) + (self.key is not None)

    @property
    def opens_block(self) -> bool:
        """A text in `|` or `>` begins here."""
        return _BLOCK.match(self.value) is not None


def structure(lines: Sequence[str]) -> Iterator[Line]:
    """The lines that make up the file's mappings and lists."""
    block: int | None = None  # what is indented deeper than this is text
    for index, text in enumerate(lines):
        content = text.lstrip(" \t")
        indent = len(text) - len(content)
        if not content or (block is not None and indent > block):
            continue
        block = None
        match = _LINE.match(text)
        if match is None or content.startswith("#"):
            continue
        line = Line(index, indent, match["dashes"], match["key"], match["value"])
        if line.opens_block:
            # a key's text is indented deeper than the key, an item's deeper than its dash
            block = line.level if line.key is not None else indent
        yield line


def deepest(lines: Iterable[Line]) -> tuple[int, Line | None]:
    """The deepest nesting of collections, and the first line that reaches it. A list that is not indented
    below its key counts one less."""
    stack: list[tuple[int, int]] = []  # indentation, depth
    most, where = 0, None
    for line in lines:
        while stack and stack[-1][0] >= line.indent:
            stack.pop()
        here = (stack[-1][1] if stack else 0) + line.depth
        if here > most:
            most, where = here, line
        stack.append((line.indent, here))
    return most, where


def first_duplicate(lines: Iterable[Line]) -> Line | None:
    """The first line whose key its mapping has already."""
    scopes: list[tuple[int, set[str]]] = []  # where the keys of a mapping begin, and those there are
    for line in lines:
        # a dash begins a mapping of its own
        inner = line.indent if line.dashes else line.level
        while scopes and scopes[-1][0] > inner:
            scopes.pop()
        if line.key is None:
            continue
        if not scopes or scopes[-1][0] < line.level:
            scopes.append((line.level, set()))
        key = line.key.strip("'\"")
        if key in scopes[-1][1]:
            return line
        scopes[-1][1].add(key)
    return None


def entry_end(lines: Sequence[str], index: int) -> int:
    """The index behind an entry's last line: what is indented deeper is part of it, and so are the items of
    its list."""
    first = lines[index].lstrip(" ")
    indent = len(lines[index]) - len(first)
    end = index + 1
    for i in range(index + 1, len(lines)):
        content = lines[i].lstrip(" \t")
        here = len(lines[i]) - len(content)
        if not content:
            continue
        is_own_item = here == indent and content.startswith("- ") and not first.startswith("- ")
        if here <= indent and not is_own_item:
            break
        end = i + 1
    return end
