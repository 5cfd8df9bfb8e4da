"""cozy.toml and the environment → Settings.

What `cozy.toml` says goes before the environment (`COZY_DATABASE_URL` for `database.url`), the environment
before the defaults. Inside `cozy.toml`, `${NAME}` and `${NAME:-default}` hand a value to the environment.
Secrets come from the environment only.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_origin

from pydantic import ValidationError

from cozy.errors import ConfigError, did_you_mean
from cozy.settings import (
    DEMO_MODEL,
    KNOWN_PROVIDERS,
    DatabaseSettings,
    Part,
    PathSettings,
    ProviderSettings,
    Settings,
    shipped,
)

FILE_NAME = "cozy.toml"

Key = tuple[str, ...]
"""The way to a value: `("providers", "openai", "models", "gpt-4.1-mini", "price_in")`."""

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET_KEY = re.compile(
    r"(^|[-_.])(api[-_]?key|key|secret|token|password|auth|authorization|cookie|credentials?)$", re.IGNORECASE
)
_PASSWORD = re.compile(r"://[^/?#@:\s]*:[^@\s]+@|[?&][a-z_]*password=[^&\s]", re.IGNORECASE)
"""In an address."""


_PASSWORD_ITSELF = re.compile(
    r"(?P<address>://[^/?#@:\s]*:)[^@\s]+(?=@)|(?P<query>[?&][a-z_]*password=)[^&\s]+", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value came from: `cozy.toml`, an environment variable, or `default`."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The configuration for the working directory, or for `root`. Raises ConfigError."""
    return load(root, environ).settings


def load(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """As `load_settings`, with where each value came from."""
    env = os.environ if environ is None else environ
    file = _find(root or Path.cwd())
    written = _read(file, env) if file else {}
    base = file.parent if file else (root or Path.cwd())
    origins = {shown_key(key): FILE_NAME for key, _ in leaves(written)}
    merged = _with_environment(written, env, origins)
    try:
        settings = Settings.model_validate({**merged, "root": base, "file": file})
    except ValidationError as error:
        raise ConfigError(_explain(error, file, origins)) from None
    if "providers.openai.base_url" not in origins and env.get("OPENAI_BASE_URL"):
        origins["providers.openai.base_url"] = "OPENAI_BASE_URL"
    resolved = _resolved(settings, env)
    _check_default(resolved, _place("model.default", file, origins))
    return Loaded(resolved, origins)


def _find(start: Path) -> Path | None:
    """The nearest `cozy.toml`, in this folder or above it."""
    folder = start.resolve()
    return next((f for d in (folder, *folder.parents) if (f := d / FILE_NAME).is_file()), None)


def _read(file: Path, env: Mapping[str, str]) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from None
    for key, value in leaves(data):
        is_number = isinstance(value, bool | int | float)  # `limits.per_key` is none
        if not is_number and _holds_secret(key[-1], str(value)):
            raise ConfigError(
                f"{file}: `{shown_key(key)}`: secrets do not belong in the file",
                hint="write `${NAME}`, and set that environment variable; "
                "for a provider's key, name the variable with `api_key_env`",
            )
    return _expanded(data, env, file)


def _holds_secret(name: str, value: str) -> bool:
    """Whether a value of this name gives away what only the environment should know."""
    references = list(_REFERENCE.finditer(value))
    if _SECRET_KEY.search(name) and not any(not reference[2] for reference in references):
        return True
    # what a reader of the file sees: nothing of the environment's values, the defaults in full
    return bool(_PASSWORD.search(_REFERENCE.sub(lambda reference: reference[2] or "", value)))


def masked(key: Sequence[str], value: Any) -> Any:
    """A value as it may be shown: a provider's headers, what is named like a secret, and the password of an
    address are not."""
    if not isinstance(value, str) or not value:
        return value
    if _SECRET_KEY.search(key[-1]) or "headers" in key[:-1]:
        return "***"
    return _PASSWORD_ITSELF.sub(lambda found: f"{found['address'] or found['query']}***", value)


def _expanded(value: Any, env: Mapping[str, str], file: Path) -> Any:
    """`${NAME}` and `${NAME:-default}` replaced, in every text."""

    def replace(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        found = env.get(name) or default
        if found is None:
            raise ConfigError(
                f"{file}: the environment variable `{name}` is not set",
                hint=f"set it, or write `${{{name}:-default}}`",
            )
        return found

    if isinstance(value, str):
        return _REFERENCE.sub(replace, value)
    if isinstance(value, dict):
        return {k: _expanded(v, env, file) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_expanded(v, env, file) for v in cast("list[Any]", value)]
    return value


def leaves(data: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is no table, with its key."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from leaves(cast("dict[str, Any]", value), (*above, name))
        else:
            yield (*above, name), value


def shown_key(key: Sequence[str | int]) -> str:
    """A key as TOML writes it: `providers.openai.models."gpt-4.1-mini".price_in`."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in map(str, key))


def _with_environment(
    written: Mapping[str, Any], env: Mapping[str, str], origins: dict[str, str]
) -> dict[str, Any]:
    """What the file says, and `COZY_<SECTION>_<KEY>` where it says nothing."""
    merged = dict(written)
    for section, field in Settings.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, Part)):
            continue
        for key, leaf in field.annotation.model_fields.items():
            name, dotted = f"COZY_{section}_{key}".upper(), f"{section}.{key}"
            if name in env and dotted not in origins and isinstance(merged.get(section, {}), dict):
                value = _listed(env[name]) if get_origin(leaf.annotation) is tuple else env[name]
                merged[section] = {**merged.get(section, {}), key: value}
                origins[dotted] = name
    return merged


def _listed(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def _explain(error: ValidationError, file: Path | None, origins: Mapping[str, str]) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False):
        where = shown_key(problem["loc"])
        place = _place(where, file, origins)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "no such key; " + (
                did_you_mean(str(problem["loc"][-1]), _siblings(problem["loc"])) or ""
            )
        lines.append(f"{place}: `{where}`: {message[0].lower()}{message[1:]}")
    return "\n".join(lines)


def _place(where: str, file: Path | None, origins: Mapping[str, str]) -> str:
    """Who says what a key holds: the file, or an environment variable."""
    origin = origins.get(where, FILE_NAME)
    return str(file) if origin == FILE_NAME and file else origin


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in loc[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return list(ProviderSettings.model_fields) if loc[0] == "providers" else []
        model = field.annotation
    return [name for name in getattr(model, "model_fields", {}) if name not in ("root", "file")]


def _resolved(settings: Settings, env: Mapping[str, str]) -> Settings:
    """Paths made absolute, known providers filled in, the database's address settled."""
    root = settings.root.resolve()
    data = root / settings.paths.data
    paths = PathSettings(
        personalities=_search_path(root, settings.paths.personalities, shipped("personalities")),
        pipelines=_search_path(root, settings.paths.pipelines, shipped("pipelines")),
        data=data,
    )
    providers = dict(settings.providers)
    for name, (base_url, key, model) in KNOWN_PROVIDERS.items():
        given = providers.get(name, ProviderSettings())
        address = given.base_url or (env.get("OPENAI_BASE_URL") if name == "openai" else None) or base_url
        providers[name] = given.model_copy(
            update={
                "base_url": address,
                "api_key_env": given.api_key_env or key,
                "default_model": given.default_model or model,
            }
        )
    for name, given in settings.providers.items():
        if providers[name].base_url is None:
            raise ConfigError(f"`providers.{name}` needs a `base_url`", hint="up to and including `/v1`")
        if given.api_key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", given.api_key_env):
            raise ConfigError(
                f"`providers.{name}.api_key_env` is the name of an environment variable, not a key"
            )
    url = settings.database.url or f"sqlite:///{data / 'cozy.db'}"
    return settings.model_copy(
        update={
            "root": root,
            "paths": paths,
            "providers": providers,
            "database": DatabaseSettings(url=url),
            "model": settings.model.model_copy(update={"default": _default_model(settings, providers, env)}),
        }
    )


def _search_path(root: Path, own: tuple[Path, ...], last: Path) -> tuple[Path, ...]:
    """Each folder once: in a checkout of Cozy the project's own folder is the shipped one."""
    return tuple(dict.fromkeys((*(root / p for p in own), last)))


def _default_model(
    settings: Settings, providers: Mapping[str, ProviderSettings], env: Mapping[str, str]
) -> str:
    """`auto` settled: a provider with an entry of its own first, then one whose key is set, then the demo."""
    if settings.model.default != "auto":
        return settings.model.default
    for name in (*settings.providers, *KNOWN_PROVIDERS):
        provider = providers[name]
        has_key = provider.api_key_env is not None and bool(env.get(provider.api_key_env))
        own = name in settings.providers and (provider.api_key_env is None or has_key)
        if provider.default_model and (own or has_key):
            return f"{name}/{provider.default_model}"
    return DEMO_MODEL


def _check_default(settings: Settings, place: str) -> None:
    name = settings.model.default
    provider, _, rest = name.partition("/")
    known = {*settings.providers, "demo"}
    if not (provider and rest) or re.search(r"\s", name):
        example = (
            f"openai/{name}" if name and "/" not in name and not re.search(r"\s", name) else "openai/NAME"
        )
        raise ConfigError(
            f"{place}: `model.default`: `{name}` is no model: a model is named `provider/model`",
            hint=f"for example `{example}`",
        )
    if provider not in known:
        raise ConfigError(
            f"{place}: `model.default`: there is no provider `{provider}`, so there is no model `{name}`",
            hint=f"{did_you_mean(provider, known)}; "
            f"a new one goes under `[providers.{shown_key([provider])}]`",
        )
