"""A turn on the screen while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from cozy.events import (
    Event,
    ReasoningDelta,
    StageDegraded,
    StageFinished,
    StageStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnFinished,
)
from cozy.interfaces.repl.render import TurnView
from cozy.interfaces.repl.screen import Tail
from cozy.usage import Usage
from tests.interfaces.repl.terminals import Terminal
from tests.interfaces.repl.test_markdown import EVERYTHING


class ShortTrace:
    """As much of a trace as the quiet line reads."""

    wall_s = 1.234
    usage = Usage(345, 56, cached_tokens=300)
    model = "demo/demo"
    prompt = None


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def finished(text: str = "", reason: Any = "stop") -> TurnFinished:
    return TurnFinished(text, reason, Usage(), ShortTrace())


class Show:
    """A view and the terminal it is drawn on, frame by frame."""

    def __init__(self, width: int = 60, height: int = 12) -> None:
        self.terminal = Terminal(width, height)
        self.clock = Clock()
        self.view = TurnView(self.terminal.console, self.clock)
        self.tail = Tail(self.terminal.console)

    def play(self, *events: Event, after_s: float = 0.0) -> Show:
        """Take events, let time pass, draw."""
        for event in events:
            self.view.take(event)
        self.clock.time += after_s
        self.tail.draw(*self.view.frame(self.tail.room))
        return self

    @property
    def text(self) -> str:
        return self.terminal.text


def words(text: str, *cuts: int) -> list[Event]:
    edges = [0, *sorted(cuts), len(text)]
    return [TextDelta(text[a:b], "answer") for a, b in pairwise(edges)]


async def stream(events: Sequence[Event]) -> AsyncIterator[Event]:
    for event in events:
        await anyio.lowlevel.checkpoint()
        yield event


async def test_an_answer_is_followed_to_its_end() -> None:
    terminal = Terminal()
    events = [StageStarted("answer", "llm"), *words("你好 **Ada**，\n今天"), finished("你好 **Ada**，\n今天")]
    told = await TurnView(terminal.console).follow(stream(events))
    assert list(told) == events
    assert terminal.text == "你好 Ada，\n今天\n\n1.2 s · 345 (300 cached) + 56 tokens · demo/demo"


def test_an_answer_longer_than_the_screen_scrolls_and_stays_whole(snapshot: SnapshotAssertion) -> None:
    show = Show(width=50, height=10)
    for i in range(0, len(EVERYTHING), 7):
        show.play(TextDelta(EVERYTHING[i : i + 7], "answer"))
    show.play(finished())
    assert show.text == snapshot
    whole = Show(width=50, height=200).play(TextDelta(EVERYTHING, "answer"), finished())
    assert show.text == whole.text


def test_a_code_block_longer_than_the_screen_stands_there_once() -> None:
    code = "\n".join(f"line_{i} = {i}  # 第 {i} 行" for i in range(40))
    show = Show(height=10)
    for piece in words(f"```python\n{code}\n```\n\nend", *range(5, 900, 11)):
        show.play(piece)
    show.play(finished())
    assert [line.strip() for line in show.text.splitlines()[:40]] == code.splitlines()


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, len(EVERYTHING)), max_size=40), height=st.integers(4, 40))
def test_the_end_does_not_depend_on_how_the_answer_came(cuts: list[int], height: int) -> None:
    show = Show(width=50, height=height)
    for piece in words(EVERYTHING, *cuts):
        show.play(piece)
    whole = Show(width=50, height=200).play(TextDelta(EVERYTHING, "answer"), finished())
    assert show.play(finished()).text == whole.text


def test_half_a_mark_changes_nothing_yet() -> None:
    """After `-`, the line above is no heading until it is one."""
    show = Show().play(*words("one line\n"))
    before = show.text
    assert show.play(*words("-")).text == before
    assert "• two" in show.play(*words(" two")).text


def test_a_tool_shows_while_it_runs_and_after() -> None:
    show = Show()
    show.play(
        *words("let me see"), ToolStarted("c1", "calculator", '{"expression": "2+2"}', "tools"), after_s=1.5
    )
    assert show.terminal.shown[:3] == ["let me see", "▸ calculator(expression: 2+2) … 1.5 s", ""]
    show.play(ToolFinished("c1", "calculator", "4", False, 1.5, "tools"), *words("It is 4."), finished())
    assert show.text.splitlines()[:5] == [
        "let me see",
        "",
        "▸ calculator(expression: 2+2) → 4 · 1.5 s",
        "",
        "It is 4.",
    ]


def test_a_tool_that_fails_says_so_without_colour() -> None:
    show = Show(width=70).play(
        ToolStarted("c1", "weather", "not json", "tools"),
        ToolFinished("c1", "weather", "no such city\nnear here", True, 0.02, "tools"),
    )
    assert show.text == "▸ weather(not json) → failed: no such city near here · 20 ms"


def test_who_waits_is_told_for_what_after_a_while() -> None:
    show = Show().play(StageStarted("history", "fetch_context"), StageStarted("knowledge", "fetch_context"))
    assert show.text == ""
    show.play(StageFinished("history", 0.1), after_s=3)
    assert show.text[1:] == " knowledge 3 s"
    assert "knowledge" not in show.play(*words("Hi"), finished()).text


def test_thoughts_are_shown_while_they_come_and_measured_after() -> None:
    show = Show().play(
        StageStarted("answer", "llm"), ReasoningDelta("First this.\nThen 那个", "answer"), after_s=2
    )
    assert show.text[1:] == " thinking 2.0 s: Then 那个"
    assert show.play(*words("Done")).text == "thought for 2.0 s\n\nDone"


def test_what_degraded_is_told_under_the_answer() -> None:
    degraded = StageDegraded("knowledge", "ENGINE_TIMEOUT", "stage `knowledge` did not end within 0.5 s", 0.5)
    show = Show(width=80).play(degraded, *words("Hello"), finished())
    assert show.text.splitlines()[2] == (
        "without knowledge: stage `knowledge` did not end within 0.5 s (ENGINE_TIMEOUT)"
    )


def test_a_failure_tells_code_message_and_hint_and_keeps_what_was_said() -> None:
    failed = TurnFailed(
        "ENGINE_AUTH", "openai: the key was refused", "I w", ShortTrace(), "answer", "set OPENAI_API_KEY"
    )
    assert Show(width=70).play(*words("I w"), failed).text.splitlines()[:4] == [
        "I w",
        "",
        "error: ENGINE_AUTH: openai: the key was refused (stage `answer`)",
        "hint: set OPENAI_API_KEY",
    ]


@pytest.mark.parametrize(
    ("reason", "said"),
    [("interrupted", "stopped · 1.2 s"), ("length", "cut off at the model's limit · 1.2 s")],
)
def test_an_answer_that_is_not_whole_says_so(reason: str, said: str) -> None:
    assert Show().play(*words("从前"), finished("从前", reason)).text.splitlines()[2].startswith(said)


def test_a_model_cannot_steer_the_terminal() -> None:
    show = Show().play(*words("a\x1b[2J\x1b]0;title\x07b\x9b5A"), finished())
    assert show.text.startswith("a[2J]0;titleb5A")


def test_the_words_of_a_window_made_narrower_are_broken_anew() -> None:
    show = Show(width=40).play(*words("床前明月光，疑是地上霜。举头望明月，低头思故乡。"))
    show.terminal.console.width = 20
    assert len(show.view.frame(10)[1]) == 3
