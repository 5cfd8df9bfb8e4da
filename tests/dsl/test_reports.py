from __future__ import annotations

import json
from typing import Any

from syrupy.assertion import SnapshotAssertion

from cozy.dsl.diagnostics import Place, Related, error, warning
from cozy.dsl.explain import codes
from cozy.dsl.reports import as_json, as_sarif

TEXTS = {"personalities/米娅 1.yaml": "id: mia\nname: 米娅\nname: 娅\n"}
FOUND = [
    error(
        "CZ012",
        "the key `name` is here twice",
        Place("personalities/米娅 1.yaml", 3, 1, 4),
        "keep one of them",
        [Related("it is here already", Place("personalities/米娅 1.yaml", 2, 1, 4))],
    ),
    warning("CZ041", "another name", Place("/srv/cozy/tom.yaml", 1, 5, 3)),
]


def test_json_has_the_shape_that_is_documented(snapshot: SnapshotAssertion) -> None:
    assert as_json(FOUND) == snapshot


def test_json_counts_by_severity() -> None:
    report = as_json(FOUND)
    assert (report["errors"], report["warnings"]) == (1, 1)
    assert json.loads(json.dumps(report)) == report


def test_sarif_holds_what_the_standard_asks_for() -> None:
    log = as_sarif(FOUND, TEXTS)
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"] == "cozy"
    assert [rule["id"] for rule in rules] == list(codes())
    assert all(rule["shortDescription"]["text"] and rule["help"]["markdown"] for rule in rules)
    assert run["columnKind"] == "unicodeCodePoints"
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning"}
        assert result["message"]["text"]
        _check_location(result["locations"][0])


def _check_location(location: dict[str, Any]) -> None:
    physical = location["physicalLocation"]
    uri, region = physical["artifactLocation"]["uri"], physical["region"]
    assert uri.isascii()
    assert " " not in uri
    assert 1 <= region["startLine"] == region["endLine"]
    assert 1 <= region["startColumn"] <= region["endColumn"]


def test_sarif_results_read_as_a_whole(snapshot: SnapshotAssertion) -> None:
    assert as_sarif(FOUND, TEXTS)["runs"][0]["results"] == snapshot
