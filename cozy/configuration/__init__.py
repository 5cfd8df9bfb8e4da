"""cozy.toml and the environment → Settings, and everything that is wrong with them.

What `cozy.toml` says goes before the environment (`COZY_DATABASE_URL` for `database.url`), the environment
before the defaults. Inside `cozy.toml`, `${NAME}` and `${NAME:-default}` hand a value to the environment.
Secrets come from the environment only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from cozy.configuration import engines, environment
from cozy.configuration.file import Written, leaves, nearest, read
from cozy.configuration.places import Key, shown_key
from cozy.configuration.problems import FILE_NAME, Problems
from cozy.configuration.resolve import resolved
from cozy.configuration.wording import told
from cozy.errors import ConfigError, ConfigErrors
from cozy.settings import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, where each value came from, and what is wrong with them.

    What is wrong has its default in `settings`, so that the rest can be looked at.
    """

    settings: Settings
    origins: Mapping[str, str]
    """Key → `cozy.toml` or an environment variable; what is not named has its default."""
    problems: tuple[ConfigError, ...] = ()
    warnings: tuple[str, ...] = ()
    wrong: frozenset[Key] = frozenset()
    """The keys that the problems are about; `()` where the file cannot be read at all."""

    def is_wrong(self, *dotted: str) -> bool:
        """Whether one of these keys, or the table around it, is not what was written."""
        keys = [tuple(name.split(".")) for name in dotted]
        return any(key[: len(wrong)] == wrong for key in keys for wrong in self.wrong)


def load_settings(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The configuration for the working directory, or for `root`. Raises ConfigErrors."""
    return load(root, environ).settings


def load(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """As `load_settings`, with where each value came from."""
    loaded = examine(root, environ)
    if loaded.problems:
        raise ConfigErrors(loaded.problems)
    return loaded


def examine(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """As `load`, but what is wrong stands in what it gives."""
    env = os.environ if environ is None else environ
    file = nearest(root or Path.cwd())
    origins: dict[str, str] = {}
    problems = Problems(origins)
    written = read(file, env, problems) if file else Written()
    origins |= {shown_key(key): FILE_NAME for key, _ in leaves(written.raw)}
    values = environment.merged(written.values, env, origins)
    base = file.parent if file else (root or Path.cwd())
    settings = resolved(_valid(values, written, problems, root=base, file=file), env, problems)
    used = {
        *written.variables(),
        *(p.api_key_env for p in settings.providers.values() if p.api_key_env),
        *engines.variables(settings.engines),
    }
    return Loaded(
        settings,
        origins,
        problems.in_order(),
        (*environment.unknown(env, used), *environment.own_keys(env)),
        frozenset(problems.wrong),
    )


def _valid(
    values: dict[str, Any], written: Written, problems: Problems, *, root: Path, file: Path | None
) -> Settings:
    """The settings without what is wrong with them."""
    for name in values.keys() & {"root", "file"}:
        problems.add((name,), "no such key")
    while True:
        try:
            return Settings.model_validate({**values, "root": root, "file": file})
        except ValidationError as error:
            found = error.errors(include_url=False)
        for problem in found:
            problems.add(problem["loc"], told(problem, written.at(problem["loc"])))
            _take_out(values, problem["loc"])


def _take_out(values: dict[str, Any], key: Key) -> None:
    """Take a wrong value out. A provider that is none stays, with nothing in it: others may name it.
    An engine of no kind cannot stay."""
    if key[0] == "engines" and key[2:] == ("kind",):
        key = key[:2]
    table, name = values, key[0]
    for part in key[1:]:
        if not isinstance(table.get(cast("str", name)), dict):
            break
        table, name = table[cast("str", name)], part
    if key[:-1] == ("providers",):
        table[cast("str", name)] = {}
    else:
        table.pop(cast("str", name), None)
