from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cozy.dsl.check import CheckResult, check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from tests.dsl.authoring import MIA, check_mia, codes
from tests.dsl.checking import ROOT

OPEN = World()
"""An installation that knows nothing of providers or datasets, allows everything and has no tools."""
STRICT = World(
    default_model="openai/gpt-4.1-mini",
    providers=frozenset({"openai", "ollama"}),
    allowed_models=("openai/gpt-4.1*", "ollama/*"),
    tools=frozenset({"calculator", "current_time"}),
    allowed_tools=("c*", "mcp/weather/*"),
    tool_servers=frozenset({"weather", "files"}),
    datasets=frozenset({"health"}),
)


def said(folder: Path, lines: str, world: World = STRICT) -> list[str]:
    return codes(check_mia(folder, lines, world))


@pytest.mark.parametrize(
    "name", ["auto", "openai/gpt-4.1", "openai/gpt-4.1-mini", "ollama/qwen3:8b", "ollama/a/b"]
)
def test_a_model_that_is_allowed_is_fine(name: str, tmp_path: Path) -> None:
    assert said(tmp_path, f"model:\n  name: {name}\n") == []


@pytest.mark.parametrize(
    ("name", "code"), [("opnai/gpt-4.1", "CZ092"), ("openai/o3", "CZ093"), ("demo/demo", "CZ092")]
)
@pytest.mark.parametrize(
    "lines",
    [
        "model:\n  name: {}\n",
        "model:\n  fallbacks: {}\n",
        "model:\n  fallbacks:\n    - ollama/a\n    - {}\n",
        "stages:\n  answer:\n    model:\n      name: {}\n",
        "stages:\n  answer:\n    model:\n      fallbacks: {}\n",
        "stages:\n  answer:\n    fallbacks: {}\n",
    ],
    ids=["model", "fallback", "fallbacks", "stage", "stage model", "stage fallback"],
)
def test_a_model_is_looked_at_wherever_it_is_named(lines: str, name: str, code: str, tmp_path: Path) -> None:
    assert said(tmp_path, lines.format(name)) == [code]


def test_where_nothing_is_configured_any_model_will_do(tmp_path: Path) -> None:
    assert said(tmp_path, "model:\n  name: anything/at-all\n  fallbacks: 别的/模型\n", OPEN) == []


@pytest.mark.parametrize("name", ["gpt-4.1", "ollama/", "/qwen3", "ollama/qwen 3"])
def test_a_fallback_without_provider_or_name_is_no_model(name: str, tmp_path: Path) -> None:
    assert said(tmp_path, f'model:\n  fallbacks: "{name}"\n') == ["CZ059"]


@pytest.mark.parametrize(
    "lines",
    [
        "model:\n  name: ollama/a\n  fallbacks: ollama/a\n",
        "model:\n  fallbacks: openai/gpt-4.1-mini\n",
        "model:\n  fallbacks:\n    - ollama/a\n    - ollama/a\n",
        "model:\n  name: openai/gpt-4.1-mini\n  fallbacks: auto\n",
        "model:\n  name: ollama/a\nstages:\n  answer:\n    fallbacks: ollama/a\n",
        "stages:\n  answer:\n    model:\n      name: ollama/a\n    fallbacks: ollama/a\n",
    ],
)
def test_a_model_that_was_tried_already_is_no_fallback(lines: str, tmp_path: Path) -> None:
    assert said(tmp_path, lines) == ["CZ094"]


def test_a_pipeline_by_itself_does_not_know_the_personalitys_model(tmp_path: Path) -> None:
    """Its fallbacks may be what the personality starts with, or not: nothing is said of it."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    answer = "  answer:\n    type: llm\n    fallbacks: openai/gpt-4.1-mini\n"
    (folder / "own.yaml").write_text(f"stages:\n  prompt:\n    type: render_prompt\n{answer}", "utf-8")
    assert said(tmp_path, "pipeline: own\nmodel:\n  name: ollama/a\n") == []


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("calculator", []),
        ("calc*", []),
        ("mcp/weather/*", []),
        ("mcp/weather/forecast", []),
        ("calculater", ["CZ095"]),
        ("weather", ["CZ095"]),
        ("mcp/wether/*", ["CZ095"]),
        ("mcp/weather", ["CZ095"]),
        ("mcp/weather/", ["CZ095"]),
        ("mcp/", ["CZ095"]),
        ("mcp/files/read", ["CZ096"]),
        ("mcp/*", ["CZ096"]),
        ("*", ["CZ096"]),
    ],
)
def test_a_tool_is_there_and_allowed_or_told_of(tool: str, expected: list[str], tmp_path: Path) -> None:
    assert said(tmp_path, f'tools:\n  - "{tool}"\n') == expected


def test_without_a_tool_server_none_can_be_named(tmp_path: Path) -> None:
    assert said(tmp_path, "tools: mcp/*\n", OPEN) == ["CZ095"]


def test_a_dataset_that_is_not_there_is_a_warning_where_datasets_are_known(tmp_path: Path) -> None:
    lines = "stages:\n  knowledge:\n    datasets:\n      - health\n      - heath\n"
    assert said(tmp_path, lines) == ["CZ098"]
    assert said(tmp_path, lines, OPEN) == []


@pytest.mark.parametrize(("answer", "expected"), [(4096, ["CZ080"]), (4095, [])])
def test_an_answer_leaves_room_for_a_prompt(answer: int, expected: list[str], tmp_path: Path) -> None:
    assert said(tmp_path, f"model:\n  context_tokens: 4096\n  max_tokens: {answer}\n") == expected


# -- what comes with Cozy ------------------------------------------------------------------------------

SHIPPED = {
    "shipped/personalities/guide.yaml": MIA.replace("mia", "guide")
    + "tools:\n  - current_time\n  - calculator\nmodel:\n  name: openai/o3\n",
    "shipped/personalities/clerk.yaml": MIA.replace("mia", "clerk") + "tools: calculator\n",
    "shipped/pipelines/own.yaml": "stages:\n  prompt:\n    type: render_prompt\n  answer:\n    type: llm\n"
    "    model:\n      name: openai/o3\n",
}


def installed(folder: Path, files: dict[str, str]) -> CheckResult:
    """What the check says of these files, where those of `shipped/` come with Cozy."""
    for name, text in {**SHIPPED, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    both = [folder, folder / "shipped"]
    sources = Sources(
        tuple(place / "personalities" for place in both),
        (*(place / "pipelines" for place in both), ROOT / "pipelines"),
    )
    shipped = (folder / "shipped" / "personalities", folder / "shipped" / "pipelines")
    return check(read_project(sources), replace(STRICT, allowed_tools=("calculator",), shipped=shipped))


def test_what_comes_with_cozy_and_is_not_allowed_is_left_out_with_one_warning(tmp_path: Path) -> None:
    result = installed(tmp_path, {})
    assert [checked.spec.id for checked in result.personalities] == ["clerk"]
    [problem] = result.diagnostics
    assert (problem.code, problem.severity) == ("CZ096", "warning")
    assert problem.message == "`guide` is left out: the configuration does not allow the tool `current_time`"
    assert problem.hint is not None
    assert "`guide.yaml`" in problem.hint
    assert "allowed: `calculator`" in problem.hint


def test_a_personality_of_ones_own_is_no_less_wrong_for_what_comes_with_cozy(tmp_path: Path) -> None:
    text = SHIPPED["shipped/personalities/guide.yaml"]
    result = installed(tmp_path, {"personalities/guide.yaml": text})
    assert [d.severity for d in result.diagnostics] == ["error", "error"]


@pytest.mark.parametrize("first", ["personalities/a.yaml", "personalities/z.yaml"])
def test_a_shipped_pipeline_that_is_not_allowed_is_the_error_of_who_uses_it(
    first: str, tmp_path: Path
) -> None:
    id_ = Path(first).stem
    mine = {first: MIA.replace("mia", id_) + "pipeline: own\n"}
    theirs = {"shipped/personalities/guide.yaml": MIA.replace("mia", "guide") + "pipeline: own\n"}
    result = installed(tmp_path, {**mine, **theirs})
    told = {(d.code, d.severity, d.related[0].message) for d in result.diagnostics}
    assert told == {
        ("CZ093", "error", f"as personality `{id_}` uses it"),
        ("CZ093", "warning", "as personality `guide` uses it"),
    }
    assert [checked.spec.id for checked in result.personalities] == ["clerk"]


def test_a_shipped_personality_that_is_wrong_beside_stays_an_error(tmp_path: Path) -> None:
    text = SHIPPED["shipped/personalities/guide.yaml"] + "pipeline: nowhere\n"
    result = installed(tmp_path, {"shipped/personalities/guide.yaml": text})
    assert {d.code for d in result.diagnostics if d.severity == "error"} == {"CZ050", "CZ093", "CZ096"}


# -- engines -------------------------------------------------------------------------------------------

ENGINES = replace(STRICT, engines={"knowledge": frozenset({"wiki"}), "memory": frozenset({"mem0"})})


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("  memory: mem0\n", []),
        ("  knowledge: wiki\n  profile: embedded\n", []),
        ("", []),
        ("  memory: mem1\n", ["CZ110"]),
        ("  memory: wiki\n", ["CZ111"]),
        ("  profile: mem0\n  knowledge: 维基\n", ["CZ111", "CZ110"]),
        ("  history: mem0\n", ["CZ030"]),
        ("  memroy: nobody\n", ["CZ030"]),
        ("  memory:\n", []),
    ],
    ids=[
        "one",
        "two",
        "none",
        "unknown",
        "another kind",
        "several",
        "of the history",
        "a slip",
        "nothing said",
    ],
)
def test_an_engine_must_be_there_and_bring_what_it_is_named_for(
    lines: str, code: list[str], tmp_path: Path
) -> None:
    assert said(tmp_path, f"engines:\n{lines}", ENGINES) == code


def test_where_engines_are_not_known_nothing_is_said_of_them(tmp_path: Path) -> None:
    assert said(tmp_path, "engines:\n  memory: anything\n", OPEN) == []


@pytest.mark.parametrize(
    ("default", "lines", "expected"),
    [
        ("embedded", "engines:\n  knowledge: wiki\n", ["CZ117"]),
        ("wiki", "", ["CZ117"]),
        ("wiki", "engines:\n  knowledge: embedded\n", []),
        ("embedded", "", []),
        ("embedded", "engines:\n  knowledge: wikki\n", ["CZ110"]),
    ],
    ids=["named", "by default", "another engine", "another by default", "an engine that is not there"],
)
def test_a_dataset_is_among_those_that_its_engine_searches(
    default: str, lines: str, expected: list[str], tmp_path: Path
) -> None:
    searched = {"wiki": frozenset({"plants"})}
    world = replace(ENGINES, datasets=None, knowledge=default, engine_datasets=searched)
    stage = "stages:\n  knowledge:\n    datasets:\n      - plants\n      - 草药\n"
    assert said(tmp_path, lines + stage, world) == expected
