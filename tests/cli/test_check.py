from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cozy.cli.check import check

SHIPPED = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(check, arguments)


def test_the_shipped_files_are_fine() -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.endswith("files checked: all fine\n")


def test_an_error_ends_with_1_and_every_problem_of_every_file_is_told(here: Path) -> None:
    write(
        here / "personalities" / "mia.yaml",
        "id: mia\nname: 米娅\nprompt: 你好\nstages:\n  knowledge:\n    topk: 3\n",
    )
    write(here / "personalities" / "tom.yaml", "id: tom\nname：汤姆\n")
    write(here / "pipelines" / "mine.yaml", "stages:\n  a:\n    type: lm\n")
    result = run()
    assert result.exit_code == 1
    for told in (
        "error: personalities/mia.yaml:6:5: a `fetch_context` stage has no key `topk` [CZ030]",
        "error: personalities/tom.yaml:2:5: a full-width colon `：` does not end a key [CZ008]",
        "error: pipelines/mine.yaml:3:11: stage type `lm` is unknown [CZ051]",
    ):
        assert told in result.stdout
    assert result.stderr.endswith("errors\n")


def test_warnings_alone_end_with_0(here: Path) -> None:
    path = write(here / "personalities" / "mia.yaml", "id: tom\nname: 汤姆\nprompt: 你好\n")
    result = run(str(path))
    assert result.exit_code == 0
    assert "warning: personalities/mia.yaml:1:5" in result.stdout
    assert result.stderr == "2 files checked: 1 warning\n"


def test_only_what_is_named_is_checked(here: Path) -> None:
    path = write(here / "personalities" / "mia.yaml", "id: mia\nname: 米娅\nprompt: 你好\n")
    write(here / "personalities" / "tom.yaml", "broken: [\n")
    assert run(str(path)).exit_code == 0
    assert run(str(path.parent)).exit_code == 1


def test_colour_is_for_terminals_only(here: Path) -> None:
    path = write(here / "mia.yaml", "id: mia\nname：米娅\n")
    plain = CliRunner().invoke(check, [str(path)]).stdout
    coloured = CliRunner().invoke(check, [str(path)], color=True).stdout
    assert "\x1b" not in plain
    assert "\x1b[31m\x1b[1merror\x1b[0m: mia.yaml:2:5" in coloured
    assert "\x1b[1m^^\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
    quiet = CliRunner().invoke(check, [str(path)], color=True, env={"NO_COLOR": "1"}).stdout
    assert quiet == plain


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_reports_for_programs_are_json_on_stdout(form: str, here: Path) -> None:
    write(here / "personalities" / "mia.yaml", "id: mia\nname：米娅\n")
    result = run("--format", form)
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["version"] == {"json": 1, "sarif": "2.1.0"}[form]
    assert "CZ008" in result.stdout


def test_a_path_that_is_not_there_is_a_diagnostic(here: Path) -> None:
    result = run("personalities/maia.yaml")
    assert result.exit_code == 1
    assert "error: personalities/maia.yaml:1:1: there is no such file [CZ001]" in result.stdout


def test_parsed_files_are_kept_for_the_next_time(here: Path) -> None:
    write(here / "personalities" / "mia.yaml", "id: mia\nname: 米娅\nprompt: 你好\n")
    run()
    assert any((here / "cache" / "cozy" / "parsed").iterdir())
