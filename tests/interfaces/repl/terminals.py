"""A terminal in memory: what is written to it is what a reader would see, and what has scrolled away."""

from __future__ import annotations

import io

import pyte
from rich.console import Console


class Terminal(io.TextIOBase):
    """Takes what a console writes."""

    def __init__(self, width: int = 60, height: int = 12) -> None:
        self._screen = pyte.HistoryScreen(width, height, history=10_000, ratio=1)
        self._stream = pyte.Stream(self._screen)
        self.written: list[str] = []
        """Each write, as it came."""
        self.console = Console(
            file=self,  # pyright: ignore[reportArgumentType]
            width=width,
            height=height,
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
        )

    def write(self, text: str) -> int:
        if text:
            self.written.append(text)
        # a terminal's line discipline begins a new line at its left edge
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    @property
    def shown(self) -> list[str]:
        """The lines on the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def scrolled(self) -> list[str]:
        """The lines that have left the screen at its top."""
        lines = self._screen.history.top
        return ["".join(line[x].data for x in range(self._screen.columns)).rstrip() for line in lines]

    @property
    def text(self) -> str:
        """Everything, as one would scroll through it."""
        return "\n".join([*self.scrolled, *self.shown]).rstrip()

    @property
    def cursor_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)
