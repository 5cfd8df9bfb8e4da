"""Text files from paths that somebody named, for `cozy knowledge add`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cozy.errors import CozyError

ENDINGS = (".md", ".markdown", ".txt")
"""What is taken of a folder; a file that is named itself may be called anything."""
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True, slots=True)
class Found:
    """A file to be read, and what it will be called."""

    path: Path
    name: str


def found_in(paths: Sequence[Path]) -> Iterator[Found]:
    """The files under these paths, in order; of folders those with a known ending, hidden ones left out.

    A file is called as seen from here; one that lies elsewhere by the folder that was named and its place
    within it. Raises CozyError for a path that is not there.
    """
    for path in paths:
        if path.is_dir():
            for file in _walk(path):
                yield Found(file, _name(file, path.resolve().parent))
        elif path.is_file():
            yield Found(path, _name(path, path.resolve().parent))
        else:
            raise CozyError(f"there is no file or folder `{path}`")


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(ENDINGS):
                yield Path(here) / name


def _name(file: Path, named_from: Path) -> str:
    here = Path.cwd()
    whole = Path(os.path.normpath(here / file))  # not resolved: links keep their own names
    return whole.relative_to(here if whole.is_relative_to(here) else named_from).as_posix()


def read_text(path: Path) -> str:
    """The text of a file. Raises CozyError that says in which encoding it seems to be."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CozyError(f"cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CozyError(f"not UTF-8 (byte {error.start + 1})", hint=_encoding_hint(data)) from None
    if "\0" in text:
        raise CozyError("this is no text: it holds NUL bytes")
    if not text.strip():
        raise CozyError("it is empty")
    return text


def _encoding_hint(data: bytes) -> str:
    encoding = _BOMS.get(data[:2]) or ("GB18030" if _is_chinese(data) else None)
    if encoding is None:
        return "save it as UTF-8"
    looks = "GBK" if encoding == "GB18030" else encoding
    return f"it looks like {looks}: convert it with `iconv -f {encoding} -t UTF-8`"


def _is_chinese(data: bytes) -> bool:
    """Whether it reads as Chinese in GBK: mostly common characters among those beyond ASCII."""
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    beyond = [c for c in text if ord(c) > 127]
    usual = sum("\u4e00" <= c <= "\u9fff" or c in "，。！？、；：（）《》“”‘’—…　" for c in beyond)
    return bool(beyond) and usual >= 0.9 * len(beyond)
