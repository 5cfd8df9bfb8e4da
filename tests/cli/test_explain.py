from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from cozy.cli.explain import explain
from cozy.dsl.explain import codes
from cozy.errors import NotFound


def run(*arguments: str) -> Result:
    return CliRunner().invoke(explain, arguments)


def test_a_code_has_its_story() -> None:
    result = run("cz012")
    assert result.exit_code == 0
    assert result.stdout.startswith("## CZ012 A key stands twice\n")
    assert "Right:" in result.stdout


def test_without_a_code_all_are_listed() -> None:
    lines = run().stdout.splitlines()
    assert [line[:5] for line in lines] == list(codes())


def test_an_unknown_code_is_answered_with_a_near_one() -> None:
    result = run("CZ0123")
    assert isinstance(result.exception, NotFound)
    assert "did you mean" in str(result.exception)


@pytest.mark.parametrize("code", codes())
def test_every_story_can_be_printed(code: str) -> None:
    assert run(code).exit_code == 0
