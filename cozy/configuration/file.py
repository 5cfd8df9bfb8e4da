"""`cozy.toml` → values, with `${NAME}` replaced; what cannot be taken as it stands is left out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cozy.configuration.places import Key, places_of
from cozy.configuration.problems import FILE_NAME, Problems
from cozy.configuration.secrets import REFERENCE, holds_secret

_LEFT_OUT = object()
_WITH_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
"""What `tomllib` says."""
_ASCII = dict(zip("“”‘’：＝，［］", "\"\"''==,[]", strict=True))


@dataclass(frozen=True, slots=True)
class Written:
    """What the file says."""

    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As it stands there."""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As it is meant."""

    def at(self, key: Key) -> Any:
        """How the file has a value; None where it has none."""
        value: Any = self.raw
        for part in key:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def variables(self) -> set[str]:
        """The environment variables that it names in `${…}`."""
        return {found[1] for _, value in leaves(self.raw) for found in REFERENCE.finditer(str(value))}


def nearest(start: Path) -> Path | None:
    """The nearest `cozy.toml`, in this folder or above it."""
    folder = start.resolve()
    return next((f for d in (folder, *folder.parents) if (f := d / FILE_NAME).is_file()), None)


def leaves(data: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no table, with its key."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from leaves(cast("dict[str, Any]", value), (*above, name))
        else:
            yield (*above, name), value


def read(file: Path, env: Mapping[str, str], problems: Problems) -> Written:
    """Read the file; tells `problems` where its keys stand, and what cannot be taken."""
    here = Path.cwd()
    problems.file = (file.relative_to(here) if file.is_relative_to(here) else file).as_posix()
    text = ""
    try:
        text = file.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
        raw = tomllib.loads(text)
    except UnicodeDecodeError as error:
        problems.add_to_file(f"not UTF-8 (byte {error.start})", hint="save the file as UTF-8")
    except OSError as error:
        problems.add_to_file(f"cannot be read: {(error.strerror or str(error)).lower()}")
    except tomllib.TOMLDecodeError as error:
        found = _WITH_PLACE.fullmatch(str(error))
        words, *numbers = found.groups() if found else (str(error),)
        place = [int(number) for number in numbers if number]
        problems.add_to_file(words[0].lower() + words[1:], *place, hint=_ascii(text, place))
    else:
        problems.places = places_of(text)
        return Written(raw, cast("dict[str, Any]", _taken(raw, (), env, problems)))
    return Written()


def _ascii(text: str, place: Sequence[int]) -> str | None:
    """What to write for a sign of a Chinese keyboard that stands where TOML reads none."""
    if not place:
        return None
    line, column = place
    sign = text.split("\n")[line - 1][column - 1 : column]
    return f"write `{_ASCII[sign]}`, not `{sign}`" if sign in _ASCII else None


def _taken(value: Any, key: Key, env: Mapping[str, str], problems: Problems) -> Any:
    """A value as it is meant, without what is a secret or names a variable that is not set."""
    if isinstance(value, dict):
        items = {k: _taken(v, (*key, k), env, problems) for k, v in cast("dict[str, Any]", value).items()}
        return {k: v for k, v in items.items() if v is not _LEFT_OUT}
    name = next(part for part in reversed(key) if isinstance(part, str))
    if holds_secret(name, value):
        problems.add(
            key,
            "secrets do not belong in the file",
            hint="write `${NAME}`, and set that environment variable; "
            "for the key of a provider or an engine, name the variable with `api_key_env`",
        )
        return _LEFT_OUT
    if isinstance(value, list):
        entries = [_taken(v, (*key, n), env, problems) for n, v in enumerate(cast("list[Any]", value))]
        return _LEFT_OUT if _LEFT_OUT in entries else entries
    return _expanded(value, key, env, problems) if isinstance(value, str) else value


def _expanded(text: str, key: Key, env: Mapping[str, str], problems: Problems) -> Any:
    """`${NAME}` and `${NAME:-default}` replaced."""
    unset = {found[1] for found in REFERENCE.finditer(text) if env.get(found[1]) is None and found[2] is None}
    for name in sorted(unset):
        problems.add(
            key,
            f"the environment variable `{name}` is not set",
            hint=f"set it, or write `${{{name}:-default}}`",
        )
    if unset:
        return _LEFT_OUT
    return REFERENCE.sub(lambda found: env.get(found[1]) or found[2] or "", text)
