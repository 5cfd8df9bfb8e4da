"""What a fixture expects and does not get is told at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.dsl.diagnostics import Diagnostic
from cozy.testing.expectations import disappointments
from tests.testing.cases import GREETING, outcome_of

TOLD = """\
personality:
  prompt: 你是小研。
  tools: calculator
  pipeline: standard
memory:
  fault:
    kind: EngineUnavailable
model:
  - tool_calls:
      - name: calculator
        arguments: '{"expression": "1+1"}'
  - text: 等于二。
turns:
  - say: 一加一？
    expect:
"""


async def told(text: str, folder: Path) -> list[Diagnostic]:
    return list(disappointments(await outcome_of(text, folder)))


@pytest.mark.parametrize(
    "expectation",
    [
        "reply: 等于二。",
        "contains: 二",
        "lacks: 三",
        "finish: stop",
        "tools: calculator",
        "client_calls: none",
        "degraded: memory",
        "skipped: none",
        "model_calls: 2",
        "prompt_contains: 小研",
        "prompt_lacks: 小明",
        "stored: complete",
        "jobs:\n        - profile\n        - memory",
    ],
)
async def test_what_holds_is_not_mentioned(expectation: str, tmp_path: Path) -> None:
    assert await told(f"{TOLD}      {expectation}\n", tmp_path) == []


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ("reply: 等于三。", "the answer is “等于二。”"),
        ("contains: 三", "`三` is not in the answer “等于二。”"),
        ("lacks: 二", "`二` is in the answer “等于二。”"),
        ("finish: length", "the answer ended with `stop`"),
        ("error: ENGINE_TIMEOUT", "the turn ended with none"),
        ("stage: answer", "the stage that failed is none"),
        ("tools: none", "the tools that ran: `calculator`"),
        ("degraded: none", "the stages that degraded: `memory`"),
        ("skipped: memory", "the stages that were skipped: none"),
        ("model_calls: 1", "models were asked twice"),
        ("prompt_contains: 小明", "`小明` is in nothing that a model was sent"),
        ("prompt_lacks: 小研", "`小研` is in what a model was sent"),
        ("stored: failed", "the turn is stored as `complete`"),
        ("jobs: none", "the jobs that were queued: `memory`, `profile`"),
    ],
)
async def test_what_does_not_hold_is_told_at_its_place(
    expectation: str, message: str, tmp_path: Path
) -> None:
    [found] = await told(f"{TOLD}      {expectation}\n", tmp_path)
    assert (found.message, found.code) == (message, "CZ101")
    assert (found.place.line, found.place.column) == (16, 8 + expectation.index(" "))


async def test_a_turn_that_fails_without_being_expected_to_is_told(tmp_path: Path) -> None:
    text = GREETING.replace("text: 你好！", "fault:\n      kind: EngineUnavailable\n      message: gone")
    [found] = await told(text, tmp_path)
    assert found.message == "turn 1 failed: ENGINE_UNAVAILABLE: scripted: gone"


async def test_a_reply_that_nobody_asked_for_is_told(tmp_path: Path) -> None:
    [found] = await told(GREETING.replace("turns:", "  - text: 再见！\nturns:"), tmp_path)
    assert "no request took the reply “再见！”" in found.message
    assert found.place.line == 2


async def test_a_request_without_a_reply_is_told(tmp_path: Path) -> None:
    found = await told(GREETING + "  - say: 还在吗？\n", tmp_path)
    assert [d.message for d in found] == [
        "turn 2 failed: INTERNAL_ERROR: something went wrong inside Cozy; the log says what",
        "the script has no reply for request 2 to `scripted/model`, which ends in user: “还在吗？”",
    ]


async def test_a_cut_that_never_comes_is_told(tmp_path: Path) -> None:
    [found] = await told(GREETING + "    interrupt:\n      after: 再见\n", tmp_path)
    assert found.message == "turn 1 never came to where it is to be cut off"
