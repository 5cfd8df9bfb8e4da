from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.adapters.arithmetic import MAX_DEPTH, MAX_LENGTH, evaluate, shown
from cozy.adapters.arithmetic_functions import CONSTANTS, FUNCTIONS, MAX_DIGITS
from cozy.errors import ToolError


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("-2 ** 2", "-4"),
        ("2 ** 3 ** 2", "512"),
        ("2 ** -1", "0.5"),
        ("2^10", "1024"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7 % (-3)", "-2"),
        ("1/3", "1/3 ≈ 0.333333333333333"),
        ("1/8", "0.125"),
        ("10/4*2", "5"),
        ("5!", "120"),
        ("3² + 4²", "25"),
        ("√16 + 1", "5"),
        ("8 ** (1/3)", "2"),
        ("(4/9) ** 0.5", "2/3 ≈ 0.666666666666667"),
        ("sqrt(2)", "≈ 1.4142135623731"),
        ("sqrt(1/4)", "0.5"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("1e21", "1" + "0" * 21),
        ("1.5e-10", "1.5e-10"),
        ("1_000 * 2", "2000"),
        (".5 + 5.", "5.5"),
        ("200 * 15%", "30"),
        ("15%", "0.15"),
        ("(5%) * 2", "0.1"),
        ("10000 * 1.05 ** 30", "≈ 43219.4237515066"),
        ("10000 * (1 + 0.05/365) ** 3650", "≈ 16486.6481376523"),
        ("min(3, 1, 2) + max(1, 5)", "6"),
        ("sin(pi)", "≈ 0"),
        ("cos(0) + sin(0)", "1"),
        ("cos(pi / 3)", "≈ 0.5"),
        ("E * 0", "≈ 0"),
        ("1 + 2 =", "3"),
    ],
)
def test_an_expression_gives_its_value(expression: str, answer: str) -> None:
    assert shown(evaluate(expression)) == answer


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("（１＋２）×３÷４", "2.25"),
        ("３．５－１", "2.5"),
        ("max（1，2，3）", "3"),
        ("２＊３／４", "1.5"),
        ("5−3", "2"),
        ("2·3", "6"),
        ("ｓｑｒｔ（４）", "2"),
        ("π×0+1", "≈ 1"),
        ("200×15％", "30"),
        ("１＋１＝？", "2"),
        ("1\u30002", None),
    ],
)
def test_full_width_and_chinese_signs_read_as_what_they_mean(expression: str, answer: str | None) -> None:
    if answer is None:
        with pytest.raises(ToolError, match="an operator is missing"):
            evaluate(expression)
    else:
        assert shown(evaluate(expression)) == answer


@pytest.mark.parametrize(
    ("expression", "column", "what"),
    [
        ("1 +", 4, "the expression ends where a number is expected"),
        ("(1 + 2", 1, "`(` is never closed"),
        ("max(1, 2", 4, "`(` is never closed"),
        ("1 + 2)", 6, "`)` without `(`"),
        ("()", 2, "a number is expected, not `)`"),
        ("2 (3)", 3, "an operator is missing before `(`"),
        ("2 pi", 3, "an operator is missing before `pi`"),
        ("(2 pi)", 4, "an operator or `)` is missing before `pi`"),
        ("max(1 2)", 7, "`,` or `)` is missing before `2`"),
        ("1,234 + 1", 2, "`,` outside a function"),
        ("(1,234)", 3, "`,` outside a function"),
        ("1 > 0", 3, "`>` has no meaning here"),
        ("三加五", 1, "`三` has no meaning here"),
        ("（１＋二）", 4, "`二` has no meaning here"),
        ("1 / 0", 3, "division by zero"),
        ("5 + 1 % 0", 7, "division by zero"),
        ("0 ** -1", 3, "division by zero"),
        ("2 + sqr(4)", 5, "there is no function `sqr`"),
        ("tau", 1, "there is no constant `tau`"),
        ("sin + 1", 1, "`sin` is a function: write `sin(…)`"),
        ("round()", 1, "`round` takes 1 or 2 numbers, not 0"),
        ("max()", 1, "`max` takes one number or more, not 0"),
        ("sqrt(1, 2)", 1, "`sqrt` takes 1 number, not 2"),
        ("sqrt(-1)", 1, "the root of a negative number is not real"),
        ("(-8) ** 0.5", 6, "a negative number to a fractional power is not real"),
        ("asin(2)", 1, "`asin` is not defined for this number"),
        ("tan(pi/2)", 1, "the tangent is not defined there"),
        ("ln(0)", 1, "a logarithm needs a number above 0"),
        ("log(5, 1)", 1, "the base of a logarithm is above 0 and not 1"),
        ("(-1)!", 5, "a factorial needs a whole number from 0"),
        ("exp(1000)", 1, "the result is too large"),
        ("0.5 ** 5000", 5, "the result is too small"),
        ("100 + 10%", 5, "adding a percentage has two meanings"),
        ("50% - 3", 3, "`%` before a sign may be percent or remainder"),
        ("round(1, 0.5)", 1, "the digits to round to are a whole number from -300 to 300"),
    ],
)
def test_an_error_names_the_column_and_what_is_wrong(expression: str, column: int, what: str) -> None:
    with pytest.raises(ToolError) as caught:
        evaluate(expression)
    assert caught.value.message == f"column {column}: {what}"
    assert caught.value.details == {"column": column}


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "9**9**9**9",
        "10**1000000000",
        "(10**500)**2",
        "(10**500)*(10**500)",
        "100000!",
        "factorial(factorial(99))",
        "1e999999999",
        "1e-999999999",
        "9" * (MAX_DIGITS + 1),
        "2²⁰⁰⁰⁰⁰⁰⁰⁰⁰",
        "10**600 * pi",
        "1" * (MAX_LENGTH + 1),
        "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1),
        "-" * (MAX_DEPTH + 1) + "1",
        "√" * (MAX_DEPTH + 1) + "1",
        "1**" * (MAX_DEPTH + 1) + "1",
        "",
        " \u3000 ",
    ],
    ids=lambda text: text[:24] or "empty",
)
def test_what_explodes_is_refused_before_it_is_computed(expression: str) -> None:
    with pytest.raises(ToolError):
        evaluate(expression)


def test_a_near_name_is_offered() -> None:
    with pytest.raises(ToolError) as caught:
        evaluate("sqr(4)")
    assert caught.value.hint == "did you mean `sqrt`?"


def test_just_within_the_bounds_is_exact() -> None:
    assert evaluate("10**500 + 1") == 10**500 + 1
    assert evaluate("(" * (MAX_DEPTH - 1) + "1" + ")" * (MAX_DEPTH - 1)) == 1
    assert evaluate("9" * MAX_DIGITS) == int("9" * MAX_DIGITS)


PIECES = st.sampled_from(
    [
        *"0123456789.+-*/%^!(),=√²π",
        "**",
        "//",
        "1e9",
        "（",
        "×",
        "，",
        " ",
        *FUNCTIONS,
        *CONSTANTS,
        "三",
        "\0",
    ]
)


@example("9**9**9")
@example("\ud800")
@example("1e" + "9" * 900)
@given(st.text(max_size=60) | st.lists(PIECES, max_size=40).map("".join))
def test_any_text_gives_a_number_or_a_tool_error(text: str) -> None:
    try:
        answer = shown(evaluate(text))
    except ToolError as error:
        str(error).encode()
    else:
        assert re.fullmatch(r"(-?\d+(/\d+)?|-?\d+(/\d+)? ≈ .*|≈ .*|-?[\d.]+(e[+-]\d+)?)", answer)


NUMBERS = st.integers(0, 99).map(str) | st.integers(0, 999).map(lambda n: f"{n / 10}")


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%", " + "]), inner).map("".join)
        | inner.map(lambda e: f"({e})")
        | inner.map(lambda e: f"(-{e})")
        | st.tuples(inner, st.integers(-3, 3)).map(lambda pair: f"({pair[0]})**{pair[1]}")
    )


@given(st.recursive(NUMBERS, grown, max_leaves=10))
def test_it_agrees_with_python_s_fractions(expression: str) -> None:
    with_fractions = re.sub(r"\d+(\.\d+)?", r"Fraction('\g<0>')", expression)
    try:
        expected = eval(with_fractions)
    except ZeroDivisionError:
        with pytest.raises(ToolError, match="division by zero"):
            evaluate(expression)
        return
    if len(expression) > MAX_LENGTH or max(map(abs, expected.as_integer_ratio())) >= 10 ** (MAX_DIGITS // 2):
        return
    assert evaluate(expression) == expected


@given(st.fractions())
def test_what_is_shown_as_exact_reads_back_as_itself(value: Fraction) -> None:
    text = shown(value)
    if "≈" not in text:
        assert evaluate(text) == value
    elif "/" in text:
        assert evaluate(text.partition(" ≈ ")[0]) == value
