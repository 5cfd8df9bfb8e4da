"""Documents split into passages: pieces short enough for a prompt, long enough to answer from.

Markdown is cut at its headings and then between blocks; a name that ends in `.txt` means plain text, cut at
blank lines. Blocks of one section share a passage while they fit; a longer one is cut between its lines
(tables, lists) or its sentences, code only where it is longer than a passage may ever be. Passages do not
overlap: each lies under its headings, which are searched with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LONGEST = 800
"""Characters of a passage, where its sentences allow it."""
LONGEST_CODE = 4000
"""Characters of a code block that is kept whole."""
LONGEST_HEADING = 120
SPLITTING = 2
"""Goes up when the same text would be split or indexed otherwise, so that documents are taken in anew."""

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t\u3000]+(.*))?$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)、]|[一二三四五六七八九十]{1,3}、|\|)")
_SENTENCE_END = re.compile(r"[。！？；…]+[”’』」）)]*\s*|(?<![.!?])[.!?]++[\"')\]]*+\s+")
_SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage before it is stored."""

    text: str
    headings: tuple[str, ...]
    """Under which it stands, outermost first."""


@dataclass(slots=True)
class _Section:
    headings: tuple[str, ...]
    blocks: list[_Block] = field(default_factory=list["_Block"])


@dataclass(frozen=True, slots=True)
class _Block:
    text: str
    is_code: bool = False


def split(name: str, text: str) -> list[Piece]:
    """The passages of a document in order; none where it holds nothing but space."""
    lines = text.removeprefix("\ufeff").replace("\f", "\n\n").splitlines()
    sections = [_plain(lines)] if name.lower().endswith(".txt") else _markdown(lines)
    return [
        Piece(body, tuple(title[:LONGEST_HEADING] for title in section.headings))
        for section in sections
        for body in _bodies(section.blocks)
    ]


def _plain(lines: Iterable[str]) -> _Section:
    section, paragraph = _Section(()), list[str]()
    for line in lines:
        if line.strip():
            paragraph.append(line)
        else:
            _close(paragraph, section)
    _close(paragraph, section)
    return section


def _markdown(lines: list[str]) -> list[_Section]:
    section = _Section(())
    sections, paragraph, path = [section], list[str](), dict[int, str]()
    rest = iter(_without_front_matter(lines))

    def enter(level: int, title: str) -> _Section:
        _close(paragraph, section)
        for deeper in [known for known in path if known >= level]:
            del path[deeper]
        if title:
            path[level] = title
        sections.append(_Section(tuple(path[known] for known in sorted(path))))
        return sections[-1]

    for line in rest:
        if fence := _FENCE.match(line):
            _close(paragraph, section)
            section.blocks.append(_Block("\n".join([line, *_until_closed(rest, fence[1])]), is_code=True))
        elif heading := _HEADING.match(line):
            section = enter(len(heading[1]), _title(heading[2] or ""))
        elif (under := _UNDERLINE.match(line)) and paragraph and not _ITEM.match(paragraph[-1]):
            title = _title(" ".join(paragraph))
            paragraph.clear()
            section = enter(1 if under[1][0] == "=" else 2, title)
        elif line.strip():
            paragraph.append(line)
        else:
            _close(paragraph, section)
    _close(paragraph, section)
    return _with_bare_headings(sections)


def _close(paragraph: list[str], section: _Section) -> None:
    if paragraph:
        section.blocks.append(_Block("\n".join(line.rstrip() for line in paragraph)))
        paragraph.clear()


def _title(text: str) -> str:
    return " ".join(re.sub(r"(?:^|[ \t])#+[ \t]*$", "", text).split())


def _without_front_matter(lines: list[str]) -> list[str]:
    """Settings for a site generator, between two `---` at the very top, are not part of the text."""
    if lines and lines[0].rstrip() == "---":
        for number, line in enumerate(lines[1:], start=1):
            if line.rstrip() in {"---", "..."}:
                return lines[number + 1 :]
            if not line.strip():
                break  # a rule, then text
    return lines


def _until_closed(rest: Iterator[str], fence: str) -> Iterator[str]:
    """The lines of a code block with the one that closes it; all that is left where none does."""
    for line in rest:
        yield line
        mark = line.strip()
        if len(mark) >= len(fence) and not mark.strip(fence[0]):
            return


def _with_bare_headings(sections: list[_Section]) -> list[_Section]:
    """A heading with nothing beneath it, not even another heading, is all that its section says."""
    for section, following in zip(sections, [*sections[1:], _Section(())], strict=True):
        depth = len(section.headings)
        if not section.blocks and depth and following.headings[:depth] != section.headings:
            section.blocks.append(_Block(section.headings[-1]))
    return sections


def _bodies(blocks: Iterable[_Block]) -> Iterator[str]:
    """Blocks joined while they fit, torn where one alone does not."""
    held = ""
    for block in blocks:
        for part in _parts(block):
            if held and len(held) + 2 + len(part) > LONGEST:
                yield held
                held = ""
            held = f"{held}\n\n{part}" if held else part
    if held:
        yield held


def _parts(block: _Block) -> list[str]:
    if len(block.text) <= (LONGEST_CODE if block.is_code else LONGEST):
        return [block.text]
    if block.is_code:
        return list(_packed(block.text.splitlines(keepends=True), LONGEST_CODE))
    return list(_packed(_units(block.text), LONGEST))


def _units(text: str) -> Iterator[str]:
    """Sentences, list items, table lines, with the space after them; joined they are `text` again."""
    unit = ""
    for line in text.splitlines(keepends=True):
        if _ITEM.match(line) and unit:
            yield unit
            unit = ""
        start = 0
        for end in _SENTENCE_END.finditer(line):
            yield unit + line[start : end.end()]
            unit, start = "", end.end()
        unit += line[start:]
    if unit:
        yield unit


def _packed(units: Iterable[str], longest: int) -> Iterator[str]:
    """Units joined up to `longest` characters; one that is longer is cut at a space, or anywhere."""
    held = ""
    for unit in units:
        if len(held) + len(unit) > longest and held.strip():
            yield held.strip("\n").rstrip()
            held = ""
        held += unit
        while len(held) > longest:
            spaces = [space.end() for space in _SPACE.finditer(held, longest // 2, longest)]
            cut = spaces[-1] if spaces else longest
            yield held[:cut].strip("\n").rstrip()
            held = held[cut:]
    if held.strip():
        yield held.strip("\n").rstrip()
