"""`[engines]`, and what `[context]` names of them: what each kind needs, and whether it brings that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from cozy.configuration.problems import Problems
from cozy.errors import did_you_mean
from cozy.ports.context import EMBEDDED, EngineKind
from cozy.settings import BRINGS, ENGINE_URLS, EngineSettings, Settings

WITH_ACCOUNTS = ("cognee", "mem0")
KEYS_ONLY = ("memobase", "mem0_platform")
"""They refuse whoever brings no key, so one has to be named."""


def resolved_engines(settings: Settings, problems: Problems) -> dict[str, EngineSettings]:
    """Every engine with its address, and everything that is wrong with them and with their choice."""
    for name, engine in settings.engines.items():
        _check(name, engine, problems)
    for kind in get_args(EngineKind):
        _check_choice(kind, getattr(settings.context, kind), settings.engines, problems)
    return {
        name: engine.model_copy(update={"url": engine.url or ENGINE_URLS[engine.kind]})
        for name, engine in settings.engines.items()
    }


def variables(engines: Mapping[str, EngineSettings]) -> Iterator[str]:
    """The environment's variables that engines name."""
    for engine in engines.values():
        yield from filter(None, (engine.api_key_env, engine.password_env))


def _check(name: str, engine: EngineSettings, problems: Problems) -> None:
    key = ("engines", name)
    if name == EMBEDDED:
        problems.add(
            key, "is what the engines in Cozy's own database are called", hint="give it another name"
        )
    if (
        engine.kind in KEYS_ONLY
        and engine.api_key_env is None
        and (*key, "api_key_env") not in problems.wrong
    ):
        problems.add(key, "needs an `api_key_env`", hint=f"`{engine.kind}` answers nobody without a key")
    for field in ("username", "password_env"):
        if getattr(engine, field) is not None and engine.kind not in WITH_ACCOUNTS:
            problems.add((*key, field), f"`{engine.kind}` knows no accounts", hint="name an `api_key_env`")
    if (engine.username is None) != (engine.password_env is None):
        missing = "username" if engine.username is None else "password_env"
        if (*key, missing) not in problems.wrong:
            problems.add(key, f"an account needs a `{missing}` too")
    if engine.kind == "cognee":
        if not engine.datasets and (*key, "datasets") not in problems.wrong:
            problems.add(key, "needs `datasets`", hint="the names or ids of those that may be searched")
    elif engine.datasets:
        problems.add((*key, "datasets"), f"`{engine.kind}` has no datasets: only `cognee` has")
    if any(not dataset.strip() for dataset in engine.datasets):
        problems.add((*key, "datasets"), "a dataset has a name")


def _check_choice(
    kind: EngineKind, name: str, engines: Mapping[str, EngineSettings], problems: Problems
) -> None:
    """That the engine which serves by default is there, and brings this."""
    if name == EMBEDDED or not problems.wrong.isdisjoint({(), ("engines",), ("engines", name)}):
        return
    if any(wrong[:2] == ("engines", name) for wrong in problems.wrong):
        return  # it is told already what is wrong with it
    able = [own for own, engine in engines.items() if BRINGS[engine.kind] == kind]
    if name not in engines:
        hint = f"{did_you_mean(name, [EMBEDDED, *able])}; a new one goes under `[engines.NAME]`"
        problems.add(("context", kind), f"there is no engine `{name}`", hint=hint)
    elif name not in able:
        given = engines[name].kind
        problems.add(
            ("context", kind),
            f"`{name}` is a `{given}`, which brings {BRINGS[given]} and no {kind}",
            hint=did_you_mean(name, [EMBEDDED, *able]),
        )
