"""Two speakers, of which one answers: the stages behind the other one are skipped with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cozy.adapters.scripted import ScriptedLLM
from cozy.dsl.check import check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from cozy.engine.compile import compile_graph
from cozy.engine.engine import open_engine
from cozy.engine.graph import Graph
from cozy.engine.library import Library
from cozy.events import StageSkipped, TurnFinished
from cozy.ports.store import TurnRecord
from cozy.turn import Turn
from tests.engine.steps import ADA, MAIN, Silent, silent_ports


class Kept(Silent):
    """A store that remembers what it was given."""

    def __init__(self) -> None:
        self.saved: list[TurnRecord] = []

    async def save_turn(self, record: TurnRecord) -> None:
        self.saved.append(record)


PERSONALITY = """\
id: router
name: Router
prompt: You route.
pipeline:
  stages:
    prompt:
      type: render_prompt
    careful:
      type: llm
      visible: true
      when: message != "hi"
    tools:
      type: tool_loop
      from: careful
    quick:
      type: llm
      visible: true
      when: message == "hi"
    save:
      type: persist
    remember:
      type: writeback
"""


@pytest.fixture
def router(tmp_path: Path) -> Graph:
    return compiled(PERSONALITY, tmp_path)


def compiled(text: str, folder: Path) -> Graph:
    path = folder / "router.yaml"
    path.write_text(text, encoding="utf-8")
    result = check(read_project(Sources(files=(path,)), cache=None), World(default_model="test/model"))
    assert not result.errors, result.text()
    return compile_graph(result.personalities[0], (), "test/model")


@pytest.mark.parametrize(
    ("text", "skipped"),
    [("hi", ["careful", "tools"]), ("what is love?", ["quick"])],
)
async def test_the_words_of_the_speaker_that_ran_are_the_answer_and_are_stored(
    router: Graph, text: str, skipped: list[str]
) -> None:
    store = Kept()
    given = replace(silent_ports(), llm=ScriptedLLM("the answer"), store=store)
    async with open_engine(Library([router]), given) as engine:
        turn = Turn(text, ADA, "router", MAIN)
        async with engine.run(turn) as running:
            events = [event async for event in running]
    assert [e.stage for e in events if isinstance(e, StageSkipped)] == skipped
    last = events[-1]
    assert isinstance(last, TurnFinished), last
    assert last.text == "the answer"
    [saved] = store.saved
    assert [m.content for m in saved.messages] == [text, "the answer"]
    assert saved.status == "complete"


TWO_MODELS = """\
id: router
name: Router
prompt: You route.
pipeline:
  stages:
    prompt:
      type: render_prompt
    intent:
      type: llm
      model:
        name: test/cheap
    answer:
      type: llm
      visible: true
      after: intent
"""


async def test_a_model_that_a_turn_names_takes_the_personalitys_place_not_that_of_a_stages_own(
    tmp_path: Path,
) -> None:
    llm = ScriptedLLM(replies=[{"text": "chat"}, {"text": "the answer"}])
    graph = compiled(TWO_MODELS, tmp_path)
    turn = Turn("hello", ADA, "router", MAIN, model="test/other")
    given = replace(silent_ports(), llm=llm)
    async with open_engine(Library([graph]), given) as engine, engine.run(turn) as running:
        assert isinstance([event async for event in running][-1], TurnFinished)
    assert [request.model for request in llm.requests] == ["test/cheap", "test/other"]
