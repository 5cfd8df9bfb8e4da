from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.arithmetic_functions import FUNCTIONS, Number, log, power, rounded, square_root


@pytest.mark.parametrize(
    ("x", "digits", "answer"),
    [
        (Fraction(5, 2), 0, 3),
        (Fraction(-5, 2), 0, -3),
        (Fraction("2.675"), 2, Fraction("2.68")),
        (Fraction(1250), -2, 1300),
        (math.pi, 2, Fraction("3.14")),
    ],
)
def test_half_rounds_away_from_zero(x: Number, digits: int, answer: Number) -> None:
    assert rounded(x, Fraction(digits)) == answer


@pytest.mark.parametrize(("name", "answer"), [("floor", 3), ("ceil", 3), ("round", 3)])
def test_a_float_is_cut_as_the_number_it_is_shown_as(name: str, answer: int) -> None:
    assert FUNCTIONS[name].run(math.log(8) / math.log(2)) == answer
    assert FUNCTIONS[name].run(2.9999999999999996) == answer


@pytest.mark.parametrize(
    ("x", "base", "answer"),
    [(1000, 10, 3), (Fraction(1, 8), 2, -3), (1, 7, 0), (10**500, 10, 500)],
    ids=["thousand", "eighth", "one", "beyond floats"],
)
def test_a_whole_logarithm_is_exact(x: Number, base: int, answer: int) -> None:
    result = log(Fraction(x), Fraction(base))
    assert isinstance(result, Fraction)
    assert result == answer


def test_the_natural_logarithm_keeps_its_digits_near_one() -> None:
    assert log(Fraction(10**12 + 1, 10**12)) == pytest.approx(1e-12, rel=1e-3)


@given(st.fractions(min_value=0, max_value=10**6, max_denominator=1000), st.integers(2, 5))
def test_the_root_of_a_full_power_is_exact(x: Fraction, degree: int) -> None:
    assert power(x**degree, Fraction(1, degree)) == x
    assert square_root(x**2) == x


@given(st.floats(-1e300, 1e300), st.integers(-3, 3))
def test_powers_of_floats_are_python_s(x: float, n: int) -> None:
    try:
        expected = float(x) ** float(n)
    except (OverflowError, ZeroDivisionError) as error:
        with pytest.raises(type(error)):
            power(x, Fraction(n))
        return
    if expected != 0 or x == 0:
        assert power(x, Fraction(n)) == expected
