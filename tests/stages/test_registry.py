"""What the compiler reads of a stage type from its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from cozy.stages import registry
from cozy.stages.base import StageContext, StageSettings, TemplateText
from cozy.stages.registry import Need, StageInfo, stage, stage_types
from cozy.stages.values import (
    Budgeted,
    ContextPart,
    Generation,
    Intent,
    Prompt,
    Queued,
    Reply,
    Saved,
)


@pytest.mark.parametrize(
    ("name", "takes", "gives"),
    [
        ("intent", [], Intent),
        ("fetch_context", [], ContextPart),
        ("budget", [("parts", [(ContextPart, "many")])], Budgeted),
        ("render_prompt", [("context", [(Budgeted, "one"), (ContextPart, "many")])], Prompt),
        ("llm", [("prompt", [(Prompt, "one")])], Generation),
        ("tool_loop", [("generation", [(Generation, "one")])], Reply),
        ("persist", [("reply", [(Reply, "one"), (Generation, "one")])], Saved),
        ("writeback", [("saved", [(Saved, "one")])], Queued),
    ],
)
def test_a_stage_type_takes_and_gives_what_its_annotations_say(
    name: str, takes: list[Any], gives: type
) -> None:
    info = stage_types()[name]
    assert info.name == name
    assert info.needs == tuple(Need(parameter, tuple(types)) for parameter, types in takes)
    assert info.gives is gives


def test_the_built_in_types_are_there_in_the_order_of_a_pipeline() -> None:
    assert list(stage_types())[:8] == [
        "intent",
        "fetch_context",
        "budget",
        "render_prompt",
        "llm",
        "tool_loop",
        "persist",
        "writeback",
    ]


def test_what_a_type_can_do_is_read_from_its_methods() -> None:
    def those_that(can: str) -> list[str]:
        return [name for name, info in stage_types().items() if getattr(info, can)]

    assert those_that("has_empty") == ["intent", "fetch_context", "llm", "writeback"]
    assert those_that("settles") == ["persist"]
    assert those_that("queues") == ["writeback"]
    assert those_that("reads") == ["intent", "fetch_context", "llm"]
    assert those_that("renders") == ["budget", "render_prompt"]
    assert those_that("templates") == ["llm"]
    assert those_that("expressions") == ["fetch_context"]


def test_every_type_tells_what_it_is_for() -> None:
    assert all(info.description for info in stage_types().values())


class MoodSettings(StageSettings):
    ask: TemplateText = ""
    note: str = ""


@dataclass(frozen=True)
class Mood:
    """Tell the mood."""

    settings: MoodSettings

    async def run(self, prompt: Prompt | None, replies: Sequence[Reply], ctx: StageContext) -> Generation: ...


@pytest.fixture
def mood(monkeypatch: pytest.MonkeyPatch) -> StageInfo:
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    stage_types.cache_clear()
    stage("mood")(Mood)
    try:
        return stage_types()["mood"]
    finally:
        stage_types.cache_clear()


def test_a_type_of_ones_own_is_read_like_the_built_in_ones(mood: StageInfo) -> None:
    assert mood.cls is Mood
    assert mood.settings is MoodSettings
    assert mood.needs == (Need("prompt", ((Prompt, "optional"),)), Need("replies", ((Reply, "many"),)))
    assert (mood.gives, mood.description) == (Generation, "Tell the mood.")
    assert mood.templates == ("ask",)
    assert not any([mood.has_empty, mood.settles, mood.queues, mood.reads, mood.renders])
