from __future__ import annotations

from pathlib import Path

import pytest

from cozy.dsl.world import World
from tests.dsl.authoring import check_mia, codes

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
