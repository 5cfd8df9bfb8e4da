"""`COZY_<SECTION>_<KEY>`: settings that the environment gives."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, cast, get_origin

from cozy.configuration.problems import FILE_NAME
from cozy.errors import did_you_mean
from cozy.ports.identity import KEY_PREFIX
from cozy.settings import KNOWN_PROVIDERS, Part, Settings

OPENAI_ADDRESS = "OPENAI_BASE_URL"
"""What OpenAI's own clients read."""
_CLOSE = 0.85
"""How like a known name one must be to be taken for a slip of the pen."""


def variables() -> Iterator[tuple[str, str, str, Any]]:
    """Every variable, with its section, its key and the type of its value."""
    for section, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            for key, leaf in field.annotation.model_fields.items():
                yield f"COZY_{section}_{key}".upper(), section, key, leaf.annotation


def merged(written: Mapping[str, Any], env: Mapping[str, str], origins: dict[str, str]) -> dict[str, Any]:
    """What the file says, and the environment where it says nothing; `origins` learns which."""
    found = dict(written)
    for name, section, key, annotation in variables():
        if name in env and f"{section}.{key}" not in origins and isinstance(found.get(section, {}), dict):
            value = _listed(env[name]) if get_origin(annotation) is tuple else env[name]
            found[section] = {**found.get(section, {}), key: value}
            origins[f"{section}.{key}"] = name
    providers: Any = found.get("providers", {})
    openai: Any = cast("dict[str, Any]", providers).get("openai", {}) if isinstance(providers, dict) else None
    if env.get(OPENAI_ADDRESS) and isinstance(openai, dict) and "providers.openai.base_url" not in origins:
        found["providers"] = {**providers, "openai": {**openai, "base_url": env[OPENAI_ADDRESS]}}
        origins["providers.openai.base_url"] = OPENAI_ADDRESS
    return found


def own_keys(env: Mapping[str, str]) -> Iterator[str]:
    """A warning for each variable that has a key to Cozy where a model server's would be: in a shell that was
    made ready for Cozy's clients."""
    for _, variable, _ in KNOWN_PROVIDERS.values():
        if variable and env.get(variable, "").startswith(KEY_PREFIX):
            words = "is a key to Cozy itself, as its clients have: `auto` takes no model server for it"
            yield f"`{variable}` {words}"


def _listed(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def unknown(env: Mapping[str, str], used: Collection[str]) -> Iterator[str]:
    """A warning for each variable that looks like a setting and is none.

    No error: Kubernetes, for one, sets `COZY_REDIS_PORT` and more of the kind for a service `cozy-redis`.
    `used` are variables that the file names, which may be called anything.
    """
    known: list[str] = []
    sections: dict[str, list[str]] = {}
    for name, section, key, _ in variables():
        known.append(name)
        sections.setdefault(section, []).append(key)
    for name in sorted(set(env) - {*known, *used}):
        section, _, key = name.removeprefix("COZY_").lower().partition("_")
        if name.startswith("COZY_") and section in sections:
            hint = did_you_mean(key, sections[section])
            yield f"`{name}` is ignored: `[{section}]` has no key `{key}`; {hint}"
        elif name.startswith("COZY_PROVIDERS_"):
            yield f"`{name}` is ignored: providers are set in `{FILE_NAME}`, under `[providers.NAME]`"
        elif name.startswith("COZY_ENGINES_"):
            yield f"`{name}` is ignored: engines are set in `{FILE_NAME}`, under `[engines.NAME]`"
        elif name.startswith("COZY_") and (near := get_close_matches(name, known, 1, _CLOSE)):
            yield f"`{name}` is ignored; did you mean `{near[0]}`?"
