"""The check as a whole: everything in one run, each thing once, and only what is sound goes on."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import strictyaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cozy.dsl.check import CheckResult, check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from tests.dsl.authoring import MIA, check_files, check_mia, codes
from tests.dsl.checking import ROOT, WORLD

BROKEN = """\
timeout: 10s
stages:
  prompt:
    type: render_prompt
  answer:
    type: llm
    timeout: 20s
    ask: "{{ nobody }}"
"""
SOUND = "stages:\n  prompt:\n    type: render_prompt\n  answer:\n    type: llm\n"


def persona(id_: str, lines: str = "") -> str:
    return f"id: {id_}\nname: {id_}\nprompt: 你好。\n{lines}"


def test_every_problem_of_every_file_is_found_in_one_run(tmp_path: Path) -> None:
    result = check_files(
        tmp_path,
        {
            "pipelines/own.yaml": BROKEN,
            "personalities/a.yaml": persona("a", "pipeline: own\ntools: nothing\n"),
            "personalities/b.yaml": persona("b", "model:\n  name: openai/o3\n"),
            "personalities/c.yaml": persona("c", "nmae: c\npipeline: elsewhere\n"),
        },
    )
    assert sorted(codes(result)) == ["CZ030", "CZ050", "CZ079", "CZ083", "CZ093", "CZ095", "CZ097"]
    assert [p.spec.id for p in result.personalities] == []


def test_a_broken_pipeline_is_told_of_once_and_stops_all_its_personalities(tmp_path: Path) -> None:
    files = {f"personalities/p{i}.yaml": persona(f"p{i}", "pipeline: own\n") for i in range(5)}
    result = check_files(tmp_path, {"pipelines/own.yaml": BROKEN, **files})
    assert sorted(codes(result)) == ["CZ079", "CZ083"]
    assert result.personalities == ()


def test_a_pipeline_that_nobody_uses_is_checked_too(tmp_path: Path) -> None:
    result = check_files(tmp_path, {"pipelines/own.yaml": BROKEN, "personalities/mia.yaml": MIA})
    assert sorted(codes(result)) == ["CZ079", "CZ083"]
    assert [p.spec.id for p in result.personalities] == ["mia"]


def test_what_one_personality_does_to_a_pipeline_is_told_with_its_name(tmp_path: Path) -> None:
    lines = "pipeline: own\nstages:\n  other:\n    type: render_prompt\n"
    files = {
        "pipelines/own.yaml": SOUND,
        "personalities/a.yaml": persona("a", lines),
        "personalities/b.yaml": persona("b", "pipeline: own\n"),
    }
    result = check_files(tmp_path, files)
    [problem] = result.diagnostics
    assert problem.code == "CZ061"
    assert problem.place.file.endswith("pipelines/own.yaml")
    assert problem.related[-1].message == "as personality `a` uses it"
    assert [p.spec.id for p in result.personalities] == ["b"]


def test_a_pipeline_with_an_unknown_key_is_not_run(tmp_path: Path) -> None:
    files = {"pipelines/own.yaml": f"tiemout: 5s\n{SOUND}", "personalities/mia.yaml": f"{MIA}pipeline: own\n"}
    result = check_files(tmp_path, files)
    assert codes(result) == ["CZ030"]
    assert result.personalities == ()


def test_a_pipeline_that_cannot_be_read_is_not_called_missing(tmp_path: Path) -> None:
    files = {"pipelines/own.yaml": "stages: [a]\n", "personalities/mia.yaml": f"{MIA}pipeline: own\n"}
    result = check_files(tmp_path, files)
    assert codes(result) == ["CZ010"]
    assert result.personalities == ()


def test_warnings_stop_nothing(tmp_path: Path) -> None:
    result = check_mia(tmp_path, "tools: calculator\npipeline: minimal\n")
    assert codes(result) == ["CZ097"]
    assert result.errors == 0
    assert [p.spec.id for p in result.personalities] == ["mia"]


def test_a_checked_personality_says_what_it_was_made_of(tmp_path: Path) -> None:
    lines = "timeout: 30s\npipeline:\n" + indent(SOUND, "  ")
    [checked] = check_mia(tmp_path, lines).personalities
    assert (checked.pipeline, checked.timeout_s, checked.spec.id) == ("mia", 30.0, "mia")
    assert checked.file.endswith("personalities/mia.yaml")
    assert [stage.id for stage in checked.stages] == ["prompt", "answer"]


def test_a_key_that_is_mistyped_does_not_hide_what_else_is_wrong(tmp_path: Path) -> None:
    lines = "stages:\n  knowledge:\n    tpo_k: 3\n    when: turn.txt\n    after: nobody\n"
    assert codes(check_mia(tmp_path, lines)) == ["CZ030", "CZ084", "CZ063"]


def test_the_shipped_files_pass_without_a_warning() -> None:
    tools = frozenset({"calculator", "current_time", "random_choice", "unit_convert"})
    folders = Sources(personalities=(ROOT / "personalities",), pipelines=(ROOT / "pipelines",))
    result = check(read_project(folders), World(tools=tools))
    assert result.text() == ""
    shipped = {"default", "health_assistant", "careful_writer", "concierge", "minimal"}
    assert {p.spec.id for p in result.personalities} == shipped


def test_the_minimal_personality_is_minimal() -> None:
    assert len((ROOT / "personalities" / "minimal.yaml").read_text("utf-8").splitlines()) < 10


# -- whatever is written -------------------------------------------------------------------------------

SEEDS = [
    strictyaml.load(path.read_text("utf-8")).data
    for folder in ("personalities", "pipelines")
    for path in sorted((ROOT / folder).glob("*.yaml"))
]
WORDS = (
    *(
        "",
        "off",
        "own",
        "critic",
        "history",
        "prompt",
        "answer",
        "tools",
        "draft",
        "true",
        "10",
        "500ms",
        "2h",
    ),
    *(
        "llm",
        "persist",
        "tool_loop",
        "writeback",
        "budget",
        "render_prompt",
        "fetch_context",
        "知识",
        "😀",
        "*",
    ),
    *(
        "loop",
        "mcp/",
        "mcp/weather/*",
        "auto",
        "openai/",
        "{{ draft.text }}",
        "{{ x",
        "{% if a %}",
        "｛｛ x ｝｝",
    ),
    *('turn.text == "a"', "channel != 'voice'", "not intent", "a and (b or c) == 1", "[1] == x", "x in []"),
    *("{% for a in history %}{{ a.b.c }}{% endfor %}", "{{ knowledge|first }}", "{{ {} }}", "{{ self }}"),
)
"""Words that mean something somewhere."""


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


@st.composite
def altered(draw: st.DrawFn) -> dict[str, Any]:
    """A shipped file with some of its parts taken out, exchanged, renamed or replaced."""
    data = deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 5))):
        places = list(_places(data))
        if not places:
            break
        *path, key = draw(st.sampled_from(places))
        parent: Any = data
        for step in path:
            parent = parent[step]
        match draw(st.sampled_from(["delete", "word", "shape", "rename", "reorder"])):
            case "delete":
                del parent[key]
            case "word":
                parent[key] = draw(st.sampled_from(WORDS))
            case "shape":
                shapes = [{}, {"type": "llm"}, ["a", "b"], {"a": {"b": "c"}}, [{"x": "y"}], [["z"]]]
                parent[key] = deepcopy(draw(st.sampled_from(shapes)))
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from(WORDS)) or "k"] = parent.pop(key)
            case _ if isinstance(parent, dict):
                turned = list(parent.items())[::-1]
                parent.clear()
                parent.update(turned)
            case _:
                parent.reverse()
    return data


def _yaml(value: Any, depth: int = 0) -> str:
    """YAML in the language's subset; every text in quotes."""
    pad = "  " * depth
    if isinstance(value, dict) and value:
        return "\n" + "\n".join(f"{pad}{_quoted(str(k))}:{_yaml(v, depth + 1)}" for k, v in value.items())
    if isinstance(value, list) and value:
        return "\n" + "\n".join(f"{pad}-{_yaml(v, depth + 1)}" for v in value)
    return f" {_quoted(value if isinstance(value, str) else '')}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
)
@given(altered())
def test_whatever_is_written_ends_in_diagnostics_and_what_passes_can_run(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    file = tmp_path / "mia.yaml"
    file.write_text(_yaml(data).lstrip("\n") + "\n", "utf-8")
    result = check(read_project(Sources(pipelines=(ROOT / "pipelines",), files=(file,))), WORLD)
    _every_place_is_in_its_file(result)
    for personality in result.personalities:
        seen: set[str] = set()
        for stage in personality.stages:
            sources = {source for given_ in stage.inputs for source in given_.sources}
            assert sources <= set(stage.waits) <= seen
            assert all(given_.sources for given_ in stage.inputs if given_.count == "one")
            seen.add(stage.id)
        assert any(stage.speaks for stage in personality.stages)


def _every_place_is_in_its_file(result: CheckResult) -> None:
    assert isinstance(result.text(), str)
    for diagnostic in result.diagnostics:
        for place in (diagnostic.place, *(related.place for related in diagnostic.related)):
            lines = result.texts[place.file].split("\n")
            assert 1 <= place.line <= len(lines)
            assert 1 <= place.column <= len(lines[place.line - 1]) + 1


def test_a_large_pipeline_is_checked_in_reasonable_time(tmp_path: Path) -> None:
    """Three hundred stages that each name the one before, added by a personality in the wrong order."""
    stages = "".join(f"  s{i}:\n    type: llm\n    ask: '{{{{ s{i + 1}.text }}}}'\n" for i in range(240))
    result = check_mia(tmp_path, f"stages:\n  answer:\n    visible: true\n{stages}")
    assert codes(result) == ["CZ068", "CZ083"]


@pytest.mark.parametrize(
    "when", ["9 ** 9 ** 9 ** 9", "(" * 4000, "not " * 4000 + "x"], ids=["power", "deep", "not"]
)
def test_an_expression_that_would_not_end_is_an_error(when: str, tmp_path: Path) -> None:
    assert codes(check_mia(tmp_path, f"stages:\n  memory:\n    when: {when}\n")) == ["CZ082"]
