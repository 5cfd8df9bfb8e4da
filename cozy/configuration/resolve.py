"""What was configured → what it comes to: whole paths, every provider and engine that there is, the model of
`auto`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cozy.configuration.engines import resolved_engines
from cozy.configuration.places import Key, shown_key
from cozy.configuration.problems import Problems
from cozy.errors import did_you_mean
from cozy.ports.identity import KEY_PREFIX
from cozy.settings import (
    DEMO_MODEL,
    KNOWN_PROVIDERS,
    DatabaseSettings,
    PathSettings,
    ProviderSettings,
    Settings,
    shipped,
)


def resolved(settings: Settings, env: Mapping[str, str], problems: Problems) -> Settings:
    """Paths made absolute, known providers filled in, the database's address and the model settled."""
    root = settings.root.resolve()
    data = root / settings.paths.data
    paths = PathSettings(
        personalities=_search_path(root, settings.paths.personalities, shipped("personalities")),
        pipelines=_search_path(root, settings.paths.pipelines, shipped("pipelines")),
        data=data,
    )
    providers = _providers(settings, problems)
    default, key = _default_model(settings, providers, env)
    if key not in problems.wrong:
        _check_model(default, key, providers, problems)
    return settings.model_copy(
        update={
            "root": root,
            "paths": paths,
            "providers": providers,
            "engines": resolved_engines(settings, problems),
            "database": DatabaseSettings(url=settings.database.url or f"sqlite:///{data / 'cozy.db'}"),
            "model": settings.model.model_copy(update={"default": default}),
        }
    )


def _search_path(root: Path, own: tuple[Path, ...], last: Path) -> tuple[Path, ...]:
    """Each folder once: in a checkout of Cozy the project's own folder is the shipped one."""
    return tuple(dict.fromkeys((*(root / p for p in own), last)))


def _providers(settings: Settings, problems: Problems) -> dict[str, ProviderSettings]:
    """Those that are configured, and those that are known, with what is known of them."""
    providers = dict(settings.providers)
    for name, (base_url, key, model) in KNOWN_PROVIDERS.items():
        given = providers.get(name, ProviderSettings())
        providers[name] = given.model_copy(
            update={
                "base_url": given.base_url or base_url,
                "api_key_env": given.api_key_env or key,
                "default_model": given.default_model or model,
            }
        )
    for name, provider in providers.items():
        key = ("providers", name)
        if provider.base_url is None and problems.wrong.isdisjoint({key, (*key, "base_url")}):
            problems.add(key, "needs a `base_url`", hint="up to and including `/v1`")
    return providers


def _default_model(
    settings: Settings, providers: Mapping[str, ProviderSettings], env: Mapping[str, str]
) -> tuple[str, Key]:
    """The model, and the key that names it. `auto`: a provider with an entry of its own first, then one whose
    key is set, then the demo."""
    if settings.model.default != "auto":
        return settings.model.default, ("model", "default")
    for name in (*settings.providers, *KNOWN_PROVIDERS):
        provider = providers[name]
        api_key = env.get(provider.api_key_env or "", "")
        # a shell that was made ready for Cozy's clients would have Cozy ask itself
        has_key = bool(api_key) and not (name in KNOWN_PROVIDERS and api_key.startswith(KEY_PREFIX))
        own = name in settings.providers and (provider.api_key_env is None or has_key)
        if provider.default_model and (own or has_key):
            return f"{name}/{provider.default_model}", ("providers", name, "default_model")
    return DEMO_MODEL, ("model", "default")


def _check_model(name: str, key: Key, providers: Mapping[str, ProviderSettings], problems: Problems) -> None:
    provider, _, rest = name.partition("/")
    known = {*providers, "demo"}
    if not (provider and rest) or re.search(r"\s", name):
        example = (
            f"openai/{name}" if name and "/" not in name and not re.search(r"\s", name) else "openai/NAME"
        )
        problems.add(
            key,
            f"`{name}` is no model: a model is named `provider/model`",
            hint=f"for example `{example}`",
        )
    elif provider not in known:
        problems.add(
            key,
            f"there is no provider `{provider}`, so there is no model `{name}`",
            hint=f"{did_you_mean(provider, known)}; "
            f"a new one goes under `[providers.{shown_key([provider])}]`",
        )
