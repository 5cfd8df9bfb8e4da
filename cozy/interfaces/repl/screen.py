"""The end of the screen, drawn again and again while an answer comes in; what is above it stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments

from cozy.interfaces.repl.markdown import Line

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know synchronized output show nothing half done; the others ignore these."""
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Tail:
    """Lines at the end of the screen that may still change.

    rich's Live counts a line as one row; after the window was made narrower it would erase too little. Here
    each drawing works out how many rows the last one takes now.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._shown: list[str] = []
        self._widths: list[int] = []

    def __enter__(self) -> Self:
        self._write(_HIDE_CURSOR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.draw((), ())
        self._write(_SHOW_CURSOR)

    @property
    def room(self) -> int:
        """How many lines it may have, so that all of them can be reached."""
        return max(self.console.height - 2, 1)

    def draw(self, above: Iterable[Line], lines: Sequence[Line]) -> None:
        """Print `above` for good, and these lines beneath it until the next call."""
        fixed = [self._ansi(line) for line in above]
        shown = [self._ansi(line) for line in lines]
        if not fixed and shown == self._shown:
            return
        text = "".join(f"{line}\n" for line in fixed) + "\n".join(shown)
        self._write(f"{_BEGIN}{self._back()}{text}{_END}")
        self._shown = shown
        self._widths = [cell_len("".join(s.text for s in line)) for line in lines]

    def _back(self) -> str:
        """To where the last drawing began, and everything below erased."""
        if not self._shown:
            return ""
        width = max(self.console.width, 1)
        rows = sum(max(1, -(-cells // width)) for cells in self._widths)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}\x1b[J"

    def _ansi(self, line: Line) -> str:
        with self.console.capture() as captured:
            self.console.print(Segments(line), end="", crop=False, no_wrap=True, overflow="ignore")
        return captured.get()

    def _write(self, text: str) -> None:
        self.console.file.write(text)
        self.console.file.flush()


def text_line(text: str, style: str, console: Console) -> Line:
    """One line in one style."""
    return [Segment(text, console.get_style(style))]
