"""Values → a model, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from cozy.dsl.diagnostics import Diagnostic
from cozy.dsl.wrong_values import KeyPath, Locator, Wrong, diagnostic, fields_of

M = TypeVar("M", bound=BaseModel)

ROUNDS = 4
"""How often a file is mended to see what else is wrong."""
_STAND_IN = "unnamed"


@dataclass(frozen=True, slots=True)
class Validated(Generic[M]):
    """A model as far as it could be made, and what was wrong on the way."""

    value: M | None
    """Where some values were wrong: the model without them (a mistyped key read as the one that was meant),
    so that the rest can be checked in the same run. None where what is left makes no sense."""
    diagnostics: tuple[Diagnostic, ...] = ()
    left_out: frozenset[KeyPath] = frozenset()
    """The keys without which `value` was made."""

    @property
    def sound(self) -> bool:
        """Whether the model is what was written."""
        return not any(d.severity == "error" for d in self.diagnostics)


def validate(model: type[M], data: Mapping[str, Any], locate: Locator, subject: str) -> Validated[M]:
    """`data`, as text from YAML, as a `model`; `subject` is what messages call it: "a personality",
    "a `fetch_context` stage"."""
    mending = _Mending(_copied(data))
    found: list[Diagnostic] = []
    for _ in range(ROUNDS):
        try:
            value = model.model_validate(mending.data, by_alias=True, by_name=False)
        except ValidationError as wrong:
            errors = [Wrong.of(model, e) for e in wrong.errors(include_url=False)]
        else:
            return Validated(value, tuple(found), frozenset(mending.left_out))
        found += [
            diagnostic(wrong, mending.written(wrong.path), locate, subject)
            for wrong in errors
            if not mending.knows_of(wrong, errors)
        ]
        if not mending.mend(errors):
            break
    return Validated(None, tuple(found), frozenset(mending.left_out))


class _Mending:
    """Data that is set right as far as can be, so that what is left can be looked at."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.left_out: set[KeyPath] = set()
        self.renamed: dict[KeyPath, KeyPath] = {}
        """Keys as they were meant → as they are written."""

    def written(self, path: KeyPath) -> KeyPath:
        """Where in the file a path of the mended data is."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.renamed:
                return (*self.renamed[path[:end]], *path[end:])
        return path

    def knows_of(self, wrong: Wrong, errors: Sequence[Wrong]) -> bool:
        """Whether a key is missing only because it is mistyped, or was left out here."""
        meant = {(*other.path[:-1], key) for other in errors if (key := _meant(other, errors))}
        return wrong.kind == "missing" and wrong.path in meant | self.left_out

    def mend(self, errors: Sequence[Wrong]) -> bool:
        """Set a mistyped key right, leave a wrong value out. False where a key is missing for which nothing
        can stand in."""
        for wrong in errors:
            path = wrong.path
            while path and isinstance(path[-1], int):
                path = path[:-1]  # a list with a wrong item is left out as a whole
            holder = self._holder(path)
            if holder is None:
                return False
            key, meant = str(path[-1]), _meant(wrong, errors)
            value = holder.pop(key, None)
            if meant and meant not in holder:
                holder[meant] = value
                self.renamed[*path[:-1], meant] = self.written(path)
            elif wrong.field and wrong.field.annotation is str:
                holder[key] = _STAND_IN
            elif wrong.kind == "missing" and not any(_meant(other, errors) == key for other in errors):
                return False
            if not meant and wrong.kind != "missing":
                self.left_out.add(path)
        return True

    def _holder(self, path: KeyPath) -> dict[str, Any] | None:
        """The mapping that holds the last key of a path."""
        data = self.data
        for part in path[:-1]:
            inner: Any = data.get(str(part))
            if not isinstance(inner, dict):
                return None
            data = cast("dict[str, Any]", inner)
        return data if path else None


def _meant(wrong: Wrong, errors: Sequence[Wrong]) -> str | None:
    """The key for which an unknown one was probably meant: one that is missing, before any other."""
    if wrong.kind != "extra_forbidden":
        return None
    beside = wrong.path[:-1]
    missing = [str(e.path[-1]) for e in errors if e.kind == "missing" and e.path[:-1] == beside]
    for known in (missing, fields_of(wrong.owner)):
        near = get_close_matches(str(wrong.path[-1]), known, n=1, cutoff=0.6)
        if near:
            return near[0]
    return None


def _copied(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copied(cast("Mapping[str, Any]", inner)) if isinstance(inner, Mapping) else inner
        for key, inner in value.items()
    }
