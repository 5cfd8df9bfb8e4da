"""Conditions, held to what jinja2 itself makes of them for every value."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.dsl.conditions import MOST_CASES, comparisons, exclusive, exhaustive, never
from cozy.stages.template_tree import Condition, Reference
from cozy.stages.templates import Expression

VALUES: dict[str, tuple[Hashable, ...]] = {
    "mood": ("calm", "upset", "其他", "", None),
    "count": (0, 1, 2, True, False, 3.5),
    "flag": (True, False),
}
"""Every value that the variables of these tests are given."""


def anything(_: Reference) -> Collection[Hashable] | None:
    return None


def condition(source: str) -> Condition:
    return Expression(source, "when").condition


atoms = st.sampled_from(
    [
        'mood == "calm"',
        'mood != "calm"',
        '"upset" == mood',
        'mood in ("calm", "upset")',
        'mood not in ["其他", ""]',
        "mood == none",
        "mood",
        "count == 1",
        "count in (0, 2)",
        "count != 0",
        "count",
        "count > 1",
        "flag",
        "flag == true",
        "true",
        "false",
    ]
)
sources = st.recursive(
    atoms,
    lambda inner: st.one_of(
        inner.map(lambda a: f"not ({a})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ),
    max_leaves=6,
)


def outcomes(*conditions: str) -> list[tuple[bool, ...]]:
    """What the conditions come out as, for every combination of values."""
    expressions = [Expression(source, "when") for source in conditions]
    cases = (dict(zip(VALUES, values, strict=True)) for values in product(*VALUES.values()))
    return [tuple(e.holds(case) for e in expressions) for case in cases]


@given(sources, sources)
def test_what_is_called_exclusive_never_holds_at_once(one: str, other: str) -> None:
    if exclusive(condition(one), condition(other), anything):
        assert (True, True) not in outcomes(one, other)


@given(st.lists(sources, min_size=1, max_size=3))
def test_of_what_is_called_exhaustive_one_always_holds(several: list[str]) -> None:
    if exhaustive([condition(source) for source in several], anything):
        assert all(any(case) for case in outcomes(*several))


@given(sources)
def test_what_is_called_impossible_never_holds(source: str) -> None:
    if never(condition(source), anything):
        assert not any(case[0] for case in outcomes(source))


equalities = st.recursive(
    st.sampled_from(['mood == "calm"', 'mood != "upset"', 'mood in ("calm", "其他")', 'mood == ""']),
    lambda inner: st.one_of(
        inner.map(lambda a: f"not ({a})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ),
    max_leaves=5,
)


@given(equalities, equalities)
def test_of_comparisons_with_constants_everything_is_known(one: str, other: str) -> None:
    really = outcomes(one, other)
    assert exclusive(condition(one), condition(other), anything) == ((True, True) not in really)
    assert exhaustive([condition(one), condition(other)], anything) == all(any(case) for case in really)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('turn.channel == "voice"', 'turn.channel != "voice"'),
        ('intent.text|lower|trim == "think"', 'intent.text | lower | trim != "think"'),
        ('"查" in intent.text', '"查" not in intent.text'),
        ("turn.text|length > 20", "not turn.text|length > 20"),
        ("knowledge", "not knowledge"),
        ("turn.metadata.level in (1, 2)", "turn.metadata['level'] not in (1, 2)"),
    ],
    ids=str,
)
def test_a_condition_and_its_opposite_divide_all_turns(one: str, other: str) -> None:
    both = (condition(one), condition(other))
    assert exclusive(*both, anything)
    assert exhaustive(both, anything)


def test_a_closed_set_of_values_is_divided_without_an_opposite() -> None:
    def three(_: Reference) -> Collection[Hashable]:
        return ("a", "b", "c")

    parts = [condition(f'x == "{letter}"') for letter in "abc"]
    assert exhaustive(parts, three)
    assert not exhaustive(parts[:2], three)
    assert not exhaustive(parts, anything)
    assert never(condition('x == "d"'), three)


def test_where_there_is_too_much_to_try_nothing_is_claimed() -> None:
    many = " and ".join(f"a{i}" for i in range(MOST_CASES.bit_length()))
    impossible = condition(f"{many} and false")
    assert not never(impossible, anything)
    assert not exhaustive([condition(f"true or {many}")], anything)


def test_comparisons_are_found_wherever_they_stand() -> None:
    found = comparisons(condition('not (a.b == "x" or c and (d in (1, 2)))'))
    assert [(c.reference, c.values) for c in found] == [
        (Reference("a", ("b",), 1), frozenset({"x"})),
        (Reference("d", (), 1), frozenset({1, 2})),
    ]
