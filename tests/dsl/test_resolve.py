"""A pipeline with a personality's changes in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cozy.dsl.parse import Document
from cozy.dsl.project import Sources, read_project
from cozy.dsl.resolve import DEFAULT_TIMEOUT_S, resolve
from cozy.dsl.spec import PipelineSpec
from cozy.dsl.written import Layer, Pipeline, Resolved, Written, merge
from tests.dsl.authoring import MIA, codes, mia
from tests.dsl.authoring import check_files as check
from tests.dsl.checking import ROOT

OWN = """\
description: 一条流程
stages:
  history:
    type: fetch_context
    source: history
  prompt:
    type: render_prompt
  answer:
    type: llm
    model:
      temperature: 0.2
      max_tokens: 100
    timeout: 20s
  save:
    type: persist
"""


def resolved(folder: Path, lines: str, pipeline: str = OWN) -> Resolved:
    (folder / "pipelines").mkdir()
    (folder / "personalities").mkdir()
    (folder / "pipelines" / "own.yaml").write_text(pipeline, "utf-8")
    (folder / "personalities" / "mia.yaml").write_text(f"{MIA}pipeline: own\n{lines}", "utf-8")
    project = read_project(Sources(pipelines=(ROOT / "pipelines",), files=(folder,)))
    loaded, shared = project.personalities["mia"], project.pipelines["own"]
    return resolve(loaded.spec, loaded.document, Pipeline("own", shared.spec, shared.document))


def order(found: Resolved) -> list[str]:
    return [entry.id for entry in found.entries]


def settings(found: Resolved, id_: str) -> Any:
    return next(entry.settings for entry in found.entries if entry.id == id_)


# -- single settings -----------------------------------------------------------------------------------


def test_mappings_are_merged_and_everything_else_is_replaced() -> None:
    base = {"model": {"temperature": "0", "stop": ["a", "b"]}, "datasets": ["x"], "top_k": "5"}
    over = {"model": {"stop": ["c"]}, "datasets": "y", "when": "z"}
    assert merge(base, over) == {
        "model": {"temperature": "0", "stop": ["c"]},
        "datasets": "y",
        "top_k": "5",
        "when": "z",
    }


def test_a_mapping_that_is_written_empty_changes_nothing_and_a_text_is_emptied() -> None:
    assert merge({"model": {"seed": "1"}, "when": "a"}, {"model": "", "when": ""}) == {
        "model": {"seed": "1"},
        "when": "",
    }


def test_a_personality_changes_single_settings(tmp_path: Path) -> None:
    found = resolved(tmp_path, "stages:\n  answer:\n    model:\n      temperature: 0.9\n    timeout: 10s\n")
    answer = settings(found, "answer")
    assert (answer.model.temperature, answer.model.max_tokens, answer.timeout) == (0.9, 100, 10.0)
    assert found.diagnostics == ()


def test_a_condition_of_the_pipeline_can_be_emptied(tmp_path: Path) -> None:
    pipeline = OWN.replace("source: history\n", 'source: history\n    when: channel == "voice"\n')
    found = resolved(tmp_path, "stages:\n  history:\n    when:\n", pipeline)
    assert settings(found, "history").when is None
    assert found.entries[0].texts == ()


def test_an_override_without_settings_changes_nothing(tmp_path: Path) -> None:
    found = resolved(tmp_path, "stages:\n  answer:\n")
    assert settings(found, "answer").timeout == 20.0
    assert found.diagnostics == ()


def test_the_same_type_may_be_written_again(tmp_path: Path) -> None:
    found = resolved(tmp_path, "stages:\n  answer:\n    type: llm\n    timeout: 5s\n")
    assert settings(found, "answer").timeout == 5.0
    assert found.diagnostics == ()


# -- where the words stand -----------------------------------------------------------------------------


def test_each_setting_knows_which_file_says_it(tmp_path: Path) -> None:
    found = resolved(tmp_path, "stages:\n  answer:\n    model:\n      temperature: 0.9\n")
    at = next(entry.at for entry in found.entries if entry.id == "answer")
    assert at.value("model", "temperature").file.endswith("mia.yaml")
    assert at.value("model", "max_tokens").file.endswith("own.yaml")
    assert at.key("timeout").file.endswith("own.yaml")
    assert at.key().file.endswith("own.yaml")
    assert at.key("when").file.endswith("own.yaml")  # said nowhere: at the stage itself


def test_a_wrong_setting_is_told_of_in_the_file_that_says_it(tmp_path: Path) -> None:
    found = resolved(tmp_path, "stages:\n  answer:\n    model:\n      temperature: 9\n")
    [problem] = found.diagnostics
    assert (Path(problem.place.file).name, problem.place.line) == ("mia.yaml", 8)


def test_a_list_that_replaces_another_is_located_in_its_own_file() -> None:
    def document(name: str) -> Document:
        return Document(Path(name), name, "a: x\n", {"a": ["x"]}, {("a",): (1, 1, 1, 1, 4, 1)})

    base = Written("s", (Layer(document("base"), (), {"a": ["x", "y"]}),), {"a": ["x", "y"]})
    over = base.over(Layer(document("over"), (), {"a": "z"}))
    assert over.item(("a",), 0).file == "over"


# -- leaving out and adding ----------------------------------------------------------------------------


def test_off_leaves_a_stage_out(tmp_path: Path) -> None:
    found = resolved(tmp_path, "stages:\n  history: off\n")
    assert order(found) == ["prompt", "answer", "save"]
    assert [(stage.id, stage.place.line) for stage in found.removed] == [("history", 6)]


def test_what_needs_nothing_goes_on_top_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = resolved(
        tmp_path,
        "stages:\n  memory:\n    type: fetch_context\n    source: memory\n"
        "  profile:\n    type: fetch_context\n    source: profile\n",
    )
    assert order(found) == ["memory", "profile", "history", "prompt", "answer", "save"]


def test_an_added_model_stands_below_the_prompt_and_what_its_templates_name(tmp_path: Path) -> None:
    found = resolved(
        tmp_path,
        "stages:\n  check:\n    type: llm\n    ask: 对吗？{{ answer.text }}\n"
        "  mood:\n    type: llm\n    ask: 心情？\n",
    )
    assert order(found) == ["history", "prompt", "mood", "answer", "check", "save"]


def test_new_stages_that_name_each_other_stand_in_that_order(tmp_path: Path) -> None:
    found = resolved(
        tmp_path,
        "stages:\n  second:\n    type: llm\n    ask: '{{ first.text }}'\n"
        "  first:\n    type: llm\n    ask: 一\n",
    )
    assert order(found) == ["history", "prompt", "first", "second", "answer", "save"]


def test_a_tool_loop_and_what_it_takes_can_be_added_together(tmp_path: Path) -> None:
    found = resolved(
        tmp_path,
        "stages:\n  remember:\n    type: writeback\n  tools:\n    type: tool_loop\n"
        "  final:\n    type: llm\n    visible: true\n    ask: '{{ answer.text }}'\n",
    )
    assert order(found) == ["history", "prompt", "answer", "final", "tools", "save", "remember"]


def test_a_budget_is_added_below_every_part(tmp_path: Path) -> None:
    pipeline = OWN.replace(
        "  prompt:\n", "  memory:\n    type: fetch_context\n    source: memory\n  prompt:\n", 1
    )
    found = resolved(tmp_path, "stages:\n  budget:\n    type: budget\n", pipeline)
    assert order(found) == ["history", "memory", "budget", "prompt", "answer", "save"]


def test_storing_is_added_below_whoever_speaks(tmp_path: Path) -> None:
    pipeline = OWN.replace("  save:\n    type: persist\n", "  tools:\n    type: tool_loop\n")
    found = resolved(tmp_path, "stages:\n  save:\n    type: persist\n", pipeline)
    assert order(found) == ["history", "prompt", "answer", "tools", "save"]


def test_stages_that_are_added_in_a_circle_are_an_error_and_not_a_hang(tmp_path: Path) -> None:
    result = check(
        tmp_path,
        {
            "personalities/mia.yaml": MIA
            + "stages:\n  one:\n    type: llm\n    ask: '{{ two.text }}'\n"
            + "  two:\n    type: llm\n    ask: '{{ one.text }}'\n  answer:\n    visible: true\n"
        },
    )
    assert codes(result) == ["CZ066"]


def test_a_stage_that_cannot_be_read_is_still_known_by_its_id(tmp_path: Path) -> None:
    pipeline = "stages:\n  notes: later\n  prompt:\n    type: render_prompt\n    after: notes\n"
    pipeline += "  answer:\n    type: llm\n    ask: '{{ notes.text }}'\n"
    lines = "pipeline: own\nstages:\n  notes:\n    timeout: 1s\n"
    result = check(tmp_path, {"pipelines/own.yaml": pipeline, "personalities/mia.yaml": MIA + lines})
    assert codes(result) == ["CZ054"]


# -- the turn's timeout --------------------------------------------------------------------------------


def test_a_personalitys_timeout_is_over_the_pipelines_and_that_over_the_default(tmp_path: Path) -> None:
    found = resolved(tmp_path, "timeout: 90s\n", "timeout: 80s\n" + OWN)
    assert (found.timeout_s, found.timeout_place and found.timeout_place.line) == (90.0, 5)
    own = Pipeline("own", PipelineSpec(timeout=80.0, stages={}), found.pipeline.document)
    spec = mia(tmp_path / "2", "").spec
    assert resolve(spec, found.pipeline.document, own).timeout_s == 80.0
    assert DEFAULT_TIMEOUT_S == 60.0
