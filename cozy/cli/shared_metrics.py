"""Where several processes keep their figures, so that each of them can tell those of all.

This is prometheus_client's multiprocess mode: a process writes its figures to files of its own in one folder,
and whoever is asked adds up what lies there.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from cozy.errors import ConfigError

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable, read when it is imported."""


class Shares:
    """Names for the files of living processes; none is two processes' at once.

    A name is free again when its process has ended. Whoever has it next goes on with the counters that lie
    there, so they never fall, and there are no more files than there ever were processes at one time.
    """

    def __init__(self, folder: Path) -> None:
        self.environment: Mapping[str, str] = {FOLDER: str(folder)}
        """What a process must find in its environment."""
        self._folder = folder
        self._taken = set[str]()

    def take(self) -> str:
        name = next(name for name in (f"share{n}" for n in count()) if name not in self._taken)
        self._taken.add(name)
        return name

    def give_back(self, name: str) -> None:
        """Its process has ended: what it did stays, what it was doing is over."""
        from prometheus_client.multiprocess import (
            mark_process_dead,  # pyright: ignore[reportUnknownVariableType]
        )

        # the library looks for its files by a pattern, and asks only that the name be one process's own
        mark_process_dead(name, glob.escape(str(self._folder)))  # pyright: ignore[reportArgumentType]
        self._taken.discard(name)


def share_of(name: str) -> Path:
    """Where a process keeps its figures that was given this name and `Shares.environment`."""
    return Path(os.environ[FOLDER]) / name


@contextmanager
def open_shares() -> Generator[Shares]:
    """Shares in a private folder that is gone when the block is left; inside the one that the environment
    names, where it names one. Raises ConfigError where there is no room for it."""
    place = os.environ.get(FOLDER) or None
    try:
        folder = TemporaryDirectory(prefix="cozy-metrics-", dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        where = f"`{place}`" if place else "the folder for temporary files"
        raise ConfigError(
            f"{where} takes no files, and several workers keep their figures there: {error.strerror}",
            hint=f"name a folder that can be written to in `{FOLDER}`",
        ) from None
    with folder as path:
        yield Shares(Path(path))
