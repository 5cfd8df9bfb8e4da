"""Tools that need nothing but this process: arithmetic, the time, chance, units."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from fractions import Fraction
from typing import Any

from cozy.adapters.arithmetic import decimal_text, evaluate, shown
from cozy.adapters.time_zones import zone_for
from cozy.adapters.units import convert
from cozy.errors import ConfigError, ToolError, did_you_mean
from cozy.ports.tools import ToolCaller, ToolResult, ToolSpec

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEKDAYS_ZH = "一二三四五六日"
_UNIT_DIGITS = 10
"""Significant digits of a converted value that does not end."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class BuiltinTools:
    """A Toolbox. Answers are short; they are Chinese where the caller's language is."""

    def __init__(
        self,
        *,
        timezone: str = "local",
        now: Callable[[], datetime] = _utc_now,
        chance: random.Random | None = None,
    ) -> None:
        """`timezone` is what `current_time` tells when nobody names one: as `zone_for` takes it, or `local`.

        `now` gives an aware time. Raises ConfigError for a zone that does not exist.
        """
        self._zone = None if timezone == "local" else _configured_zone(timezone)
        self._now = now
        self._chance = chance or random.SystemRandom()
        self._runs: Mapping[str, Callable[[Mapping[str, Any], bool], str]] = {
            "calculator": self._calculate,
            "current_time": self._tell_time,
            "random_choice": self._choose,
            "unit_convert": self._convert,
        }

    def specs(self) -> Sequence[ToolSpec]:
        return _SPECS

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        run = self._runs.get(name)
        if run is None:
            raise ToolError(f"there is no tool `{name}`", hint=did_you_mean(name, self._runs))
        return ToolResult(run(arguments, (caller.language or "").lower().startswith("zh")))

    def _calculate(self, arguments: Mapping[str, Any], _chinese: bool) -> str:
        return shown(evaluate(arguments["expression"]))

    def _tell_time(self, arguments: Mapping[str, Any], chinese: bool) -> str:
        wanted = arguments.get("timezone") or ""
        if wanted.strip():
            label, zone = zone_for(wanted)
        else:
            label, zone = self._zone or ("当地时间" if chinese else "local time", None)
        time = self._now().astimezone(zone)
        offset = f"UTC{time.isoformat()[-6:]}"
        where = [label] if label == offset else [label, offset]
        if chinese:
            day = f"{time.year}年{time.month}月{time.day}日 星期{_WEEKDAYS_ZH[time.weekday()]}"
            return f"{day} {time:%H:%M:%S}（{'，'.join(where)}）"
        return f"{time:%Y-%m-%d %H:%M:%S}, {_WEEKDAYS[time.weekday()]} ({', '.join(where)})"

    def _choose(self, arguments: Mapping[str, Any], chinese: bool) -> str:
        options, count = arguments["options"], int(arguments.get("count", 1))
        if count > len(options):
            raise ToolError(f"`count` is {count}, but there are only {len(options)} options")
        return ("、" if chinese else ", ").join(self._chance.sample(options, count))

    def _convert(self, arguments: Mapping[str, Any], chinese: bool) -> str:
        # through its shortest decimal form: the float 0.1 is what the model wrote, 1/10
        try:
            value = Fraction(str(arguments["value"]))
        except ValueError:  # JSON may write 1e999, which no float holds
            raise ToolError("`value` is too large") from None
        done = convert(value, arguments["from_unit"], arguments["to_unit"])
        given, _ = decimal_text(done.value, 15)
        result, exact = decimal_text(done.result, _UNIT_DIGITS)
        if chinese:
            source, target = done.source.chinese, done.target.chinese
        else:
            source, target = done.source.symbol, done.target.symbol
        return f"{given} {source} {'=' if exact else '≈'} {result} {target}"


def _configured_zone(name: str) -> tuple[str, tzinfo]:
    try:
        return zone_for(name)
    except ToolError as error:
        raise ConfigError(f"`tools.timezone`: {error.message}", hint=error.hint) from None


def _object(required: Sequence[str], **properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_SPECS = (
    ToolSpec(
        name="calculator",
        description=(
            "Calculate an arithmetic expression exactly. Use it for every calculation, however simple. "
            "An answer with ≈ is rounded."
        ),
        parameters=_object(
            ["expression"],
            expression={
                "type": "string",
                "description": (
                    "Operators + - * / // % ** ! and parentheses; pi, e; sqrt, abs, round(x, digits), floor, "
                    "ceil, min, max, factorial, exp, ln, log10, log(x, base), sin, cos, tan, asin, acos, "
                    "atan (radians), radians, degrees. 200*15% is 30. No thousands separators."
                ),
            },
        ),
    ),
    ToolSpec(
        name="current_time",
        description="The date, weekday and time now. Use it whenever the answer depends on today or now.",
        parameters=_object(
            [],
            timezone={
                "type": "string",
                "description": (
                    "An IANA name such as Asia/Shanghai, a large city in English or Chinese, or an offset "
                    "such as UTC+8. Leave it out for the local time."
                ),
            },
        ),
    ),
    ToolSpec(
        name="random_choice",
        description="Choose among options at random, all equally likely: draw lots, toss a coin, roll dice.",
        parameters=_object(
            ["options"],
            options={
                "type": "array",
                "items": {"type": "string", "maxLength": 1000},
                "minItems": 1,
                "maxItems": 1000,
                "description": "What to choose from.",
            },
            count={
                "type": "integer",
                "minimum": 1,
                "description": "How many to choose, none of them twice. 1 if left out.",
            },
        ),
    ),
    ToolSpec(
        name="unit_convert",
        description=(
            "Convert a value between units of length, mass, temperature, area, volume, speed, time, data, "
            "pressure or energy."
        ),
        parameters=_object(
            ["value", "from_unit", "to_unit"],
            value={"type": "number"},
            from_unit={
                "type": "string",
                "description": "Symbol or name in English or Chinese: km, square feet, °F, kWh, 斤, 摄氏度.",
            },
            to_unit={"type": "string", "description": "As `from_unit`, of the same quantity."},
        ),
    ),
)
