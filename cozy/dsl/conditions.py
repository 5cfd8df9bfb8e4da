"""Whether two `when:` can hold in one turn, and whether one of several always does.

Every way that the parts of the conditions can come out is tried. Parts that are not comparisons with
constants are taken to be independent of one another, so what is claimed here is certain, and what is not
claimed may still be true.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from itertools import product
from math import prod

from cozy.stages.template_tree import Both, Condition, Either, Fixed, Not, OneOf, Reference, Truth

MOST_CASES = 1024
"""More ways than these are not tried: then nothing is claimed."""


class _Unnamed:
    """Values that no condition names: those that are true, or those that are not."""

    def __init__(self, *, true: bool) -> None:
        self._true = true

    def __bool__(self) -> bool:
        return self._true


OTHER, NOTHING = _Unnamed(true=True), _Unnamed(true=False)

Domain = Callable[[Reference], Collection[Hashable] | None]
"""Every value that something can have; None: any at all."""

Case = Mapping[str, Hashable]
"""What each part comes out as."""


def never(condition: Condition, domain: Domain) -> bool:
    """It is certain not to hold."""
    cases = _cases([condition], domain)
    return cases is not None and not any(holds(condition, case) for case in cases)


def exclusive(one: Condition, other: Condition, domain: Domain) -> bool:
    """They are certain not to hold both at once."""
    return never(Both(one, other), domain)


def exhaustive(conditions: Sequence[Condition], domain: Domain) -> bool:
    """At least one of them is certain to hold."""
    cases = _cases(conditions, domain)
    return cases is not None and all(any(holds(c, case) for c in conditions) for case in cases)


def holds(condition: Condition, case: Case) -> bool:
    """Whether it holds when its parts come out like this."""
    match condition:
        case Fixed(value):
            return value
        case Truth(of):
            return bool(case[of])
        case OneOf(of, _, values):
            return case[of] in values
        case Not(inner):
            return not holds(inner, case)
        case Both(left, right):
            return holds(left, case) and holds(right, case)
        case Either(left, right):
            return holds(left, case) or holds(right, case)


def comparisons(condition: Condition) -> Iterator[OneOf]:
    """Every comparison with constants in it."""
    match condition:
        case OneOf():
            yield condition
        case Not(inner):
            yield from comparisons(inner)
        case Both(left, right) | Either(left, right):
            yield from comparisons(left)
            yield from comparisons(right)
        case Fixed() | Truth():
            pass


def _cases(conditions: Sequence[Condition], domain: Domain) -> Iterator[Case] | None:
    """Every way in which the parts can come out; None where there are too many."""
    outcomes: dict[str, dict[Hashable, None]] = {}
    for condition in conditions:
        for part in _parts(condition):
            known = outcomes.setdefault(part.of, {})
            if isinstance(part, Truth):
                known.update({OTHER: None, NOTHING: None})
                continue
            closed = domain(part.reference) if part.reference else None
            known.update(dict.fromkeys(part.values if closed is None else closed))
            if closed is None:
                known[OTHER] = None
    if prod(map(len, outcomes.values())) > MOST_CASES:
        return None
    return (dict(zip(outcomes, values, strict=True)) for values in product(*outcomes.values()))


def _parts(condition: Condition) -> Iterator[Truth | OneOf]:
    match condition:
        case Truth() | OneOf():
            yield condition
        case Not(inner):
            yield from _parts(inner)
        case Both(left, right) | Either(left, right):
            yield from _parts(left)
            yield from _parts(right)
        case Fixed():
            pass
