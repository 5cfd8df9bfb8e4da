"""Arithmetic from text: exact where it can be, and bounded whatever is asked.

```text
sum     = term (("+" | "-") term)*
term    = factor (("*" | "/" | "//" | "%") factor)*
factor  = ("+" | "-") factor | power
power   = postfix (("**" | "^") factor)?
postfix = atom ("!" | "²" | "%")*          a "%" that no operand follows is percent
atom    = number | constant | name "(" sum ("," sum)* ")" | "(" sum ")" | "√" atom
```

Numbers are fractions for as long as the operations allow, so 0.1 + 0.2 is 0.3; what no fraction can hold,
such as sqrt(2), goes on as a float. Full-width digits and signs, × ÷ − and π read as what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

from cozy.adapters.arithmetic_functions import (
    CONSTANTS,
    FUNCTIONS,
    MAX_DIGITS,
    Number,
    factorial,
    power,
    square_root,
    within_bounds,
)
from cozy.errors import ToolError, did_you_mean

MAX_LENGTH = 1000
"""Characters of an expression."""
MAX_DEPTH = 50
"""Parentheses, signs and powers inside one another."""

_AS_ASCII = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys(map(ord, "\u3000\xa0\t\r\n"), " "),
    **dict.fromkeys(map(ord, "×✕✖⋅·∙"), "*"),
    **dict.fromkeys(map(ord, "÷∕⁄"), "/"),
    **dict.fromkeys(map(ord, "−–—"), "-"),
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*|π)
      | (?P<superscript>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)
      | (?P<sign>\*\*|//|[-+*/%^(),!√])""",
    re.VERBOSE,
)
_ENDING = re.compile(r" *= *\?? *$")


def evaluate(expression: str) -> Number:
    """The value: a Fraction where it is exact, else a float. Raises ToolError that names the column."""
    return _Parser(_tokens(expression)).value()


def shown(value: Number) -> str:
    """A result in words that a model reads: `0.3`, `1/3 ≈ 0.333333333333333`, `≈ 1.4142135623731`."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return str(value.numerator)
    text, exact = decimal_text(value, 15)
    if exact:
        return text
    if isinstance(value, Fraction) and max(abs(value.numerator), value.denominator) < 10**12:
        return f"{value} ≈ {text}"
    return f"≈ {text}"


def decimal_text(value: Number, digits: int) -> tuple[str, bool]:
    """The value in at most `digits` significant digits, and whether that is all of it."""
    context = Context(prec=digits)
    if isinstance(value, Fraction):
        rounded = context.divide(Decimal(value.numerator), Decimal(value.denominator))
        exact = Fraction(rounded) == value
    else:
        rounded = context.create_decimal_from_float(value + 0.0)  # -0.0 becomes 0.0
        exact = False
    rounded = rounded.normalize(context)
    if not rounded or -7 <= rounded.adjusted() <= 20:
        return format(rounded, "f"), exact
    return format(rounded, "e"), exact


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """`number`, `name`, `superscript`, `end`, or the sign itself."""
    text: str
    column: int


def _tokens(expression: str) -> list[_Token]:
    if len(expression) > MAX_LENGTH:
        raise ToolError(
            f"the expression has {len(expression):,} characters, at most {MAX_LENGTH:,} are read",
            hint="calculate it in parts",
        )
    text = _ENDING.sub("", expression.translate(_AS_ASCII))
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(at + 1, f"`{_printable(expression[at])}` has no meaning here")
        kind = match.lastgroup or ""
        tokens.append(_Token(match[0] if kind == "sign" else kind, match[0], at + 1))
        at = match.end()
    if not tokens:
        raise ToolError("the expression is empty")
    return [*tokens, _Token("end", "", len(text) + 1)]


class _Parser:
    """Reads from left to right and calculates on the way."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._percent = False
        """Whether the operand just read is a bare percentage, such as the right side of `100 + 10%`."""

    def value(self) -> Number:
        value = self._sum()
        token = self._next
        if token.kind == "end":
            return value
        if token.kind == ")":
            raise _wrong(token.column, "`)` without `(`")
        if token.kind == ",":
            raise _stray_comma(token)
        raise _wrong(token.column, f"an operator is missing before `{_printable(token.text)}`")

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *kinds: str) -> _Token | None:
        token = self._next
        if token.kind not in kinds:
            return None
        self._at += 1
        return token

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _wrong(self._next.column, f"more than {MAX_DEPTH} levels deep")

    def _sum(self) -> Number:
        value = self._term()
        while sign := self._take("+", "-"):
            right = self._term()
            if self._percent:
                raise _wrong(
                    sign.column,
                    "adding a percentage has two meanings",
                    hint="write `x*(1+10/100)` for 10% more, `x+10/100` for the plain sum",
                )
            value = _at(sign, _OPERATIONS[sign.kind], value, right)
        return value

    def _term(self) -> Number:
        value = self._factor()
        while sign := self._take("*", "/", "//", "%"):
            right = self._factor()
            self._percent = False
            value = _at(sign, _OPERATIONS[sign.kind], value, right)
        return value

    def _factor(self) -> Number:
        self._deeper()
        if sign := self._take("+", "-"):
            value = self._factor()
            value = -value if sign.kind == "-" else value
        else:
            value = self._power()
        self._depth -= 1
        return value

    def _power(self) -> Number:
        base = self._postfix()
        sign = self._take("**", "^")
        if sign is None:
            return base
        exponent = self._factor()
        self._percent = False
        return _at(sign, power, base, exponent)

    def _postfix(self) -> Number:
        value = self._atom()
        self._percent = False
        while True:
            if sign := self._take("!"):
                value = _at(sign, factorial, value)
            elif sign := self._take("superscript"):
                value = _at(sign, power, value, _number(sign))
            elif self._next.kind == "%" and self._is_percent():
                sign = self._next
                self._at += 1
                value = _at(sign, _OPERATIONS["/"], value, Fraction(100))
            else:
                return value
            self._percent = sign.kind == "%"

    def _is_percent(self) -> bool:
        """Whether the `%` that comes next is percent, and not a remainder."""
        after = self._tokens[self._at + 1].kind
        if after in ("+", "-"):
            raise _wrong(
                self._next.column,
                "`%` before a sign may be percent or remainder",
                hint="write `(50/100)` for percent, `7 % (-3)` for the remainder",
            )
        return after not in ("number", "name", "(", "√")

    def _atom(self) -> Number:
        token = self._next
        self._at += token.kind != "end"
        match token.kind:
            case "number":
                return _number(token)
            case "name":
                return self._named(token)
            case "(":
                return self._inside(token)
            case "√":
                self._deeper()
                value = _at(token, square_root, self._atom())
                self._depth -= 1
                return value
            case "end":
                raise _wrong(token.column, "the expression ends where a number is expected")
            case _:
                raise _wrong(token.column, f"a number is expected, not `{token.text}`")

    def _inside(self, opened: _Token) -> Number:
        value = self._sum()
        if self._take(")"):
            return value
        if self._next.kind == "end":
            raise _wrong(opened.column, "`(` is never closed")
        if self._next.kind == ",":
            raise _stray_comma(self._next)
        text = _printable(self._next.text)
        raise _wrong(self._next.column, f"an operator or `)` is missing before `{text}`")

    def _named(self, token: _Token) -> Number:
        name, opened = token.text.lower(), self._take("(")
        if opened is None and name in CONSTANTS:
            return CONSTANTS[name]
        function = FUNCTIONS.get(name)
        if function is None:
            hint = did_you_mean(name, FUNCTIONS if opened else [*CONSTANTS, *FUNCTIONS])
            what = "function" if opened else "constant"
            raise _wrong(token.column, f"there is no {what} `{_printable(token.text)}`", hint=hint)
        if opened is None:
            raise _wrong(token.column, f"`{name}` is a function: write `{name}(…)`")
        arguments = self._arguments(opened)
        if not function.least <= len(arguments) <= function.most:
            raise _wrong(token.column, f"`{name}` takes {function.takes}, not {len(arguments)}")
        return _at(token, function.run, *arguments)

    def _arguments(self, opened: _Token) -> list[Number]:
        arguments: list[Number] = []
        if self._take(")"):
            return arguments
        while True:
            arguments.append(self._sum())
            if self._take(")"):
                return arguments
            if not self._take(","):
                if self._next.kind == "end":
                    raise _wrong(opened.column, "`(` is never closed")
                text = _printable(self._next.text)
                raise _wrong(self._next.column, f"`,` or `)` is missing before `{text}`")


def _number(token: _Token) -> Number:
    """A literal, its size looked at before it is made into a number."""
    mantissa, _, exponent = token.text.translate(_SUPERSCRIPTS).replace("_", "").lower().partition("e")
    if len(mantissa) > MAX_DIGITS:
        raise _wrong(token.column, f"the number has more than {MAX_DIGITS} digits")
    digits = exponent.lstrip("+-").lstrip("0")
    if len(digits) > 4 or int(digits or 0) > MAX_DIGITS:
        raise _wrong(
            token.column, "the number is too small" if exponent[0] == "-" else "the number is too large"
        )
    return _at(token, Fraction, f"{mantissa}e{exponent or 0}")


def _at(token: _Token, run: Callable[..., Number], *operands: Number | str) -> Number:
    """The result of an operation; its failure is told with the column where it stands."""
    try:
        return within_bounds(run(*operands))
    except ToolError as error:
        raise _wrong(token.column, error.message, hint=error.hint) from None
    except ZeroDivisionError:
        raise _wrong(token.column, "division by zero") from None
    except OverflowError:
        raise _wrong(token.column, "the result is too large") from None
    except ValueError:  # the domain of a function of `math`
        raise _wrong(token.column, f"`{_printable(token.text)}` is not defined for this number") from None


def _wrong(column: int, what: str, *, hint: str | None = None) -> ToolError:
    return ToolError(f"column {column}: {what}", hint=hint, details={"column": column})


def _stray_comma(token: _Token) -> ToolError:
    hint = "write numbers without thousands separators"
    return _wrong(token.column, "`,` outside a function", hint=hint)


def _printable(text: str) -> str:
    """Part of the input, fit for a message."""
    short = text if len(text) <= 20 else text[:20] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in short)


_OPERATIONS: Mapping[str, Callable[[Number, Number], Number]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: Fraction(a // b) if isinstance(a, Fraction) and isinstance(b, Fraction) else a // b,
    "%": lambda a, b: a % b,
}
