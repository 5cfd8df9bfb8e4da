"""The check as tests run it: the pipelines of the repository, and a world that does not allow everything."""

from __future__ import annotations

from pathlib import Path

from cozy.dsl.check import check
from cozy.dsl.diagnostics import Diagnostic
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World

ROOT = Path(__file__).parents[2]

WORLD = World(
    default_model="demo/demo",
    providers=frozenset({"demo", "openai", "ollama"}),
    allowed_models=("demo/*", "openai/gpt-4.1*", "ollama/*"),
    tools=frozenset({"calculator", "current_time", "random_choice", "unit_convert"}),
    allowed_tools=("calculator", "current_time", "unit_convert", "mcp/weather/*"),
    tool_servers=frozenset({"weather", "files"}),
    datasets=frozenset({"health", "recipes"}),
    engine_datasets={"wiki": frozenset({"plants"})},
    engines={"knowledge": frozenset({"wiki"}), "memory": frozenset({"mem0"})},
)


def checked(*paths: Path) -> tuple[tuple[Diagnostic, ...], dict[str, str]]:
    """What `cozy check PATHS` finds, and the files' texts by their names."""
    project = read_project(Sources(pipelines=(ROOT / "pipelines",), files=paths))
    return check(project, WORLD).diagnostics, dict(project.texts)
