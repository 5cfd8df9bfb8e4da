from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.errors import ToolError
from cozy.ports.tools import ToolSpec
from cozy.stages.base import ArgumentCheck
from cozy.stages.tool_arguments import MAX_ARGUMENTS, compile_tools, matching_tools

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 100},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"enum": ["摄氏度", "fahrenheit"]},
        "at": {
            "anyOf": [{"type": "string"}, {"type": "object", "required": ["lat"], "properties": {"lat": {}}}]
        },
        "tags": {"type": "array", "items": {"type": "string"}},
        "options": {
            "type": "object",
            "properties": {"detail": {"type": ["string", "null"]}},
            "additionalProperties": False,
        },
    },
    "required": ["city"],
    "additionalProperties": False,
}


def check(schema: Mapping[str, Any] = WEATHER) -> ArgumentCheck:
    return compile_tools([ToolSpec("weather", "", schema)])[0].check


def problem(arguments: str, schema: dict[str, Any] = WEATHER) -> str:
    with pytest.raises(ToolError) as caught:
        check(schema)(arguments)
    return str(caught.value)


def test_arguments_that_fit_come_back_as_an_object() -> None:
    assert check()('{"city": "北京", "days": 3, "options": {"detail": null}}') == {
        "city": "北京",
        "days": 3,
        "options": {"detail": None},
    }


@pytest.mark.parametrize("nothing", ["", "  ", "\n", "{}"])
def test_no_text_is_no_arguments(nothing: str) -> None:
    assert check({"type": "object"})(nothing) == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{}", "`city` is missing (string)"),
        ('{"city": 5}', "`city` must be string, not integer 5"),
        ('{"city": null}', "`city` must be string, not null"),
        ('{"city": "x", "days": "3"}', '`days` must be integer, not string "3"'),
        ('{"city": "x", "days": true}', "`days` must be integer, not boolean true"),
        ('{"city": "x", "days": 2.5}', "`days` must be integer, not number 2.5"),
        ('{"city": "x", "days": 9}', "`days`: 9 is greater than the maximum of 7"),
        ('{"city": "x", "dasy": 3}', "`dasy` is unknown (did you mean `days`?)"),
        ('{"city": "x", "unit": "kelvin"}', '`unit` must be one of "摄氏度", "fahrenheit", not "kelvin"'),
        ('{"city": "x", "tags": ["a", 1]}', "`tags[1]` must be string, not integer 1"),
        ('{"city": "x", "tags": {}}', "`tags` must be array, not object {}"),
        ('{"city": "x", "options": {"detail": []}}', "`options.detail` must be string or null, not array []"),
        ('{"city": "x", "options": {"deep": 1}}', "`options.deep` is unknown (known: `detail`)"),
        ('{"city": "x", "at": {}}', "`at.lat` is missing"),
        ('{"city": ""}', '`city`: "" should be non-empty'),
    ],
)
def test_the_message_names_the_argument_and_what_was_expected(arguments: str, expected: str) -> None:
    assert problem(arguments) == f"the arguments of `weather` do not fit: {expected}"


def test_everything_wrong_is_told_at_once() -> None:
    told = problem('{"days": "3", "place": "北京"}')
    assert "`city` is missing" in told
    assert "`days` must be integer" in told
    assert "`place` is unknown" in told


def test_a_long_list_of_problems_is_cut() -> None:
    told = problem(json.dumps({"city": "x", "tags": list(range(100))}))
    assert told.count("must be string") == 5
    assert told.endswith("and 95 more problems")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("nul", "not valid JSON: Expecting value at line 1, column 1"),
        ('{"city": "x"', "not valid JSON: Expecting ',' delimiter at line 1, column 13"),
        ("{'city': 'x'}", "not valid JSON"),
        ('{"city": "x"} {"city": "y"}', "not valid JSON: Extra data at line 1, column 15"),
        ('{"days": NaN}', "not valid JSON: NaN is not a JSON number"),
        ('{"days": -Infinity}', "not valid JSON: -Infinity is not a JSON number"),
        ('{"days": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[1]", "must be a JSON object, not array"),
        ('"x"', "must be a JSON object, not string"),
        ("null", "must be a JSON object, not null"),
        ("[" * 100_000, "nested too deeply"),
        ('{"city":' * 20_000, "nested too deeply"),
        ('{"city": "\\ud83d"}', "half of a surrogate pair"),
        ('{"city": "\ud83d"}', "half of a surrogate pair"),
        (json.dumps({"city": "x" * MAX_ARGUMENTS}), "at most 262,144 are read"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_not_an_object_of_json_is_refused(arguments: str, expected: str) -> None:
    assert expected in problem(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "很长" * 5000},
        {"city": ["x" * 5000]},
        {"x" * 5000: 1},
        {"city": "a", "unit": "y" * 5000},
        {"city": "a", "options": {"z" * 5000: 1}},
    ],
    ids=["too long", "wrong type", "unknown", "not in the list", "unknown inside"],
)
def test_a_huge_value_is_cut_in_the_message(arguments: dict[str, Any]) -> None:
    assert len(problem(json.dumps(arguments))) < 400


WEATHER_CHECK = check()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WEATHER["properties"], "x"]), inner)
    ),
    max_leaves=8,
)


@example("\x00")
@given(st.text(max_size=40) | JSON.map(json.dumps))
def test_any_text_gives_an_object_or_a_tool_error(arguments: str) -> None:
    with suppress(ToolError):
        assert WEATHER_CHECK(arguments)["city"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"properties": []},
        {"properties": {"a": {"pattern": "("}}},
        {"required": "city"},
        {"$schema": 5},
    ],
    ids=["type", "properties", "pattern", "required", "draft"],
)
def test_a_broken_schema_is_told_at_compile_time_with_the_tool_s_name(schema: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="the schema of tool `weather` is broken"):
        check(schema)


def test_a_reference_is_followed_within_the_schema_and_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    local = {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    assert problem('{"a": "x"}', local).endswith('`a` must be integer, not string "x"')

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("something was fetched")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    remote = {"properties": {"a": {"$ref": "http://localhost/schema.json"}}}
    assert "the schema of tool `weather` is broken: no `http://localhost/schema.json`" in problem(
        '{"a": "x"}', remote
    )


def test_a_schema_that_never_ends_is_refused() -> None:
    assert "nested too deeply" in problem("{}", {"$ref": "#"})


def test_an_older_draft_is_read_by_its_own_rules() -> None:
    draft7 = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"pair": {"items": [{"type": "string"}, {"type": "integer"}]}},
    }
    assert check(draft7)('{"pair": ["a", 1]}') == {"pair": ["a", 1]}
    assert "`pair[1]` must be integer" in problem('{"pair": ["a", "b"]}', draft7)


def test_a_schema_may_be_frozen() -> None:
    frozen = MappingProxyType({"properties": MappingProxyType({"a": MappingProxyType({"type": "integer"})})})
    assert check(frozen)('{"a": 1}') == {"a": 1}
    with pytest.raises(ToolError, match="`a` must be integer"):
        check(frozen)('{"a": "1"}')


@pytest.mark.parametrize("value", [object(), {1, 2}], ids=["object", "set"])
def test_a_schema_that_is_no_json_is_told_with_the_tool_s_name(value: object) -> None:
    with pytest.raises(ToolError, match="the schema of tool `weather` is not JSON"):
        check({"default": value})


def test_two_tools_with_one_schema_are_told_apart() -> None:
    shared = {"type": "object", "required": ["a"]}
    tools = compile_tools([ToolSpec("first", "", shared), ToolSpec("second", "", shared)])
    for tool in tools:
        with pytest.raises(ToolError, match=f"the arguments of `{tool.spec.name}`"):
            tool.check("{}")


def specs(*names: str) -> list[ToolSpec]:
    return [ToolSpec(name, "", {"type": "object"}) for name in names]


ALL = specs(
    "calculator", "current_time", "mcp/weather/now", "mcp/weather/forecast", "mcp/maps/route", "odd[1]"
)


@pytest.mark.parametrize(
    ("patterns", "names", "unknown"),
    [
        ((), [], ()),
        (("current_time", "calculator"), ["current_time", "calculator"], ()),
        (("mcp/weather/*",), ["mcp/weather/now", "mcp/weather/forecast"], ()),
        (("mcp/*",), ["mcp/weather/now", "mcp/weather/forecast", "mcp/maps/route"], ()),
        (("mcp/maps/route", "mcp/*"), ["mcp/maps/route", "mcp/weather/now", "mcp/weather/forecast"], ()),
        (("calculator", "calculater", "mcp/mail/*"), ["calculator"], ("calculater", "mcp/mail/*")),
        (("odd[1]",), ["odd[1]"], ()),
        (("Calculator",), [], ("Calculator",)),
        (("*",), [spec.name for spec in ALL], ()),
    ],
    ids=["none", "names", "glob", "across slashes", "once", "unknown", "literal", "case", "all"],
)
def test_patterns_choose_tools_in_their_order(
    patterns: tuple[str, ...], names: list[str], unknown: tuple[str, ...]
) -> None:
    chosen, missing = matching_tools(patterns, ALL)
    assert [spec.name for spec in chosen] == names
    assert missing == unknown


def test_the_validator_is_loaded_only_when_a_tool_is_compiled() -> None:
    program = "import sys, cozy.stages.tool_arguments; print('jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
