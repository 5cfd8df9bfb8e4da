"""A fixture that cannot be run says where and why, as `cozy check` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.testing.reading import Case
from tests.testing.cases import GREETING, complaints, read

INLINE = """\
personality:
  prompt: You are Mia.
  pipeline: minimal
model:
  - text: Hello.
turns:
  - say: hello
"""


def test_a_personality_may_be_one_of_the_project(tmp_path: Path) -> None:
    case = read(GREETING, tmp_path)
    assert isinstance(case, Case)
    assert (case.graph.id, case.graph.pipeline) == ("minimal", "minimal")


def test_a_personality_may_stand_in_the_fixture_without_a_name(tmp_path: Path) -> None:
    case = read(INLINE, tmp_path)
    assert isinstance(case, Case)
    assert (case.graph.id, case.graph.persona.prompt.source) == ("fixture", "You are Mia.")


def test_tools_of_the_fixture_stand_beside_the_built_in_ones(tmp_path: Path) -> None:
    text = INLINE.replace(
        "  pipeline: minimal", "  pipeline: standard\n  tools:\n    - weather\n    - calculator"
    )
    case = read(text + "tools:\n  - name: weather\n    result: rain\n", tmp_path)
    assert isinstance(case, Case)
    assert [tool.spec.name for tool in case.graph.persona.tools] == ["weather", "calculator"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            GREETING.replace("minimal", "minmal"),
            "greeting.yaml:1:14: there is no personality `minmal` [CZ100]",
            id="a personality that is not there",
        ),
        pytest.param(
            GREETING.replace("turns:", "truns:"),
            "greeting.yaml:4:1: a fixture has no key `truns`",
            id="a typo",
        ),
        pytest.param(
            GREETING.replace("say", "says"),
            "greeting.yaml:5:5: `turns` has no key `says`",
            id="a typo in a turn",
        ),
        pytest.param(
            GREETING + "    channel: radio\n", "6:14: `channel` cannot be `radio`", id="a wrong word"
        ),
        pytest.param(
            GREETING + "now: yesterday\n", "6:6: `now` cannot be `yesterday`", id="a time that is none"
        ),
        pytest.param(
            GREETING.replace("text", "txt"), "3:5: `model` has no key `txt`", id="a typo in a reply"
        ),
        pytest.param("personality: minimal\n", "`turns` is missing", id="nothing is said"),
        pytest.param(GREETING + "model:\n", "greeting.yaml:6:1:", id="YAML that is none"),
        pytest.param(
            INLINE.replace("pipeline: minimal", "pipeline: minmal"),
            "greeting.yaml:3:13: there is no pipeline `minmal`",
            id="a mistake in the personality's own lines",
        ),
        pytest.param(
            INLINE.replace("You are Mia.", "You are {{ person.name }}."),
            "greeting.yaml:2:22: ",
            id="a mistake in a template of the personality",
        ),
        pytest.param(
            INLINE.replace("minimal\n", "minimal\n  stages:\n    anser:\n      timeout: 1s\n"),
            "greeting.yaml:5:5: ",
            id="a stage that is not in the pipeline",
        ),
        pytest.param(
            GREETING + "    retry_of: 1\n",
            "6:15: there is no turn 1 before this one [CZ100]",
            id="a later turn",
        ),
        pytest.param(
            GREETING + "    resumes: 1\n",
            "6:14: there is no turn 1 before this one [CZ100]",
            id="a later turn to go on with",
        ),
        pytest.param(
            GREETING + "    results:\n      - call_id: c1\n",
            "7:9: nobody says this [CZ100]",
            id="a result without words",
        ),
        pytest.param(
            GREETING + "    together: true\n",
            "6:15: there is no turn before this one",
            id="nothing to go with",
        ),
        pytest.param(
            GREETING + "history:\n  - call_id: c1\n", "7:5: nobody says this [CZ100]", id="nobody speaks"
        ),
        pytest.param(
            GREETING + "    history:\n      - user: a\n        assistant: b\n",
            "7:9: only one can say this [CZ100]",
            id="two speak at once",
        ),
        pytest.param(
            GREETING + "knowledge:\n  passages:\n    - text: a\n  documents:\n    - name: b\n      text: c\n",
            "9:3: passages are found in place of a search of documents [CZ100]",
            id="two ways at once",
        ),
        pytest.param(
            GREETING + "tools:\n  - name: calculator\n    result: '2'\n",
            "6:1: tools of the same name: `calculator` [CZ100]",
            id="a tool that there is already",
        ),
        pytest.param(
            GREETING + 'tools:\n  - name: weather\n    parameters: \'{"type": "objct"}\'\n    result: rain\n',
            "6:1: the schema of tool `weather` is broken",
            id="a tool with a broken schema",
        ),
        pytest.param(
            GREETING + "tools:\n  - name: weather\n    parameters: '{'\n",
            "8:17: `parameters` cannot be `{`",
            id="a schema that is no JSON",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in complaints(text, tmp_path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    from cozy.testing.reading import Unreadable, read_case
    from tests.testing.cases import project

    case = read_case(tmp_path / "none.yaml", "none.yaml", project())
    assert isinstance(case, Unreadable)
    assert case.diagnostics[0].code == "CZ001"
