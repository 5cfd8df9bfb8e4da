"""Conversion between units, by the names that people give them in English and Chinese."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cache

from cozy.adapters.unit_table import Unit, units_with_names
from cozy.errors import ToolError

_MAX_NAME = 60
_SKIPPED = str.maketrans("", "", " _-.^°")


@dataclass(frozen=True, slots=True)
class Conversion:
    """A value in the unit it came in and in the one it was asked in; both exact."""

    value: Fraction
    source: Unit
    result: Fraction
    target: Unit


def convert(value: Fraction, source: str, target: str) -> Conversion:
    """`value` of one unit in another of the same quantity.

    Names are symbols, English words in singular or plural, or Chinese words; case counts only where it tells
    two units apart. A name with several meanings takes the one that the other name fits. Raises ToolError.
    """
    from_unit, to_unit = _pair(source, target)
    base = value * from_unit.factor + from_unit.offset
    if from_unit.quantity == "temperature" and base < 0:
        raise ToolError(f"{float(value):g} {from_unit.symbol} is below absolute zero")
    return Conversion(value, from_unit, (base - to_unit.offset) / to_unit.factor, to_unit)


def _pair(source: str, target: str) -> tuple[Unit, Unit]:
    sources, targets = _candidates(source), _candidates(target)
    for name, found, others in ((source, sources, targets), (target, targets, sources)):
        if not found:
            raise _unknown(name, others)
    fitting = [
        (rank_a + rank_b, a, b)
        for a, rank_a in sources.items()
        for b, rank_b in targets.items()
        if a.quantity == b.quantity
    ]
    if not fitting:
        a, b = next(iter(sources)), next(iter(targets))
        raise ToolError(f"`{source}` is a unit of {a.quantity}, `{target}` of {b.quantity}: no conversion")
    nearest = min(rank for rank, _, _ in fitting)
    best = [(a, b) for rank, a, b in fitting if rank == nearest]
    for name, units in ((source, {a for a, _ in best}), (target, {b for _, b in best})):
        if len(units) > 1:
            raise _ambiguous(name, units)
    return best[0]


def _ambiguous(name: str, units: set[Unit]) -> ToolError:
    choices = ", ".join(sorted(f"`{unit.symbol}` ({unit.chinese})" for unit in units))
    return ToolError(f"`{name}` has several meanings", hint=f"say which one: {choices}")


def _unknown(name: str, others: Mapping[Unit, int]) -> ToolError:
    near = get_close_matches(_key(name), _names(), n=1, cutoff=0.75)
    if near:
        unit = next(iter(_names()[near[0]]))
        hint = f"did you mean `{unit.symbol}` ({unit.chinese})?"
    elif others:
        quantity = next(iter(others)).quantity
        known = (unit.symbol for unit, _ in units_with_names() if unit.quantity == quantity)
        hint = f"units of {quantity}: {', '.join(known)}"
    else:
        hint = "use symbols or names such as `km`, `pound`, `斤`"
    return ToolError(f"there is no unit `{name[:_MAX_NAME]}`", hint=hint)


def _candidates(name: str) -> dict[Unit, int]:
    """The units that a name may mean, with how far it is from how the unit is written."""
    key = _key(name[:_MAX_NAME])
    found: dict[Unit, int] = {}
    for rank, form in enumerate(
        (key, key.removesuffix("s"), key.casefold(), key.casefold().removesuffix("s"))
    ):
        names = _names() if rank < 2 else _folded_names()
        for unit in names.get(form, ()):
            found.setdefault(unit, rank)
    return found


def _key(name: str) -> str:
    """A name without what people write now one way, now another: `sq. ft`, `m^2` and `㎡`, `°C` and `℃`."""
    return unicodedata.normalize("NFKC", name).translate(_SKIPPED)


@cache
def _names() -> Mapping[str, tuple[Unit, ...]]:
    names: dict[str, tuple[Unit, ...]] = {}
    for unit, called in units_with_names():
        for key in dict.fromkeys(_key(name) for name in called):
            names[key] = (*names.get(key, ()), unit)
    return names


@cache
def _folded_names() -> Mapping[str, tuple[Unit, ...]]:
    names: dict[str, tuple[Unit, ...]] = {}
    for key, units in _names().items():
        names[key.casefold()] = tuple(dict.fromkeys((*names.get(key.casefold(), ()), *units)))
    return names
