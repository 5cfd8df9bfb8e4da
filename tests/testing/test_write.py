"""Fixtures that are written can be read again, and say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cozy.dsl.parse import parse_file, parse_text
from cozy.dsl.validate import validate
from cozy.testing.fixture import Fixture
from cozy.testing.write import to_yaml

OURS = sorted(Path(__file__).parents[1].glob("pipelines/*.yaml"))


def read(text: str) -> Fixture:
    """The fixture that this text is."""
    path = Path("fixture.yaml")
    parsed = parse_text(text, path, path.name)
    assert parsed.document is not None, parsed.diagnostics
    assert not parsed.diagnostics, (parsed.diagnostics, text)
    validated = validate(Fixture, parsed.document.data, parsed.document, "a fixture")
    assert validated.value is not None, validated.diagnostics
    assert not validated.diagnostics, (validated.diagnostics, text)
    return validated.value


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_fixture_of_ours_survives_being_written(path: Path) -> None:
    document = parse_file(path, path.name).document
    assert document is not None
    fixture = validate(Fixture, document.data, document, "a fixture").value
    assert fixture is not None
    assert read(to_yaml(fixture)) == fixture


texts = st.text(
    alphabet=st.one_of(
        st.sampled_from(list("ab :#-'\"\\|>&*!%@`{}[],?~\n\t=，。茶🍵")),
        st.characters(
            blacklist_categories=["Cs", "Cc", "Cn", "Co"], blacklist_characters="\u2028\u2029\ufeff"
        ),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(say=texts.filter(bool), piece=texts.filter(bool), answer=texts)
@example(say="null", piece="- a", answer="key: value")
@example(say=" a\nb", piece="a\n\nb\n", answer="\na")
@example(say="a # b", piece="a:", answer="'quoted'")
@example(say="true", piece="---", answer="a\n")
@example(say="0x10", piece="...", answer="a\n\n")
def test_any_text_survives_being_written(say: str, piece: str, answer: str) -> None:
    data: dict[str, Any] = {
        "personality": {"prompt": piece, "pipeline": "minimal"},
        "history": [{"user": piece}, {"assistant": answer}],
        "model": [{"text": [piece, say]}],
        "turns": [{"say": say, "history": []}],
    }
    fixture = Fixture.model_validate(data)
    assert read(to_yaml(fixture)) == fixture


def test_a_fixture_is_written_as_people_would_write_it() -> None:
    fixture = Fixture.model_validate(
        {
            "description": "The tool tells the time",
            "now": "2025-03-01 09:30:00",
            "personality": {"id": "mia", "prompt": "You are Mia.\nBe brief.\n", "tools": ["current_time"]},
            "history": [{"user": "你好"}, {"assistant": "", "calls": [{"name": "clock"}]}],
            "model": [
                {"tool_calls": [{"name": "current_time", "arguments": '{"timezone": "UTC"}'}]},
                {"text": ["半", "小时"], "usage": {"prompt": 3, "completion": 2}},
            ],
            "turns": [{"say": "几点了？", "together": False, "expect": {"jobs": ["none"]}}],
        }
    )
    assert to_yaml(fixture) == (
        "description: The tool tells the time\n"
        "now: 2025-03-01 09:30:00\n"
        "personality:\n"
        "  id: mia\n"
        "  prompt: |\n"
        "    You are Mia.\n"
        "    Be brief.\n"
        "  tools:\n"
        "    - current_time\n"
        "history:\n"
        "  - user: 你好\n"
        "  - assistant:\n"
        "    calls:\n"
        "      - name: clock\n"
        "model:\n"
        "  - tool_calls:\n"
        "      - name: current_time\n"
        "        arguments:\n"
        '          - \'{"timezone": "UTC"}\'\n'
        "  - text:\n"
        "      - 半\n"
        "      - 小时\n"
        "    usage:\n"
        "      prompt: 3\n"
        "      completion: 2\n"
        "turns:\n"
        "  - say: 几点了？\n"
        "    together: false\n"
        "    expect:\n"
        "      jobs:\n"
        "        - none\n"
    )
