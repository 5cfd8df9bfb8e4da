"""`cozy graph`: one personality in four forms."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from syrupy.assertion import SnapshotAssertion

from cozy.cli.graph import graph
from cozy.errors import NotFound, PersonalityError

pytestmark = pytest.mark.usefixtures("here")


def run(*arguments: str, columns: int = 100) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(graph, arguments)


@pytest.mark.parametrize("name", ["default", "concierge", "careful_writer"])
def test_a_shipped_personality_is_drawn(name: str, snapshot: SnapshotAssertion) -> None:
    done = run(name)
    assert done.exit_code == 0
    assert done.stdout == snapshot


def test_a_narrow_terminal_gets_a_list(snapshot: SnapshotAssertion) -> None:
    assert run("health_assistant", columns=50).stdout == snapshot


def test_the_other_forms_are_what_they_say() -> None:
    assert run("concierge", "--format", "mermaid").stdout.startswith("flowchart TD\n")
    assert ET.fromstring(run("concierge", "--format", "svg").stdout).tag.endswith("svg")
    values = json.loads(run("concierge", "--format", "json").stdout)
    knowledge = next(node for node in values["nodes"] if node["id"] == "knowledge")
    assert knowledge["settings"]["source"] == "knowledge"
    assert knowledge["when"]
    assert {"source": "intent", "target": "knowledge", "kind": "waits", "implied": False} in values["edges"]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    failed = run("defualt").exception
    assert isinstance(failed, NotFound)
    assert failed.hint == "did you mean `default`?"


def test_a_personality_with_mistakes_shows_them(here: Path) -> None:
    (here / "personalities").mkdir()
    (here / "personalities" / "mia.yaml").write_text("id: mia\nname: Mia\npipeline: standrad\n")
    failed = run("mia").exception
    assert isinstance(failed, PersonalityError)
    assert "did you mean `standard`?" in failed.message
