"""One turn on the screen while it runs: finished blocks for good, the last one again and again."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterable, Callable, Iterator
from dataclasses import dataclass, field

import anyio
from rich.console import Console

from cozy.events import (
    Event,
    ReasoningDelta,
    StageDegraded,
    StageFinished,
    StageSkipped,
    StageStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnFinished,
)
from cozy.interfaces.repl.markdown import Line, Words, lines_of, settled
from cozy.interfaces.repl.safe import one_line, safe
from cozy.interfaces.repl.screen import Tail, text_line
from cozy.interfaces.repl.wording import call_text, degraded_lines, failure_lines, quiet_line, seconds

FRAME_S = 0.08
"""Between two drawings, at least; more where drawing itself takes long."""
PATIENCE_S = 0.3
"""How long nothing needs to be said of what is awaited,"""
LONG_PATIENCE_S = 2.0
"""and how long in the middle of an answer."""
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS_ONLY = re.compile(r"\n[ \t]*[-=*_#>`~+|:.)0-9 \t]*$")
"""A last line that may become many things yet: after `-`, a list begins, or the line above was a heading."""


@dataclass(slots=True)
class _Call:
    text: str
    since: float


@dataclass(slots=True, eq=False)
class TurnView:
    """What is known of a turn so far, and how much of it stands on the screen for good."""

    console: Console
    now: Callable[[], float] = time.monotonic
    events: list[Event] = field(default_factory=list[Event])
    _above: list[Line] = field(default_factory=list[Line])
    """Lines to be printed for good with the next drawing."""
    _pending: str = ""
    """The block that may still grow, and what is not a block yet."""
    _printed: int = 0
    """Lines of it that are printed for good already: it has more than fit on the screen."""
    _width: int = 0
    _before: str = ""
    """What was printed last: `text`, `call`, or nothing."""
    _thought: str = ""
    _thinking_since: float | None = None
    _stages: dict[str, float] = field(default_factory=dict[str, float])
    """Running stages, and since when."""
    _calls: dict[str, _Call] = field(default_factory=dict[str, _Call])
    """Running tools by call."""
    _last_sign: float = field(init=False)
    """When something to be seen came in last."""

    def __post_init__(self) -> None:
        self._last_sign = self.now()

    async def follow(self, running: AsyncIterable[Event]) -> tuple[Event, ...]:
        """Show a turn until it has ended; gives all that it told."""
        with Tail(self.console) as tail:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._refresh, tail)
                async for event in running:
                    self.take(event)
                tasks.cancel_scope.cancel()
            tail.draw(*self.frame(tail.room))
        return tuple(self.events)

    async def _refresh(self, tail: Tail) -> None:
        while True:
            started = self.now()
            tail.draw(*self.frame(tail.room))
            await anyio.sleep(max(FRAME_S, 4 * (self.now() - started)))

    # -- what comes in -----------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Note what an event tells; `frame` shows it."""
        self.events.append(event)
        match event:
            case StageStarted(stage):
                self._stages[stage] = self.now()
            case StageFinished(stage) | StageSkipped(stage) | StageDegraded(stage):
                self._stages.pop(stage, None)
            case TextDelta(text):
                self._end_thought()
                self._pending += safe(text)
                self._last_sign = self.now()
            case ReasoningDelta(text):
                self._thinking_since = self._thinking_since or self.now()
                self._thought += safe(text)
            case ToolStarted():
                self._end_thought()
                self._let_go(len(self._pending))
                self._calls[event.call_id] = _Call(call_text(event.name, event.arguments), self.now())
            case ToolFinished():
                self._end_call(event)
            case TurnFinished() | TurnFailed():
                self._end(event)
            case _:
                pass

    def _end_thought(self) -> None:
        if self._thinking_since is not None:
            self._say(f"thought for {seconds(self.now() - self._thinking_since)}", "dim")
            self._thought, self._thinking_since = "", None

    def _end_call(self, event: ToolFinished) -> None:
        call = self._calls.pop(event.call_id, None)
        text = call.text if call else event.name
        said = f"failed: {event.content}" if event.is_error else event.content
        took = seconds(event.seconds)
        room = max(self.console.width - 1 - len(took) - 3, 20)
        self._say(f"{one_line(f'▸ {text} → {said}', room)} · {took}", "yellow" if event.is_error else "dim")
        self._last_sign = self.now()

    def _say(self, line: str, style: str) -> None:
        """A line that is none of the answer's words."""
        if self._before == "text":
            self._above.append([])
        self._above.append(text_line(line, style, self.console))
        self._before = "call"

    def _end(self, event: TurnFinished | TurnFailed) -> None:
        self._thought, self._thinking_since = "", None
        self._stages.clear()
        self._calls.clear()
        self._let_go(len(self._pending))
        if self._before:
            self._above.append([])
        for line in degraded_lines(self.events):
            self._above += self._wrapped(line, "yellow")
        if isinstance(event, TurnFailed):
            first, *rest = failure_lines(event)
            self._above += self._wrapped(first, "bold red")
            self._above += [line for text in rest for line in self._wrapped(text, "cyan")]
        self._above += self._wrapped(quiet_line(event), "dim")

    def _wrapped(self, text: str, style: str) -> list[Line]:
        width = max(self.console.width - 1, 10)
        return [text_line(line.plain, style, self.console) for line in Words(text).wrap(self.console, width)]

    # -- what is to be seen --------------------------------------------------------------------------------

    def frame(self, room: int) -> tuple[list[Line], list[Line]]:
        """What to print for good now, and the lines of the tail, at most `room`."""
        self._let_go(settled(self._pending))
        shown = _MARKS_ONLY.sub("\n", self._pending) if self._pending else ""
        lines = self._lines(shown)[self._printed :]
        status = list(self._status())
        if (excess := len(lines) + len(status) - room) > 0:
            self._above += lines[:excess]
            self._printed += len(lines[:excess])
            lines = lines[excess:]
        above, self._above = self._above, []
        return above, [*lines, *status]

    def _let_go(self, count: int) -> None:
        """Print so many characters of what is pending for good."""
        if count:
            lines = self._lines(self._pending[:count])
            self._above += lines[self._printed :]
            # of what follows, a part may have been pushed off the screen, too
            self._pending, self._printed = self._pending[count:], max(self._printed - len(lines), 0)
            self._before = "text" if lines else self._before

    def _lines(self, text: str) -> list[Line]:
        """A block as it looks, with the blank line before it."""
        if not text.strip():
            return []
        if not self._printed:  # once a part of it stands, the rest must be broken alike
            self._width = max(self.console.width - 1, 10)
        lines = lines_of(text, self.console, self._width)
        return [[], *lines] if self._before and lines else lines

    def _status(self) -> Iterator[Line]:
        now = self.now()
        width = max(self.console.width - 1, 10)
        for call in self._calls.values():
            yield text_line(
                one_line(f"▸ {call.text} … {seconds(now - call.since)}", width), "dim", self.console
            )
        patience = LONG_PATIENCE_S if self._pending else PATIENCE_S
        if self._calls or not self._stages or now - self._last_sign < patience:
            return
        spin = _SPINNER[int(now / 0.1) % len(_SPINNER)]
        if self._thinking_since is not None:
            last = self._thought.rstrip().rpartition("\n")[2]
            text = f"{spin} thinking {seconds(now - self._thinking_since)}: {last}"
        else:
            names = ", ".join(self._stages)
            text = f"{spin} {names} {now - min(self._stages.values()):.0f} s"
        if self._before or self._pending:
            yield []
        yield text_line(one_line(text, width), "dim", self.console)
