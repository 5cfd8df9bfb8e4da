"""tiktoken's encoding files on this machine: where they are, whether they are whole; never a download.

tiktoken fetches a file that it does not find, without a timeout. So its constructors are run here in a copy
of their module in which the function that would fetch is one that only reads.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cozy.errors import ConfigError

if TYPE_CHECKING:
    import tiktoken

ENCODINGS = ("o200k_base", "cl100k_base")
"""Those of the models in use; older ones are only estimated."""
FOLDER = "encodings"
"""Within the data folder."""
_MAX_BYTES = 16 * 1024 * 1024
_CARRIERS = "the wheels of llama-index-core and litellm carry these files"


@dataclass(frozen=True, slots=True)
class EncodingFile:
    """What tiktoken takes as an encoding's file."""

    encoding: str
    name: str
    """In any of the folders: the SHA-1 of the address it comes from."""
    sha256: str


@cache
def encoding_files() -> Mapping[str, EncodingFile]:
    """By encoding, as the installed tiktoken knows them."""
    found: dict[str, EncodingFile] = {}

    def note(encoding: str) -> Callable[..., dict[bytes, int]]:
        def read(address: str, expected_hash: str) -> dict[bytes, int]:
            name = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
            found[encoding] = EncodingFile(encoding, name, expected_hash)
            return {}

        return read

    for encoding in ENCODINGS:
        _parameters(encoding, note(encoding))
    return found


class EncodingFiles:
    """The folders in which encoding files may lie, the first that has a whole one counts."""

    def __init__(
        self,
        data: Path,
        environ: Mapping[str, str] | None = None,
        known: Mapping[str, EncodingFile] | None = None,
    ) -> None:
        """`data` is the project's data folder; files are installed in `encodings` within it.

        `known` are the files to look for, tiktoken's own if not given.
        """
        self._known = known
        env = os.environ if environ is None else environ
        named = [env.get("TIKTOKEN_CACHE_DIR"), env.get("DATA_GYM_CACHE_DIR")]
        self.installed = data / FOLDER
        self.folders = (
            *(Path(folder) for folder in named if folder),
            self.installed,
            Path(tempfile.gettempdir()) / "data-gym-cache",
        )

    @property
    def known(self) -> Mapping[str, EncodingFile]:
        # not looked up before it is needed: it imports tiktoken
        return encoding_files() if self._known is None else self._known

    def whole(self, encoding: str) -> Path | None:
        """The file that would be loaded."""
        found = self._first_whole(encoding)
        return found[0] if found else None

    def damaged(self, encoding: str) -> tuple[Path, ...]:
        """Files of the right name that are not what they should be."""
        wanted = self.known[encoding]
        paths = (folder / wanted.name for folder in self.folders)
        return tuple(path for path in paths if path.is_file() and _content(path, wanted) is None)

    def load(self, encoding: str) -> tiktoken.Encoding | None:
        """tiktoken's encoding, or None where no whole file is. Takes 0.3 s and 70 MB: call it in a thread."""
        from tiktoken import Encoding

        found = self._first_whole(encoding)
        if found is None:
            return None
        return Encoding(**_parameters(encoding, lambda *_, **__: _ranks(found[1])))

    def install(self, source: Path) -> tuple[Path, ...]:
        """Copy the encoding files that `source` is, or holds as a zip or wheel, into the data folder.

        Raises ConfigError where there is none, or one is damaged.
        """
        files = tuple(self.known.values())
        contents = dict((_in_zip if zipfile.is_zipfile(source) else _bare)(source, files))
        if not contents:
            names = ", ".join(file.name for file in files)
            raise ConfigError(f"{source} holds no encoding file", hint=f"looked for {names}; {_CARRIERS}")
        return tuple(self._write(file, content) for file, content in contents.items())

    def _first_whole(self, encoding: str) -> tuple[Path, bytes] | None:
        wanted = self.known[encoding]
        for folder in self.folders:
            path = folder / wanted.name
            content = _content(path, wanted)
            if content is not None:
                return path, content
        return None

    def _write(self, file: EncodingFile, content: bytes) -> Path:
        """Whole or not at all: a reader never sees half a file."""
        path = self.installed / file.name
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            self.installed.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise ConfigError(f"{self.installed} cannot be written: {error.strerror}") from None
        return path


def _content(path: Path, wanted: EncodingFile) -> bytes | None:
    """What is in the file, if it is there and what it should be."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == wanted.sha256 else None


def _bare(source: Path, files: Sequence[EncodingFile]) -> Iterator[tuple[EncodingFile, bytes]]:
    """A file of any name that is an encoding's."""
    try:
        content = source.read_bytes() if source.stat().st_size <= _MAX_BYTES else b""
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}") from None
    sha256 = hashlib.sha256(content).hexdigest()
    for file in files:
        if sha256 == file.sha256:
            yield file, content
        elif source.name in _names(file):
            raise _damaged(source, file)


def _in_zip(source: Path, files: Sequence[EncodingFile]) -> Iterator[tuple[EncodingFile, bytes]]:
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename).name
                for file in files:
                    if name not in _names(file):
                        continue
                    content = archive.read(member) if member.file_size <= _MAX_BYTES else b""
                    if hashlib.sha256(content).hexdigest() != file.sha256:
                        raise _damaged(f"{source}: {member.filename}", file)
                    yield file, content
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise ConfigError(f"{source} cannot be read: {error}") from None


def _names(file: EncodingFile) -> tuple[str, str]:
    return file.name, f"{file.encoding}.tiktoken"


def _damaged(source: Path | str, file: EncodingFile) -> ConfigError:
    return ConfigError(
        f"{source} is not {file.encoding} as tiktoken knows it: its SHA-256 is another", hint=_CARRIERS
    )


def _ranks(content: bytes) -> dict[bytes, int]:
    """tiktoken's own format: a line for each token, base64 and rank."""
    lines = (line.split() for line in content.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def _parameters(encoding: str, read: Callable[..., dict[bytes, int]]) -> dict[str, Any]:
    """What tiktoken builds an encoding from, its ranks read by `read(address, expected_hash)`."""
    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    if spec is None or spec.loader is None:
        raise RuntimeError("tiktoken has no `tiktoken_ext.openai_public`")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "load_tiktoken_bpe"):  # never let it go where the download is
        raise RuntimeError("this tiktoken loads its encodings in a way that Cozy does not know")
    module.load_tiktoken_bpe = read
    return getattr(module, encoding)()
