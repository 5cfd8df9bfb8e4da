from __future__ import annotations

import pytest

from cozy.stages.template_tree import Both, Either, Fixed, Not, OneOf, Reference, Truth
from cozy.stages.templates import Expression, Template


def named(source: str) -> list[str]:
    """What a template takes from outside, as `name.field@line`."""
    return [".".join((r.name, *r.fields)) + f"@{r.line}" for r in Template(source, "t").references]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("没有变量", []),
        ("{{ draft.text }}", ["draft.text@1"]),
        ("一\n{{ a }}\n{{ b['c'].d }}", ["a@2", "b.c.d@3"]),
        ("{{ a.text.upper() }} {{ a|length }}", ["a.text.upper@1", "a@1"]),
        ("{{ a[0].text }} {{ a[b].text }}", ["a.[].text@1", "a@1", "b@1"]),
        ("{{ range(3) }}", []),
        ("{{ 草稿.text }}", ["草稿.text@1"]),
    ],
    ids=str,
)
def test_names_and_fields_are_found_in_the_order_of_the_text(source: str, expected: list[str]) -> None:
    assert named(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for s in knowledge %}{{ s.text }}{% endfor %}", ["knowledge@1", "knowledge.[].text@1"]),
        ("{% for s in a|sort|reverse %}{{ s.x }}{% endfor %}", ["a@1", "a.[].x@1"]),
        ("{% for s in a if s.ok %}x{% else %}{{ s }}{% endfor %}", ["a@1", "a.[].ok@1", "s@1"]),
        ("{% for k, v in a.items() %}{{ v.x }}{% endfor %}", ["a.items@1"]),
        ("{% for s in a %}{{ loop.index }}{% endfor %}{{ loop }}", ["a@1", "loop@1"]),
        ("{{ (a|first).x }}", ["a.[].x@1"]),
        ("{% set k = a.b %}{{ k.c }}", ["a.b@1", "a.b.c@1"]),
        ("{% set k %}{{ a }}{% endset %}{{ k.c }}", ["a@1"]),
        ("{% with k = a %}{{ k.c }}{% endwith %}{{ k }}", ["a@1", "a.c@1", "k@1"]),
        ("{% macro m(x) %}{{ x.y }}{{ a }}{% endmacro %}{{ m(b) }}", ["a@1", "b@1"]),
        ("{{ k }}{% set k = a %}", ["k@1", "a@1"]),
        ("{{ a|default(b.c) }}", ["a@1", "b.c@1"]),
        ("{{ a.x if b else c }}", ["b@1", "a.x@1", "c@1"]),
    ],
    ids=str,
)
def test_names_are_followed_through_what_binds_them(source: str, expected: list[str]) -> None:
    assert sorted(named(source)) == sorted(expected)


def test_conditions_are_read_in_the_terms_of_logic() -> None:
    x = Reference("x", ("y",), 1)
    assert Expression('x.y == "甲" or not (z and true)', "when").condition == Either(
        OneOf("x.y", x, frozenset({"甲"})), Not(Both(Truth("z"), Fixed(True)))
    )


def test_one_of_two_is_read_as_what_decides_between_them() -> None:
    decides, otherwise = OneOf("x", Reference("x", (), 1), frozenset({1})), Truth("z")
    assert Expression("3 if x == 1 else z", "top_k").condition == Either(
        Both(decides, Fixed(True)), Both(Not(decides), otherwise)
    )
    assert Expression("z if x == 1", "when").condition == Either(
        Both(decides, Truth("z")), Both(Not(decides), Fixed(False))
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('x.y == "a"', '"a" == x["y"]'),
        ("x in (1, 2)", "x in [2, 1]"),
        ("x|trim == 1", "x | trim == 1"),
        ("x.y", "x['y']"),
        ("x < 3", "( x<3 )"),
    ],
    ids=str,
)
def test_what_means_the_same_is_the_same_condition(one: str, other: str) -> None:
    assert Expression(one, "when").condition == Expression(other, "when").condition


@pytest.mark.parametrize(
    "opaque", ["x < 3", "a == b", "1 < x < 3", "x in y", "x is defined", "f(x)", "x in ()"]
)
def test_what_logic_cannot_look_into_is_true_or_false(opaque: str) -> None:
    assert isinstance(Expression(opaque, "when").condition, Truth)


def test_an_unequal_is_the_opposite_of_an_equal() -> None:
    assert Expression("x != 1", "w").condition == Not(Expression("x == 1", "w").condition)
    assert Expression("x not in (1,)", "w").condition == Not(Expression("x in (1,)", "w").condition)
