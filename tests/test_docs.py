"""The documents: what is generated is fresh, what is YAML passes the check, what is linked exists."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozy.app import check_all
from cozy.configuration import load_settings
from cozy.dsl.project import Sources, read_project
from cozy.settings import Settings
from cozy.stages.registry import stage_types
from cozy.testing.reading import Case, read_case

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
GENERATED: dict[str, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        if page.parent.name == "reference":  # made from the explanations, which have a test of their own
            continue
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(match[1], id=f"{named(page)}:{line}")


def test_both_languages_of_the_readme_lead_to_the_same_pages() -> None:
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    links = [re.findall(r"\]\((?!README)([^)]+)\)", text) for text in (english, chinese)]
    assert links[0] == links[1]


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_the_reference_is_what_the_code_says(name: str) -> None:
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == GENERATED[name].rstrip() + "\n", "stale: run `python docs/generate.py`"


def test_every_stage_type_and_setting_has_an_entry() -> None:
    for info in stage_types().values():
        assert f"## `{info.name}`" in GENERATED["stages.md"]
        assert info.description, info.name
        for name, field in info.settings.model_fields.items():
            assert field.description, f"{info.name}.{name} has no words"


def test_every_setting_of_the_configuration_has_an_entry_with_words() -> None:
    page = GENERATED["configuration.md"]
    sections = {
        name for name in Settings.model_fields if name not in ("root", "file", "providers", "engines")
    }
    for section in (*sections, "providers.NAME", "providers.NAME.models.MODEL", "engines.NAME"):
        assert re.search(rf"^## `\[{re.escape(section)}\]`\n\n\S", page, flags=re.MULTILINE), section
    assert not re.findall(r"^\| `.*\|  \|$", page, flags=re.MULTILINE)


@pytest.mark.parametrize("text", list(blocks("yaml")))
def test_yaml_in_the_documents_passes_the_check(text: str, tmp_path: Path) -> None:
    kind = re.search(r"schemas/(personality|pipeline)\.schema\.json", text)
    if kind is None:
        folder, name = "fixtures", "fixture"
    elif kind[1] == "pipeline":
        folder, name = "pipelines", "pipeline"
    else:
        folder, name = "personalities", re.findall(r"^id: (\w+)", text, flags=re.MULTILINE)[0]
    file = tmp_path / folder / f"{name}.yaml"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    if folder == "fixtures":
        settings = load_settings(tmp_path, {})
        sources = Sources(settings.paths.personalities, settings.paths.pipelines)
        case = read_case(file, file.name, read_project(sources, cache=None))
        assert isinstance(case, Case), case
        return
    result = check_all(load_settings(tmp_path, {}), [file])
    assert not result.diagnostics, result.text()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{named(page)} links to {target}"


def test_the_first_personality_of_the_readme_is_under_ten_lines() -> None:
    [first, *_] = re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    assert len(first.splitlines()) < 10
