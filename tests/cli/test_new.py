"""`cozy new` writes what passes the check, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cozy.app import check_all
from cozy.cli.new import new
from cozy.configuration import load_settings
from cozy.errors import CozyError
from tests.cli.terminal import called


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(new, arguments)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_new_personality_passes_the_check_without_a_word(here: Path, language: str) -> None:
    done = run("my_helper", "--language", language)
    assert (done.exit_code, done.stdout) == (0, "personalities/my_helper.yaml\n")
    result = check_all(load_settings(here, {}), [here / "personalities" / "my_helper.yaml"])
    assert result.text() == ""
    (checked,) = result.personalities
    assert checked.spec.id == "my_helper"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_commented_out_passes_too(here: Path, language: str) -> None:
    """An author uncomments a part: it must be right."""
    run("mia", "--language", language)
    file = here / "personalities" / "mia.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"^# (?=\w+:|  )", "", text, flags=re.MULTILINE), encoding="utf-8")
    result = check_all(load_settings(here, {}), [file])
    assert [d for d in result.diagnostics if d.severity == "error"] == [], result.text()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_context_of_ones_own_shows_all_that_is_fetched(here: Path, language: str) -> None:
    run("mia", "--language", language)
    file = here / "personalities" / "mia.yaml"
    before, context, after = re.split(r"(?<=\n)(# context: \|\n(?:#   .*\n)+)", file.read_text("utf-8"))
    file.write_text(before + re.sub(r"^# ", "", context, flags=re.MULTILINE) + after, encoding="utf-8")
    assert check_all(load_settings(here, {}), [file]).text() == ""


def test_it_answers(here: Path) -> None:
    run("mia")
    done = called("chat", "mia", "--once", "what is 6*7?")
    assert (done.code, "42" in done.out) == (0, True)


@pytest.mark.parametrize(
    ("environ", "word"), [({"LC_ALL": "zh_CN.UTF-8"}, "你是"), ({"LC_ALL": "", "LANG": "de_DE"}, "You are")]
)
def test_the_language_is_the_locale_s(here: Path, environ: dict[str, str], word: str) -> None:
    run("mia", **environ)
    assert word in (here / "personalities" / "mia.yaml").read_text(encoding="utf-8")


def test_nothing_is_overwritten(here: Path) -> None:
    run("mia")
    (here / "personalities" / "mia.yaml").write_text("mine", encoding="utf-8")
    done = run("mia")
    assert isinstance(done.exception, CozyError)
    assert "personalities/mia.yaml is there already" in str(done.exception)
    assert (here / "personalities" / "mia.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("My-Helper", "did you mean `my_helper`?", id="near an id"),
        pytest.param("小研", "64 at most", id="Chinese"),
        pytest.param("9lives", "64 at most", id="a digit first"),
        pytest.param("../evil", "did you mean `evil`?", id="a path"),
        pytest.param("x" * 65, f"did you mean `{'x' * 64}`?", id="too long"),
        pytest.param("", "64 at most", id="nothing"),
    ],
)
def test_what_is_no_id_is_refused(here: Path, name: str, hint: str) -> None:
    done = run(name)
    assert done.exit_code == 2
    assert hint in done.stderr
    assert not (here / "personalities").exists()


def test_a_shipped_personality_is_not_hidden_in_silence(here: Path) -> None:
    assert "takes the place of the `default` that comes with Cozy" in run("default").stderr


def test_editors_are_told_of_the_schema_where_the_project_has_one(here: Path) -> None:
    (here / "schemas").mkdir()
    (here / "schemas" / "personality.schema.json").write_text("{}")
    run("mia")
    first = (here / "personalities" / "mia.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../schemas/personality.schema.json"


def test_the_configured_folder_is_used(here: Path) -> None:
    (here / "cozy.toml").write_text('[paths]\npersonalities = ["people"]\n')
    assert run("mia").stdout == "people/mia.yaml\n"
