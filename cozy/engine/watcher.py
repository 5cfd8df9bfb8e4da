"""Reads personalities again: when an operator asks, when their files change, and when another process did."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread

from cozy.dsl.check import CheckResult
from cozy.dsl.diagnostics import visible
from cozy.dsl.reports import as_json
from cozy.errors import StorageError
from cozy.ports.operations import Reload, ReloadState, Signals

_log = logging.getLogger("cozy.reload")

SIGNAL = "reload"
LOOK_S = 0.5
"""Between two looks at the files. A file counts as written when two looks find it the same."""
ASK_S = 1.0
"""Between two looks at the signals of other processes."""
LONGEST_WRITE_S = 10.0
"""A folder that never comes to rest is read all the same."""

Stamps = Mapping[str, tuple[int, int]]


class Reloader:
    """One at a time; a file with errors leaves the last good personalities in use.

    `read` reads them all and swaps them where there are no errors, as `App.reload` does. `before` are the
    stamps of the files before they were first read: what changed while the process started is seen.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[CheckResult]],
        signals: Signals,
        folders: Sequence[Path],
        before: Stamps | None = None,
    ) -> None:
        self.state = ReloadState(Reload(datetime.now(UTC)))
        self._read = read
        self._signals = signals
        self._folders = tuple(folders)
        self._stamps = stamps(self._folders) if before is None else before
        self._raised: int | None = None
        """How often the signal has been raised, as far as this process has followed."""
        self._lock = anyio.Lock()

    async def reload(self) -> Reload:
        """Read them here, and let every other process follow. Raises StorageError."""
        async with self._lock:
            result = await self._reload()
            raised = await self._signals.raise_(SIGNAL)
            if self._raised is not None and raised == self._raised + 1:  # else another process raised it too
                self._raised = raised
            return result

    async def follow_files(self, look_s: float = LOOK_S) -> None:
        """Read them whenever a file has changed; never ends. Each process that runs this looks for itself."""
        while True:
            await anyio.sleep(look_s)
            seen = await self._look()
            if seen == self._stamps:
                continue
            with anyio.move_on_after(LONGEST_WRITE_S):
                while True:
                    await anyio.sleep(look_s)
                    before, seen = seen, await self._look()
                    if before == seen:
                        break
            async with self._lock:
                self._stamps = seen  # from before reading: what changes meanwhile is read again
                await self._reload_or_tell()

    async def follow_signals(self, ask_s: float = ASK_S) -> None:
        """Read them whenever another process did; never ends."""
        told = False
        while True:
            try:
                async with self._lock:
                    raised = (await self._signals.counts()).get(SIGNAL, 0)
                    if await self._is_news(raised):
                        await self._reload_or_tell()
                    self._raised = raised
                told = False
            except StorageError as error:
                if not told:  # once, not every second
                    _log.warning("the signals cannot be read", extra={"code": error.code})
                told = True
            await anyio.sleep(ask_s)

    async def _is_news(self, raised: int) -> bool:
        if self._raised is not None:
            return raised > self._raised
        # the first look: it may have been raised after the files were read
        return raised > 0 and await self._look() != self._stamps

    async def _look(self) -> Stamps:
        return await anyio.to_thread.run_sync(stamps, self._folders)

    async def _reload_or_tell(self) -> None:
        try:
            await self._reload()
        except Exception:  # following goes on, whatever this time was
            _log.exception("the personalities could not be read")

    async def _reload(self) -> Reload:
        result = await self._read()
        errors = [d for d in result.diagnostics if d.severity == "error"]
        told = Reload(
            at=datetime.now(UTC),
            errors=len(errors),
            diagnostics=as_json(result.diagnostics)["diagnostics"],
            lines=[f"{d.place}: {visible(d.message)} [{d.code}]" for d in errors],
        )
        self.state.tell(told)
        if errors:
            fields = {"problems": len(errors), "diagnostics": errors}
            _log.error("personalities have errors: the last good ones stay", extra=fields)
        else:
            _log.info("personalities reloaded")
        return told


def stamps(folders: Sequence[Path]) -> Stamps:
    """The YAML files of some folders, with when each was written and how long it is."""
    found: dict[str, tuple[int, int]] = {}
    for folder in folders:
        for pattern in ("*.yaml", "*.yml"):
            for path in folder.glob(pattern):
                try:
                    stat = path.stat()
                except OSError:  # it went away between the two
                    continue
                found[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return found
