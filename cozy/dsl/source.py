"""A file's bytes → text that a parser may be given: of bounded size, UTF-8, without characters that hide."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cozy.dsl.diagnostics import Diagnostic, Place, error
from cozy.dsl.layout import deepest, structure

MAX_BYTES = 256 * 1024
MAX_ENTRIES = 1000
"""Keys and list items; the parser's time grows with their square."""
MAX_DEPTH = 32

_UTF8_BOM = b"\xef\xbb\xbf"
_BOMS = {  # the longer ones first: UTF-32's begins with UTF-16's
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
# controls, line breaks to YAML that are none to an editor, byte order marks inside, and what is no character
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

_NAMED = {
    "\0": "a NUL byte",
    "\r": "a carriage return without a line feed",
    "\ufeff": "a byte order mark",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file as text, or why it cannot be read."""

    raw: bytes
    text: str
    """Without a byte order mark, with `\\n` at the end of lines. Of a file in another encoding: what it seems
    to say, for excerpts."""
    problem: Diagnostic | None = None


def read_source(path: Path, name: str) -> Source:
    """The text of a file; it never waits (for a pipe's other end, say) and reads no more than MAX_BYTES."""
    start = Place(name, 1, 1, 0)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Source(b"", "", _not_a_file(status.st_mode, start))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as problem:
        return Source(b"", "", _unreadable(problem, path, start))
    if len(raw) > MAX_BYTES:
        return Source(
            raw,
            "",
            error(
                "CZ003",
                f"the file is larger than {MAX_BYTES // 1024} KiB",
                start,
                "put long texts into a knowledge dataset: `cozy knowledge add PATH --dataset NAME`",
            ),
        )
    return _decoded(raw, name)


def _not_a_file(mode: int, place: Place) -> Diagnostic:
    if stat.S_ISDIR(mode):
        return error("CZ002", "this is a folder, not a file", place, "name the files in it, or its parent")
    return error("CZ002", "this is not a regular file (a pipe, a socket or a device)", place)


def _unreadable(problem: OSError, path: Path, place: Place) -> Diagnostic:
    match problem:
        case FileNotFoundError() if path.is_symlink():
            target = path.readlink()
            return error("CZ001", f"the link points to `{target}`, which does not exist", place)
        case FileNotFoundError() | NotADirectoryError():
            return error("CZ001", "there is no such file", place)
        case PermissionError():
            return error("CZ001", "the file may not be read", place, "give yourself the right to read it")
        case _:
            return error("CZ001", f"the file cannot be read: {os.strerror(problem.errno or 0)}", place)


def _decoded(raw: bytes, name: str) -> Source:
    for bom, encoding in _BOMS.items():
        if raw.startswith(bom):
            return _other_encoding(raw, name, encoding, 0, "it begins with the mark of that encoding")
    body = raw.removeprefix(_UTF8_BOM)
    pairs = len(body) // 2
    if pairs and max(body[0::2].count(0), body[1::2].count(0)) > pairs * 0.4:
        encoding = "UTF-16LE" if body[1::2].count(0) > body[0::2].count(0) else "UTF-16BE"
        return _other_encoding(body, name, encoding, 0, "every other byte is zero")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as problem:
        return _other_encoding(body, name, _guess(body), problem.start, "")
    text = text.replace("\r\n", "\n")
    return Source(raw, text, _hidden(text, name))


def _guess(body: bytes) -> str:
    """In GBK, as in other encodings of Chinese, bytes beyond ASCII come in pairs; in Latin-1 mostly alone."""
    runs = re.findall(rb"[\x80-\xff]+", body)
    return "GB18030" if sum(len(run) % 2 == 0 for run in runs) * 2 >= len(runs) else "Windows-1252"


def _other_encoding(body: bytes, name: str, encoding: str, offset: int, reason: str) -> Source:
    before = body[:offset]
    column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
    place = Place(name, before.count(b"\n") + 1, column)
    why = reason or f"byte 0x{body[offset]:02X} at offset {offset} is not UTF-8"
    return Source(
        body,
        body.decode(encoding, "replace").removeprefix("\ufeff").replace("\r\n", "\n"),
        error(
            "CZ004",
            f"the file is not UTF-8, it looks like {encoding}: {why}",
            place,
            f"save it as UTF-8 in your editor, or: `iconv -f {encoding} -t UTF-8 {name} > new.yaml`",
        ),
    )


def _hidden(text: str, name: str) -> Diagnostic | None:
    found = next(_HIDDEN.finditer(text), None)
    if found is None:
        return None
    start, character = found.start(), found[0]
    line_start = text.rfind("\n", 0, start) + 1
    place = Place(name, text.count("\n", 0, start) + 1, start - line_start + 1)
    what = _NAMED.get(character) or unicodedata.name(character, "a control character").lower()
    message = f"there is a character that does not show: U+{ord(character):04X}, {what}"
    return error("CZ005", message, place, "delete it")


def too_much(text: str, name: str) -> Diagnostic | None:
    """What is wrong with a text that would take the parser too long."""
    lines = list(structure(text.split("\n")))
    entries = sum(line.depth for line in lines)
    if entries > MAX_ENTRIES:
        return error(
            "CZ003",
            f"the file has {entries} keys and list items, more than {MAX_ENTRIES}",
            Place(name, 1, 1, 0),
            "split it: stages that several personalities share belong in a file under `pipelines/`",
        )
    depth, line = deepest(lines)
    if line is not None and depth > MAX_DEPTH:
        return error(
            "CZ020",
            f"mappings and lists are nested {depth} deep, more than {MAX_DEPTH}",
            Place(name, line.index + 1, line.indent + 1),
        )
    return None
