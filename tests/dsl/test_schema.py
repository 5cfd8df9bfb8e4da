from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from cozy.dsl.parse import parse_file, parse_text
from cozy.dsl.schema import schemas

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "personalities").glob("*.yaml"), *(ROOT / "pipelines").glob("*.yaml")])


def _validator(kind: str) -> Draft7Validator:
    return Draft7Validator(json.loads(schemas()[f"{kind}.schema.json"]))


def _as_an_editor_reads(value: Any) -> Any:
    """Texts with the types that YAML 1.2 implies. (Whether they were quoted is lost here, which only makes
    for more types.)"""
    if isinstance(value, dict):
        return {key: _as_an_editor_reads(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_an_editor_reads(inner) for inner in value]
    if re.fullmatch(r"[-+]?[0-9]+", value):
        return int(value)
    if re.fullmatch(r"[-+]?[0-9]*\.[0-9]+", value):
        return float(value)
    return {"": None, "true": True, "false": False}.get(value, value)


@pytest.mark.parametrize("name", ["personality.schema.json", "pipeline.schema.json"])
def test_the_schemas_in_the_repository_are_fresh(name: str) -> None:
    assert (ROOT / "schemas" / name).read_text("utf-8") == schemas()[name], "run `cozy schema --write`"


@pytest.mark.parametrize("kind", ["personality", "pipeline"])
def test_the_schemas_are_valid_by_themselves(kind: str) -> None:
    Draft7Validator.check_schema(json.loads(schemas()[f"{kind}.schema.json"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_file_fits_its_schema_and_names_it(path: Path) -> None:
    kind = {"personalities": "personality", "pipelines": "pipeline"}[path.parent.name]
    first = path.read_text("utf-8").split("\n")[0]
    assert first == f"# yaml-language-server: $schema=../schemas/{kind}.schema.json"
    document = parse_file(path, path.name).document
    assert document is not None
    for data in (document.data, _as_an_editor_reads(document.data)):
        assert [error.message for error in _validator(kind).iter_errors(data)] == []


def _wrong(kind: str, text: str) -> list[str]:
    document = parse_text(text, Path("f"), "f").document
    assert document is not None
    errors = _validator(kind).iter_errors(_as_an_editor_reads(document.data))
    return ["/".join(map(str, error.absolute_path)) for error in errors]


HEAD = "id: mia\nname: Mia\n"


@pytest.mark.parametrize(
    ("kind", "text", "where"),
    [
        ("personality", "name: Mia\n", [""]),
        ("personality", HEAD + "promt: x\n", [""]),
        ("personality", HEAD + "client_system: merge\n", ["client_system"]),
        ("personality", HEAD + "timeout: 5\n", ["timeout"]),
        ("personality", HEAD + "model:\n  temperature: 3\n", ["model"]),
        ("personality", HEAD + "stages:\n  knowledge:\n    topk: 3\n", ["stages/knowledge"]),
        ("personality", HEAD + "stages:\n  mine:\n    type: llm\n    top_k: 3\n", ["stages/mine"]),
        ("personality", HEAD + "pipeline:\n  stages:\n    a:\n      timeout: 5s\n", ["pipeline"]),
        ("pipeline", "stages:\n  a:\n    type: lm\n", ["stages/a/type"]),
        ("pipeline", "stages:\n  a: off\n", ["stages/a"]),
        ("pipeline", "stages:\n  a:\n    type: fetch_context\n", ["stages/a"]),
        ("pipeline", "stages:\n  a:\n    type: budget\n    keep:\n      - sytem\n", ["stages/a/keep"]),
        ("pipeline", "stages:\n  a b:\n    type: llm\n", ["stages"]),
    ],
)
def test_an_editor_marks_what_the_check_would(kind: str, text: str, where: list[str]) -> None:
    assert _wrong(kind, text) == where


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("personality", HEAD + "description:\nvoice:\nmodel:\ntools:\nstages:\n"),
        ("personality", "id: mia\nname: 2077\nmetadata:\n  version: 1.0\n  public: true\n"),
        ("personality", HEAD + "tools: calculator\nmodel:\n  temperature: 1\n  seed: 7\n  stop: 停\n"),
        (
            "personality",
            HEAD + "stages:\n  a: off\n  b:\n    limit: 5\n    max_tokens: 3\n  中:\n    type: llm\n",
        ),
        ("personality", HEAD + "pipeline: critic\n"),
        ("pipeline", "timeout: 1m\nstages:\n  a:\n    type: llm\n    visible: yes\n    from:\n      - x\n"),
        ("pipeline", "stages:\n  a:\n    type: budget\n    keep: system\n    max_tokens: 64\n"),
    ],
)
def test_what_the_check_takes_an_editor_does_not_mark(kind: str, text: str) -> None:
    assert _wrong(kind, text) == []


def test_every_key_and_every_stage_type_says_what_it_is() -> None:
    for text in schemas().values():
        schema = json.loads(text)
        for name, owner in [("", schema), *schema["definitions"].items()]:
            if name in {"settings", "change", "stage"}:
                continue
            assert owner["description"], name
            for key, value in owner["properties"].items():
                described = "description" in value or any(
                    "$ref" in branch for branch in value.get("anyOf", ())
                )
                assert described, f"{name}.{key}"
