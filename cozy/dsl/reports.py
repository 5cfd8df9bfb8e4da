"""Diagnostics for programs: JSON of our own, and SARIF 2.1.0 for code hosts and editors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from cozy import __version__
from cozy.dsl.diagnostics import Diagnostic, Place, in_order
from cozy.dsl.explain import Explanation, explanations

_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def as_json(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """`{"version": 1, "errors": n, "warnings": n, "diagnostics": [...]}`.

    Each diagnostic has `code`, `severity`, `message`, `hint` (or null), `place` and `related`, a list of
    `{"message", "place"}`. A place is `{"file", "line", "column", "end_column"}`, from 1, in code points, the
    end exclusive.
    """
    ordered = in_order(diagnostics)
    count = Counter(d.severity for d in ordered)
    return {
        "version": 1,
        "errors": count["error"],
        "warnings": count["warning"],
        "diagnostics": [
            {
                "code": d.code,
                "severity": d.severity,
                "message": d.message,
                "hint": d.hint,
                "place": _place(d.place),
                "related": [{"message": r.message, "place": _place(r.place)} for r in d.related],
            }
            for d in ordered
        ],
    }


def _place(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "column": place.column, "end_column": place.end}


def as_sarif(diagnostics: Iterable[Diagnostic], texts: Mapping[str, str]) -> dict[str, Any]:
    """A SARIF log of one run; `texts` are the files by name, for snippets."""
    rules = list(explanations().values())
    index = {rule.code: i for i, rule in enumerate(rules)}
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "cozy",
                        "version": __version__,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(d, index[d.code], texts) for d in in_order(diagnostics)],
            }
        ],
    }


def _rule(story: Explanation) -> dict[str, Any]:
    return {
        "id": story.code,
        "shortDescription": {"text": story.title},
        "help": {"text": story.text, "markdown": story.text},
    }


def _result(diagnostic: Diagnostic, rule: int, texts: Mapping[str, str]) -> dict[str, Any]:
    d = diagnostic
    result: dict[str, Any] = {
        "ruleId": d.code,
        "ruleIndex": rule,
        "level": d.severity,
        "message": {"text": f"{d.message}\n{d.hint}" if d.hint else d.message},
        "locations": [{"physicalLocation": _location(d.place, texts)}],
    }
    if d.related:
        result["relatedLocations"] = [
            {"id": i, "message": {"text": r.message}, "physicalLocation": _location(r.place, texts)}
            for i, r in enumerate(d.related)
        ]
    return result


def _location(place: Place, texts: Mapping[str, str]) -> dict[str, Any]:
    region: dict[str, Any] = {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.line,
        "endColumn": place.end,
    }
    lines = texts.get(place.file, "").split("\n")
    snippet = lines[place.line - 1][place.column - 1 : place.end - 1] if place.line <= len(lines) else ""
    if snippet:
        region["snippet"] = {"text": snippet}
    # a name with a drive or a leading slash is absolute; SARIF wants a URI then
    uri = quote(place.file)
    return {"artifactLocation": {"uri": f"file://{uri}" if uri.startswith("/") else uri}, "region": region}
