"""Each mistake that an author can make: a file, or a folder of them, under `mistakes/`, named after its code.

`CZ012_a_key_twice.yaml` is read as a personality or a pipeline, as it says itself; a folder holds
`personalities/` and `pipelines/`. The snapshot is what `cozy check` shows.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from cozy.dsl.diagnostics import as_text
from cozy.dsl.explain import codes
from tests.dsl.checking import ROOT, checked

MISTAKES = Path(__file__).parent / "mistakes"
CASES = sorted(path.name for path in MISTAKES.iterdir() if re.match(r"CZ\d{3}_", path.name))


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_told_of_in_words_that_help(
    case: str, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(MISTAKES)
    found, texts = checked(Path(case))
    assert case[:5] in {diagnostic.code for diagnostic in found}
    assert as_text(found, texts) == snapshot


def used_in(package: str) -> set[str]:
    """The codes that stand in the modules of a package."""
    return {
        code
        for path in (ROOT / "cozy" / package).glob("*.py")
        for code in re.findall(r'"(CZ\d{3})"', path.read_text("utf-8"))
    }


def test_every_code_of_the_check_has_a_fixture() -> None:
    assert {case[:5] for case in CASES} == used_in("dsl")


def test_every_code_that_is_used_is_explained() -> None:
    assert used_in("dsl") | used_in("testing") == set(codes())
