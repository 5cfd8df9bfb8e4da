"""Edges, as the types draw them."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from cozy.dsl.check import CheckedPersonality, check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from tests.dsl.authoring import check_mia, codes, edges, mia
from tests.dsl.checking import ROOT

TOOLS = frozenset({"calculator", "current_time", "random_choice", "unit_convert"})


def shipped() -> dict[str, CheckedPersonality]:
    folders = Sources(personalities=(ROOT / "personalities",), pipelines=(ROOT / "pipelines",))
    return {p.spec.id: p for p in check(read_project(folders), World(tools=TOOLS)).personalities}


@pytest.mark.parametrize("id_", sorted(path.stem for path in (ROOT / "personalities").glob("*.yaml")))
def test_the_shipped_personalities_are_wired(id_: str, snapshot: SnapshotAssertion) -> None:
    assert edges(shipped()[id_]) == snapshot


@pytest.mark.parametrize("pipeline", ["standard", "minimal", "critic", "voice"])
def test_the_shipped_pipelines_are_wired(pipeline: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    assert edges(mia(tmp_path, f"pipeline: {pipeline}\n")) == snapshot


def wired(folder: Path, stages: str) -> list[str]:
    """The edges of a pipeline of one's own; its stages are indented by four."""
    return edges(mia(folder, f"pipeline:\n  stages:\n{stages}"))


def test_a_model_that_nobody_loops_over_is_stored_as_it_is(tmp_path: Path) -> None:
    assert wired(
        tmp_path,
        """\
    prompt:
      type: render_prompt
    answer:
      type: llm
    save:
      type: persist
""",
    ) == [
        "prompt: context=(many)",
        "answer: prompt=prompt(one) after prompt speaks",
        "save: reply=answer(one) after answer",
    ]


def test_tools_of_a_hidden_model_do_not_speak(tmp_path: Path) -> None:
    assert wired(
        tmp_path,
        """\
    prompt:
      type: render_prompt
    research:
      type: llm
    found:
      type: tool_loop
      from: research
    answer:
      type: llm
      visible: true
      ask: 根据这些回答：{{ found.text }}
    save:
      type: persist
""",
    )[1:] == [
        "research: prompt=prompt(one) after prompt offers-tools",
        "found: generation=research(one) after research",
        "answer: prompt=prompt(one) after prompt,found speaks",
        "save: reply=answer(one) after answer",
    ]


def test_one_speaker_may_have_tools_and_the_other_none(tmp_path: Path) -> None:
    """What nobody goes on with is looked at first: a loop over a stage that was skipped says nothing."""
    assert wired(
        tmp_path,
        """\
    prompt:
      type: render_prompt
    careful:
      type: llm
      visible: true
      when: channel != "voice"
    tools:
      type: tool_loop
      from: careful
    quick:
      type: llm
      visible: true
      when: channel == "voice"
    save:
      type: persist
""",
    )[1:] == [
        "careful: prompt=prompt(one) after prompt speaks offers-tools",
        "tools: generation=careful(one) after careful speaks",
        "quick: prompt=prompt(one) after prompt speaks",
        "save: reply=quick,tools(one) after tools,quick",
    ]


def test_without_a_mark_the_model_whose_words_are_stored_speaks(tmp_path: Path) -> None:
    lines = wired(
        tmp_path,
        """\
    prompt:
      type: render_prompt
    notes:
      type: llm
      ask: 列出要点。
    answer:
      type: llm
      ask: 用这些要点回答：{{ notes.text }}
    save:
      type: persist
      from: answer
""",
    )
    assert [line.split(":")[0] for line in lines if "speaks" in line] == ["answer"]


def test_of_several_sources_that_are_named_the_first_that_ran_is_taken(tmp_path: Path) -> None:
    lines = wired(
        tmp_path,
        """\
    short:
      type: render_prompt
    history:
      type: fetch_context
      source: history
    long:
      type: render_prompt
    answer:
      type: llm
      from:
        - long
        - short
""",
    )
    assert lines[-1] == "answer: prompt=long,short(one) after short,long speaks"


def test_a_budget_stands_between_the_parts_and_the_prompt(tmp_path: Path) -> None:
    lines = wired(
        tmp_path,
        """\
    history:
      type: fetch_context
      source: history
    budget:
      type: budget
    memory:
      type: fetch_context
      source: memory
    prompt:
      type: render_prompt
    all_of_it:
      type: render_prompt
      from:
        - history
        - memory
    answer:
      type: llm
      from: all_of_it
""",
    )
    assert "budget: parts=history(many) after history" in lines
    assert "prompt: context=budget(one) after budget" in lines
    assert "all_of_it: context=history,memory(many) after history,memory" in lines


def test_stages_that_a_personal_template_names_come_before_it_is_rendered(tmp_path: Path) -> None:
    lines = edges(
        mia(
            tmp_path,
            """\
            context: |
              {{ profile }} {{ memory }} {{ knowledge }}
              他的心情：{{ mood.text }}
            stages:
              look:
                type: render_prompt
              mood:
                type: llm
                from: look
                ask: 他心情如何？
              answer:
                visible: true
                from: prompt
            """,
        )
    )
    by_id = {line.split(":")[0]: line for line in lines}
    assert "mood" in by_id["prompt"].split("after")[1]
    assert "mood" not in by_id["look"]


def test_a_part_of_the_context_is_no_stage_in_a_personal_template(tmp_path: Path) -> None:
    """`memory` in `context` is that part, whoever fetched it: it orders nothing."""
    lines = edges(mia(tmp_path, "context: |\n  {{ profile }} {{ memory }} {{ knowledge }}\n"))
    assert lines[6] == "prompt: context=budget(one) after budget"


def test_a_tool_loop_named_tools_is_not_the_variable_of_that_name(tmp_path: Path) -> None:
    lines = edges(
        mia(
            tmp_path,
            "stages:\n  answer:\n    ask: 可用的工具：{% for t in tools %}{{ t.name }} {% endfor %}\n",
        )
    )
    assert lines[7] == "answer: prompt=prompt(one) after prompt speaks offers-tools"


def test_whoever_stores_a_turn_waits_for_what_its_jobs_depend_on(tmp_path: Path) -> None:
    lines = edges(
        mia(
            tmp_path,
            """\
            stages:
              private:
                type: llm
                ask: 有什么是不该记住的吗？只回答 yes 或 no。
              answer:
                visible: true
              remember:
                when: private.text != "yes"
            """,
        )
    )
    assert [line for line in lines if line.startswith(("save", "remember"))] == [
        "save: reply=tools(one) after private,tools",
        "remember: saved=save(one) after private,save",
    ]


def test_a_condition_of_jobs_that_is_known_too_late_is_an_error(tmp_path: Path) -> None:
    result = check_mia(
        tmp_path,
        """\
        pipeline:
          stages:
            prompt:
              type: render_prompt
            answer:
              type: llm
              visible: true
            save:
              type: persist
            private:
              type: llm
              ask: 只回答 yes 或 no。
            remember:
              type: writeback
              when: private.text != "yes"
        """,
    )
    assert codes(result) == ["CZ065"]


@pytest.mark.parametrize(
    "when", ['save.status == "complete"', "save", 'turn.text and save.status != "failed"']
)
def test_a_condition_of_jobs_cannot_ask_what_becomes_of_the_turn(when: str, tmp_path: Path) -> None:
    """The jobs are stored with the turn: where it is asked, there is nothing of `save` yet."""
    [problem] = check_mia(tmp_path, f"stages:\n  remember:\n    when: {when}\n").diagnostics
    assert (problem.code, problem.severity) == ("CZ065", "error")
    assert "`save` asks this `when` before it stores the turn" in problem.message


@pytest.mark.parametrize("id_", sorted(path.stem for path in (ROOT / "personalities").glob("*.yaml")))
def test_edges_lead_from_top_to_bottom_and_are_waited_for(id_: str) -> None:
    seen: set[str] = set()
    for stage in shipped()[id_].stages:
        sources = {s for given in stage.inputs for s in given.sources}
        assert sources <= set(stage.waits) <= seen
        for need, given in zip(stage.info.needs, stage.inputs, strict=True):
            assert given.parameter == need.parameter
            assert given.count != "one" or given.sources
        seen.add(stage.id)


INTENT = """\
stages:
  intent:
    type: intent
    rules:
      small_talk:
        keywords: 你好
  knowledge:
    when: intent.label != "small_talk"
  memory:
    top_k: 3 if intent.label == "small_talk" else 8
"""


def test_a_number_that_names_a_stage_waits_for_it(tmp_path: Path) -> None:
    lines = edges(mia(tmp_path, INTENT))
    assert "intent: -" in lines
    assert "knowledge: - after intent" in lines
    assert "memory: - after intent" in lines
    assert "profile: -" in lines
