from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cozy.cli.schema import schema
from cozy.dsl.schema import schemas


def run(*arguments: str) -> Result:
    return CliRunner().invoke(schema, arguments)


@pytest.mark.parametrize("kind", ["personality", "pipeline"])
def test_a_schema_is_printed(kind: str) -> None:
    assert json.loads(run(kind).stdout)["$schema"]


def test_both_are_written_beside_the_personalities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--write").exit_code == 0
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "schemas").iterdir()}
    assert written == dict(schemas())


def test_a_kind_must_be_named() -> None:
    result = run()
    assert result.exit_code == 2
    assert "name a kind" in result.stderr
