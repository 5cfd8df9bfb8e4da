from __future__ import annotations

import re
from pathlib import Path

import pytest

from cozy.dsl.diagnostics import as_text
from cozy.dsl.explain import codes, explanation, explanations
from cozy.errors import NotFound
from tests.dsl.checking import checked


def _files(code: str, side: str, folder: Path) -> bool:
    """Write an explanation's examples of one side as files; whether there are any."""
    text = explanation(code).text
    assert re.search(r"^Wrong:$.*^Right:$", text, re.DOTALL | re.MULTILINE), f"{code} lacks an example"
    part = text.split("\nRight:\n")[side == "right"]
    blocks = re.findall(r"^```yaml\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    for block in blocks:
        named = re.match(r"# (\S+\.ya?ml)\n", block)
        path = folder / (named[1] if named else "personalities/mia.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block, "utf-8")
    return bool(blocks)


@pytest.mark.parametrize("code", codes())
def test_what_an_explanation_calls_right_passes_the_check(code: str, tmp_path: Path) -> None:
    if _files(code, "right", tmp_path):
        found, texts = checked(tmp_path)
        assert not found, as_text(found, texts)


@pytest.mark.parametrize("code", codes())
def test_what_an_explanation_calls_wrong_has_that_very_code(code: str, tmp_path: Path) -> None:
    if _files(code, "wrong", tmp_path):
        found, _ = checked(tmp_path)
        assert code in {diagnostic.code for diagnostic in found}


@pytest.mark.parametrize("written", ["CZ012", "cz012", "12", " CZ12 "])
def test_a_code_is_found_however_it_is_written(written: str) -> None:
    assert explanation(written).code == "CZ012"


def test_an_unknown_code_is_answered_with_a_near_one() -> None:
    with pytest.raises(NotFound, match="did you mean `CZ012`"):
        explanation("CZ0012x")


def test_stories_begin_with_a_title_and_are_in_order() -> None:
    assert list(explanations()) == sorted(explanations())
    assert all(story.title and not story.title.endswith(".") for story in explanations().values())
