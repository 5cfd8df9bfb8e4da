"""Server-Sent Events: bytes as the network brings them → events.

Source: the event stream format of the HTML standard, section 9.2.6.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_EVENT_CHARS = 16 * 1024 * 1024
"""More than any model's server sends in one event; beyond it the stream is taken to be something else."""


class ServerSentEvent(NamedTuple):
    """One event; `data` is its data lines, joined by line feeds."""

    data: str
    name: str = "message"


class SSEOverflow(ValueError):
    """An event grew beyond MAX_EVENT_CHARS without an end."""


class SSEParser:
    """Splits a stream into events, however the network has cut it.

    Lines may end in LF, CRLF or CR; comments and empty events are left out. Bytes that are not UTF-8 become
    U+FFFD.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_held", "_name", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[str] = []
        self._name = ""
        self._held = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that these bytes complete. Raises SSEOverflow."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            self._hold(data)
            return []
        # whole lines only: a line's end never lies within a character
        text = (b"".join((*self._pieces, data[:end])) if self._pieces else data[:end]).decode(
            errors="replace"
        )
        self._pieces.clear()
        self._held = 0
        if end < len(data):
            self._hold(data[end:])
        if self._at_start:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        self._after_cr = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return self._lines(text)

    def end(self) -> list[ServerSentEvent]:
        """What stands there when the stream is over: a last event that no blank line closed."""
        return self.feed(b"\n\n")

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._held += len(piece)
            self._check(self._held)

    def _lines(self, text: str) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for line in text.split("\n")[:-1]:
            if line.startswith("data:"):
                self._data.append(line[6:] if line.startswith(" ", 5) else line[5:])
            elif not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
                    events.append(ServerSentEvent(data, self._name or "message"))
                    self._data = []
                self._name = ""
            elif line == "data":
                self._data.append("")
            elif line.startswith("event:"):
                self._name = line[6:].removeprefix(" ")
        if len(self._data) > 1:
            self._check(sum(map(len, self._data)))
        return events

    def _check(self, size: int) -> None:
        if size > MAX_EVENT_CHARS:
            raise SSEOverflow(f"an event of more than {MAX_EVENT_CHARS} characters")
