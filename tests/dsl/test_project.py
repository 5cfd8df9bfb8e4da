from __future__ import annotations

import time
from pathlib import Path

import pytest

from cozy.dsl.project import Project, Sources, read_project

SHIPPED = Path(__file__).parents[2]
STAGES = "stages:\n  prompt:\n    type: render_prompt\n  answer:\n    type: llm\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def personality(folder: Path, id_: str, rest: str = "") -> Path:
    return write(folder / f"{id_}.yaml", f"id: {id_}\nname: {id_.title()}\n{rest}")


def codes(project: Project) -> list[str]:
    return [d.code for d in project.diagnostics]


def test_the_first_folder_that_has_a_personality_wins(here: Path) -> None:
    personality(here / "own", "mia", "prompt: own\n")
    personality(here / "shipped", "mia", "prompt: shipped\n")
    personality(here / "shipped", "tom")
    project = read_project(Sources(personalities=(here / "own", here / "shipped")))
    assert sorted(project.personalities) == ["mia", "tom"]
    assert project.personalities["mia"].spec.prompt == "own"
    assert not project.diagnostics


def test_a_broken_file_of_ones_own_is_not_replaced_by_a_shipped_one(here: Path) -> None:
    write(here / "own" / "mia.yaml", "id: mia\nname：米娅\n")
    personality(here / "shipped", "mia")
    project = read_project(Sources(personalities=(here / "own", here / "shipped")))
    assert not project.personalities
    assert codes(project) == ["CZ008"]


def test_pipelines_are_found_by_the_stems_of_their_files(here: Path) -> None:
    write(here / "own" / "standard.yaml", "description: own\n" + STAGES)
    write(here / "shipped" / "standard.yaml", "description: shipped\n" + STAGES)
    write(here / "shipped" / "broken.yaml", "stages: [\n")
    project = read_project(Sources(pipelines=(here / "own", here / "shipped")))
    assert project.pipelines["standard"].spec.description == "own"
    assert "broken" not in project.pipelines
    assert project.pipeline_names == {"standard", "broken"}


def test_folders_that_are_not_there_hold_nothing(here: Path) -> None:
    project = read_project(Sources((here / "a",), (here / "b",)))
    assert not project.personalities
    assert not project.diagnostics


def test_hidden_files_and_other_files_are_passed_over(here: Path) -> None:
    write(here / "own" / ".mia.yaml", "nonsense")
    write(here / "own" / "notes.txt", "nonsense")
    write(here / "own" / "mia.yaml~", "nonsense")
    assert not read_project(Sources((here / "own",))).diagnostics


def test_names_are_shown_from_where_one_stands(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    personality(here / "personalities", "mia")
    personality(elsewhere, "tom")
    project = read_project(Sources((here / "personalities", elsewhere)))
    assert set(project.texts) == {"personalities/mia.yaml", f"{elsewhere.as_posix()}/tom.yaml"}


# -- files that were named -----------------------------------------------------------------------------


def test_a_named_personality_brings_only_the_pipeline_that_it_names(here: Path) -> None:
    path = personality(here / "personalities", "mia", "pipeline: short\n")
    personality(here / "personalities", "tom")
    write(here / "pipelines" / "short.yaml", STAGES)
    write(here / "pipelines" / "other.yaml", "stages: [\n")
    project = read_project(Sources(pipelines=(here / "pipelines",), files=(path,)))
    assert list(project.personalities) == ["mia"]
    assert list(project.pipelines) == ["short"]
    assert project.pipeline_names == {"short", "other"}
    assert not project.diagnostics


def test_the_pipelines_beside_a_named_file_go_before_the_others(here: Path) -> None:
    path = personality(here / "work" / "personalities", "mia")
    write(here / "work" / "pipelines" / "standard.yaml", "description: beside\n" + STAGES)
    project = read_project(Sources(pipelines=(SHIPPED / "pipelines",), files=(path,)))
    assert project.pipelines["standard"].spec.description == "beside"


def test_a_project_folder_is_all_that_is_in_it(here: Path) -> None:
    personality(here / "work" / "personalities", "mia")
    write(here / "work" / "pipelines" / "standard.yaml", STAGES)
    project = read_project(Sources(files=(Path("work"),)))
    assert list(project.personalities) == ["mia"]
    assert list(project.pipelines) == ["standard"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("id: mia\nname: Mia\n", "personality"),
        ("prompt: hi\nstages:\n", "personality"),
        ("# yaml-language-server: $schema=x/personality.schema.json\nstages:\n", "personality"),
        (STAGES, "pipeline"),
        ("description: x\ntimeout: 5s\n" + STAGES, "pipeline"),
    ],
)
def test_a_loose_file_is_what_it_says(text: str, kind: str, here: Path) -> None:
    path = write(here / "loose.yaml", text)
    project = read_project(Sources(files=(path,)))
    assert ("loose" in project.pipelines) == (kind == "pipeline")
    if kind == "personality":
        assert not project.pipelines


def test_a_file_named_twice_is_read_once(here: Path) -> None:
    path = personality(here / "personalities", "mia")
    project = read_project(Sources(files=(path, here / "personalities")))
    assert list(project.personalities) == ["mia"]
    assert not project.diagnostics


@pytest.mark.parametrize("name", ["maia.yaml", "no/such/folder", "x" * 300, "../" * 50 + "nowhere"])
def test_a_name_that_is_not_there_is_told_of(name: str, here: Path) -> None:
    assert codes(read_project(Sources(files=(here / name,)))) == ["CZ001"]


def test_the_same_id_in_two_folders_that_were_named_is_no_mistake(here: Path) -> None:
    for folder in ("own", "shipped"):
        personality(here / folder, "mia")
    project = read_project(Sources(files=(here / "own", here / "shipped")))
    assert not project.diagnostics
    assert project.personalities["mia"].document.name == "own/mia.yaml"


# -- files that are not sound --------------------------------------------------------------------------


def test_a_file_with_mistakes_is_there_for_further_checks_but_not_sound(here: Path) -> None:
    path = personality(here / "personalities", "mia", "promt: hi\n")
    loaded = read_project(Sources(files=(path,))).personalities["mia"]
    assert not loaded.sound
    assert loaded.spec.prompt == "hi"


@pytest.mark.parametrize("rest", ["pipeline:\n  - a\n", "stages: x\n", "pipeline:\n  stages: x\n"])
def test_without_its_stages_a_file_is_not_checked_further(rest: str, here: Path) -> None:
    path = personality(here / "personalities", "mia", rest)
    project = read_project(Sources(files=(path,)))
    assert not project.personalities
    assert codes(project) == ["CZ032"]


def test_what_could_not_be_read_is_not_called_missing(here: Path) -> None:
    path = write(here / "personalities" / "mia.yaml", "id: mia\nname: [Mia]\nprompt: hi\n")
    assert codes(read_project(Sources(files=(path,)))) == ["CZ010"]


# -- speed ---------------------------------------------------------------------------------------------


def test_two_hundred_personalities_are_read_in_well_under_a_second_when_warm(here: Path) -> None:
    text = (SHIPPED / "personalities" / "health_assistant.yaml").read_text("utf-8")
    for i in range(200):
        write(here / "personalities" / f"p{i}.yaml", text.replace("id: health_assistant", f"id: p{i}"))
    sources = Sources((here / "personalities",), (SHIPPED / "pipelines",))
    cold = read_project(sources, cache=here / "cache")
    start = time.process_time()
    warm = read_project(sources, cache=here / "cache")
    assert time.process_time() - start < 0.6
    assert len(warm.personalities) == 200
    assert warm == cold
