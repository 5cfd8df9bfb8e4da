"""A prompt on the screen: what was sent, from where, and what was cut."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console, RenderableType
from syrupy.assertion import SnapshotAssertion

from cozy.cells import cells
from cozy.engine.preview import Ask, Piece, Preview, PreviewMessage
from cozy.interfaces.repl.prompt_view import preview_view, prompt_view
from cozy.stages.values import BudgetReport, Cut, Prompt, PromptSection, SectionBudget
from cozy.turn import Message, ToolCall

MESSAGES = (
    Message("system", "你是小研。\n\nBe brief."),
    Message("user", "2+2?"),
    Message("assistant", tool_calls=(ToolCall("c1", "calculator", '{"expression": "2+2"}'),)),
    Message("tool", "4", tool_call_id="c1"),
    Message("assistant", "四"),
    Message("user", "<context>\n- 多喝水（a.md）\n</context>\n\nwhat \x1b[2J now?"),
)
SECTIONS = (
    PromptSection("system", 0, 0, 12),
    PromptSection("tools", 1, 0, 80),
    PromptSection("history", 1, 4, 30),
    PromptSection("message", 5, 5, 20),
)
PROMPT = Prompt(MESSAGES, 142, SECTIONS, "- 多喝水（a.md）")
BUDGET = BudgetReport(
    8192,
    1024,
    7168,
    142,
    (
        SectionBudget("system", 12, 12),
        SectionBudget("history", 90, 30, (Cut("很久以前说过的话 said long ago", 60),)),
        SectionBudget("knowledge", 20, 20),
    ),
)
PREVIEW = Preview(
    stage="prompt",
    prompt=PROMPT,
    messages=(
        PreviewMessage(
            "system",
            MESSAGES[0],
            (
                Piece("你是", "p/mia.yaml: prompt", None, 1),
                Piece("小研", "p/mia.yaml: prompt", "personality.name", 1),
                Piece("。\n\nBe brief.", "p/mia.yaml: prompt", None, 1),
            ),
        ),
        *(PreviewMessage("history", m, (Piece(m.content, "history"),)) for m in MESSAGES[1:5]),
        PreviewMessage(
            "message",
            MESSAGES[5],
            (
                Piece("<context>\n", "cozy"),
                Piece("- ", "built in: context", None, 10),
                Piece("多喝水", "built in: context", "passage.text", 10),
                Piece("（a.md）", "built in: context", None, 10),
                Piece("\n</context>\n\n", "cozy"),
                Piece("what \x1b[2J now?", "message"),
            ),
        ),
    ),
    tools=json.dumps([{"name": "calculator"}, {"name": "current_time"}]),
    budget=BUDGET,
    asks=(Ask("answer", "They said {{ intent.text }}.", ("intent",)),),
    degraded=(),
    unasked=("intent",),
)


def seen(view: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(view, highlight=False, markup=False)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 50])
def test_a_prompt_is_shown_as_it_was_sent(width: int, snapshot: SnapshotAssertion) -> None:
    told = seen(prompt_view(PROMPT, ["calculator"], width), width)
    assert told == snapshot
    assert max(map(cells, told.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 60])
def test_each_line_of_a_preview_names_its_source(width: int, snapshot: SnapshotAssertion) -> None:
    told = seen(preview_view(PREVIEW, width), width)
    assert told == snapshot
    assert max(map(cells, told.splitlines())) <= width


def test_a_terminal_obeys_nothing_that_stands_in_a_prompt() -> None:
    both = seen(preview_view(PREVIEW, 80), 80) + seen(prompt_view(PROMPT, [], 80), 80)
    assert "\x1b" not in both
