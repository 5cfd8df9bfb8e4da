"""Files as they were parsed the last time: the parser takes a quarter of a millisecond a line, this none.

One small file for each file that was read; a changed, broken or foreign one is as good as none.
"""

from __future__ import annotations

import marshal
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as once
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cozy import __version__

FORMAT = 1
"""Of what is stored: one more whenever parsing comes to give something else for the same bytes."""
_DIGEST = 32


@once
def _versions() -> bytes:
    return f"{FORMAT} {__version__} {version('strictyaml')} {marshal.version}".encode()


@dataclass(frozen=True, slots=True)
class Cache:
    """Parsed files by their path, in a folder that need not exist."""

    folder: Path

    def load(self, path: Path, raw: bytes) -> Any:
        """What was stored for these very bytes; None where nothing was."""
        try:
            stored = self._file(path).read_bytes()
        except OSError:
            return None
        digest, payload = stored[:_DIGEST], stored[_DIGEST:]
        if digest != _digest(raw, payload):
            return None
        return marshal.loads(payload)  # noqa: S302 - the digest says that it is ours

    def store(self, path: Path, raw: bytes, value: Any) -> None:
        """Keep `value`; where the folder cannot be written, do nothing."""
        payload = marshal.dumps(value)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix="new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_digest(raw, payload) + payload)
                Path(temporary).replace(self._file(path))  # readers see the old one or the new one
            except OSError:
                Path(temporary).unlink(missing_ok=True)

    def _file(self, path: Path) -> Path:
        return self.folder / blake2b(os.fsencode(path.absolute()), digest_size=16).hexdigest()


def _digest(raw: bytes, payload: bytes) -> bytes:
    digest = blake2b(_versions(), digest_size=_DIGEST)
    digest.update(len(raw).to_bytes(8, "big"))
    digest.update(raw)
    digest.update(payload)
    return digest.digest()
