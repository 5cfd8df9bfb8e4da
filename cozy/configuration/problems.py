"""What is wrong with a configuration, collected while it is read, each thing with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cozy.configuration.places import Key, shown_key
from cozy.configuration.secrets import without_passwords
from cozy.errors import ConfigError

FILE_NAME = "cozy.toml"


@dataclass(slots=True)
class Problems:
    """`origins` says of each key whether the file gives its value or an environment variable."""

    origins: Mapping[str, str]
    file: str = FILE_NAME
    """The file as it is shown."""
    places: Mapping[Key, tuple[int, int]] = field(default_factory=dict[Key, tuple[int, int]])
    """Key → line and column in the file."""
    wrong: set[Key] = field(default_factory=set[Key])
    _found: list[tuple[tuple[int, ...], str, ConfigError]] = field(
        default_factory=list[tuple[tuple[int, ...], str, ConfigError]]
    )

    def add(self, key: Key, message: str, hint: str | None = None) -> None:
        """Something is wrong with the value of a key."""
        whole = _without_items(key)
        self.wrong.add(whole)
        origin = self.origins.get(shown_key(whole), FILE_NAME)
        place = self._place(key) if origin == FILE_NAME else ()
        shown = ":".join([self.file if origin == FILE_NAME else origin, *map(str, place)])
        error = ConfigError(without_passwords(f"{shown}: `{shown_key(key)}`: {message}"), hint=hint)
        self._found.append((place, "" if origin == FILE_NAME else origin, error))

    def add_to_file(self, message: str, *place: int, hint: str | None = None) -> None:
        """The file cannot be read at all; `place` is the line and column that are to blame, where any are."""
        self.wrong.add(())
        shown = ":".join([self.file, *map(str, place)])
        self._found.append((place, "", ConfigError(f"{shown}: {message}", hint=hint)))

    def in_order(self) -> tuple[ConfigError, ...]:
        """First those of the file, from its top to its end, then those of the environment."""
        return tuple(error for *_, error in sorted(self._found, key=lambda found: (found[1], found[0])))

    def _place(self, key: Key) -> tuple[int, ...]:
        """Of the key, or of the nearest table around it that the file names."""
        return next((self.places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.places), ())


def _without_items(key: Key) -> Key:
    """The key of the whole list."""
    return key[: next((n for n, part in enumerate(key) if isinstance(part, int)), len(key))]
