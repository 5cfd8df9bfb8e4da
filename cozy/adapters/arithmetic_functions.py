"""What the calculator can do with numbers, each within bounds that hold before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context
from fractions import Fraction

from cozy.errors import ToolError

Number = Fraction | float
"""A Fraction is exact, a float is not."""

MAX_DIGITS = 600
"""Digits of an exact number, above or below the line. Python's own int → str bound is never set below 640."""
_TOO_LARGE = 10**MAX_DIGITS

CONSTANTS: Mapping[str, Number] = {"pi": math.pi, "π": math.pi, "e": math.e}


@dataclass(frozen=True, slots=True)
class Function:
    """A function and how many arguments it takes."""

    run: Callable[..., Number]
    least: int = 1
    most: int = 1

    @property
    def takes(self) -> str:
        if self.most > 2:
            return "one number or more"
        counts = " or ".join(str(n) for n in range(self.least, self.most + 1))
        return f"{counts} number{'s' if self.most > 1 else ''}"


def within_bounds(value: Number) -> Number:
    """The value, if it is one that the calculator goes on with. Raises ToolError."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError("the result is too large")
    elif max(abs(value.numerator), value.denominator) >= _TOO_LARGE:
        raise ToolError(f"the exact result has more than {MAX_DIGITS} digits")
    return value


def power(base: Number, exponent: Number) -> Number:
    """`base ** exponent`; exact where it is a fraction of bearable size. Raises ToolError."""
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        exact = _exact_power(base, exponent)
        if exact is not None:
            return exact
    if base < 0 and exponent != int(exponent):
        raise ToolError("a negative number to a fractional power is not real")
    result = float(base) ** float(exponent)
    if result == 0 and base != 0:
        raise ToolError("the result is too small")
    return result


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator == 1:
        n = exponent.numerator
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        # 2^(bits-1) is at most the longer part of `base`: the product is a lower bound of the result's bits
        return base**n if (bits - 1) * abs(n) <= _TOO_LARGE.bit_length() else None
    if base < 0 or exponent.denominator > 12:
        return None
    root = _exact_root(base, exponent.denominator)
    return None if root is None else _exact_power(root, Fraction(exponent.numerator))


def _exact_root(base: Fraction, degree: int) -> Fraction | None:
    """The root of a fraction below and above whose line stand full powers."""
    parts: list[int] = []
    for part in (base.numerator, base.denominator):
        if part.bit_length() > 150:  # beyond it a float's guess is not near enough
            return None
        guess = round(part ** (1 / degree))
        found = next((n for n in (guess, guess - 1, guess + 1) if n**degree == part), None)
        if found is None:
            return None
        parts.append(found)
    return Fraction(*parts)


def square_root(x: Number) -> Number:
    if x < 0:
        raise ToolError("the root of a negative number is not real")
    if isinstance(x, Fraction):
        above, below = math.isqrt(x.numerator), math.isqrt(x.denominator)
        if above * above == x.numerator and below * below == x.denominator:
            return Fraction(above, below)
    return math.sqrt(x)


def factorial(x: Number) -> Number:
    if not isinstance(x, Fraction) or x.denominator != 1 or x < 0:
        raise ToolError("a factorial needs a whole number from 0")
    if x > MAX_DIGITS:  # from 25 on, n! has at least n digits
        raise ToolError(f"the exact result has more than {MAX_DIGITS} digits")
    return Fraction(math.factorial(x.numerator))


def natural_log(x: Number) -> Number:
    if x <= 0:
        raise ToolError("a logarithm needs a number above 0")
    if x == 1:
        return Fraction(0)
    if isinstance(x, Fraction) and not 1e-300 < x < 1e300:
        return math.log(x.numerator) - math.log(x.denominator)
    return math.log(x)


def log(x: Number, base: Number = math.e) -> Number:
    """The logarithm to `base`; exact where x is a whole power of it."""
    if base <= 0 or base == 1:
        raise ToolError("the base of a logarithm is above 0 and not 1")
    if x == 1:
        return Fraction(0)
    result = natural_log(x) / natural_log(base)
    if isinstance(base, Fraction) and isinstance(x, Fraction):
        whole = Fraction(round(result))
        if _exact_power(base, whole) == x:
            return whole
    return float(result)


def log2(x: Number) -> Number:
    return log(x, Fraction(2))


def log10(x: Number) -> Number:
    return log(x, Fraction(10))


def tangent(x: float) -> float:
    if abs(math.cos(x)) < 1e-15:
        raise ToolError("the tangent is not defined there")
    return math.tan(x)


def rounded(x: Number, digits: Number = Fraction(0)) -> Number:
    """Half goes away from zero, as in commerce: 2.5 becomes 3."""
    if digits != int(digits) or abs(digits) > 300:
        raise ToolError("the digits to round to are a whole number from -300 to 300")
    scale = Fraction(10) ** int(digits)
    scaled = abs(_settled(x)) * scale
    whole = Fraction(math.floor(scaled + Fraction(1, 2))) / scale
    return whole if x >= 0 else -whole


def floor(x: Number) -> Number:
    return Fraction(math.floor(_settled(x)))


def ceil(x: Number) -> Number:
    return Fraction(math.ceil(_settled(x)))


def magnitude(x: Number) -> Number:
    return abs(x)


def smallest(*numbers: Number) -> Number:
    return min(numbers)


def largest(*numbers: Number) -> Number:
    return max(numbers)


def _settled(x: Number) -> Fraction:
    """A float as the 15 digits that it is shown with: 2.9999999999999996 is 3 to whoever reads it."""
    return x if isinstance(x, Fraction) else Fraction(Context(prec=15).create_decimal_from_float(x))


def _by_float(run: Callable[[float], float], exact_at: int) -> Function:
    """A function of floats that gives a whole number at one whole number, and there exactly.

    Results under 1e-15 are what is left of a zero: sin(pi) is 0.
    """

    def apply(x: Number) -> Number:
        if isinstance(x, Fraction) and x == exact_at:
            return Fraction(round(run(float(x))))
        result = run(float(x))
        return 0.0 if abs(result) < 1e-15 and run is not math.exp else result

    return Function(apply)


FUNCTIONS: Mapping[str, Function] = {
    "sqrt": Function(square_root),
    "abs": Function(magnitude),
    "round": Function(rounded, 1, 2),
    "floor": Function(floor),
    "ceil": Function(ceil),
    "min": Function(smallest, 1, 1000),
    "max": Function(largest, 1, 1000),
    "factorial": Function(factorial),
    "pow": Function(power, 2, 2),
    "exp": _by_float(math.exp, 0),
    "ln": Function(natural_log),
    "log": Function(log, 1, 2),
    "log10": Function(log10),
    "lg": Function(log10),
    "log2": Function(log2),
    "sin": _by_float(math.sin, 0),
    "cos": _by_float(math.cos, 0),
    "tan": _by_float(tangent, 0),
    "asin": _by_float(math.asin, 0),
    "acos": _by_float(math.acos, 1),
    "atan": _by_float(math.atan, 0),
    "radians": _by_float(math.radians, 0),
    "degrees": _by_float(math.degrees, 0),
}
