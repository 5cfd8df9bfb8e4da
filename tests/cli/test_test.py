"""`cozy test` in a project of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cozy.cli import app

MIA = """\
id: mia
name: Mia
prompt: You are Mia.
pipeline: minimal
"""
FIXTURE = """\
personality: mia
model:
  - text: Tea, please.
turns:
  - say: What would you like?
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "personalities").mkdir()
    (tmp_path / "personalities" / "mia.yaml").write_text(MIA)
    folder = tmp_path / "tests" / "pipelines"
    folder.mkdir(parents=True)
    (folder / "tea.yaml").write_text(FIXTURE)
    return tmp_path


def cozy_test(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["test", *arguments])


def test_fixtures_of_the_project_are_run_against_its_personalities(project: Path) -> None:
    first = cozy_test()
    assert first.exit_code == 1
    assert "there is no snapshot of this fixture yet" in first.stdout
    assert "1 fixture: 1 failed" in first.stderr
    written = cozy_test("--update")
    assert (written.exit_code, written.stdout) == (0, "")
    assert "written: tests/pipelines/tea.yaml" in written.stderr
    passed = cozy_test()
    assert (passed.exit_code, passed.stdout, passed.stderr) == (0, "", "1 fixture: 1 passed\n")


def test_a_change_of_a_personality_shows_as_a_diff(project: Path) -> None:
    cozy_test("--update")
    (project / "personalities" / "mia.yaml").write_text(MIA.replace("Mia.", "Mia, who loves tea."))
    result = cozy_test()
    assert result.exit_code == 1
    assert "-      | You are Mia.\n+      | You are Mia, who loves tea." in result.stdout


def test_single_fixtures_and_other_folders_may_be_named(project: Path) -> None:
    cozy_test("--update")
    other = project / "elsewhere"
    other.mkdir()
    (other / "broken.yaml").write_text(FIXTURE.replace("mia", "mai"))
    assert cozy_test("tests/pipelines/tea.yaml").exit_code == 0
    result = cozy_test("tests/pipelines/tea.yaml", "elsewhere")
    assert result.exit_code == 1
    assert "elsewhere/broken.yaml:1:14: there is no personality `mai` [CZ100]" in result.stdout
    assert "2 fixtures: 1 passed, 1 failed" in result.stderr


def test_a_project_without_fixtures_is_told_where_they_belong(project: Path) -> None:
    (project / "tests" / "pipelines" / "tea.yaml").unlink()
    result = cozy_test()
    assert result.exit_code == 1
    assert "there are no fixtures in `tests/pipelines`" in result.stderr
