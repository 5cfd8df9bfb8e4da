"""`cozy doctor`: one page that tells whether this installation is fit."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from cozy.app import App
    from cozy.configuration import Loaded
    from cozy.engine.appraisal import Appraisal, Bound, Wait
    from cozy.engine.graph import Graph
    from cozy.ports.operations import DependencyHealth
    from cozy.settings import Settings
    from cozy.startup import Verdict

MOST_STAGES = 4
"""Stages that a warning names."""


@click.command()
@click.option(
    "--times",
    type=click.IntRange(1, 1000),
    default=7,
    show_default=True,
    help="How often each engine is asked.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, for programs.",
)
def doctor(times: int, form: Literal["text", "json"]) -> None:
    """Tell whether this installation is fit, and its engines quick enough.

    Looks at what `cozy config check` looks at, reaches for the database, Redis and model servers, and asks
    each engine of the personal context as turns do, for a user whom nobody is: how long it takes stands
    beside the shortest time that a stage gives it. Exits with 1 where something would fail; warnings alone
    exit with 0.
    """
    import anyio

    from cozy.configuration import examine

    page = anyio.run(examined, examine(), times)
    if form == "json":
        click.echo(json.dumps(page.values(), ensure_ascii=False, indent=2))
    else:
        click.echo(page.text())
        for kind, found in (("warning", page.warnings), ("error", page.problems)):
            for words in found:
                click.echo(f"{kind}: {words}", err=True)
    click.echo(page.summary(), err=True)
    sys.exit(1 if page.problems else 0)


@dataclass(slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Verdict
    note: str = ""
    ms: float | None = None
    """How long it took to answer."""


@dataclass(slots=True)
class Page:
    """Everything that was found."""

    problems: list[str]
    warnings: list[str]
    checks: list[Check]
    appraisals: list[Appraisal] = field(default_factory=list["Appraisal"])

    def text(self) -> str:
        from cozy.cli.tables import columns
        from cozy.interfaces.repl.wording import seconds

        rows = [("looked at", "state", "took", "")]
        rows += [(c.name, c.state, "" if c.ms is None else seconds(c.ms / 1000), c.note) for c in self.checks]
        told = columns(rows)
        if self.appraisals:
            heading = ("engine", "state", "asked", "p50", "p95", "errors", "shortest wait", "")
            told += "\n\n" + columns([heading, *map(engine_row, self.appraisals)])
        return told

    def values(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "fit": not self.problems,
            "checks": [{"name": c.name, "state": c.state, "ms": c.ms, "note": c.note} for c in self.checks],
            "engines": [engine_values(appraisal) for appraisal in self.appraisals],
            "problems": self.problems,
            "warnings": self.warnings,
        }

    def summary(self) -> str:
        def counted(number: int, noun: str) -> str:
            return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

        found = [(len(self.problems), "error"), (len(self.warnings), "warning")]
        words = ", ".join(counted(number, noun) for number, noun in found if number)
        return f"{'not fit' if self.problems else 'fit'}{f': {words}' if words else ''}"


# -- looking -----------------------------------------------------------------------------------------------


async def examined(loaded: Loaded, times: int) -> Page:
    """Everything that can be looked at; what hangs on something that is wrong is not."""
    from cozy.errors import CozyError
    from cozy.startup import findings

    settings = loaded.settings
    found = await findings(loaded)
    checks = [Check(name, state, _note(name, settings)) for name, state in found.parts.items()]
    page = Page(found.problems, found.warnings, checks)
    opens = all(found.parts[part] in ("ok", "warning") for part in ("personalities", "database"))
    if loaded.problems or not opens:
        page.warnings.append("engines and model servers were not looked at: the errors come first")
        return page
    try:
        async with _opened(settings, page) as app:
            await _look(app, page, times)
    except CozyError as error:
        page.problems.append(str(error))
    return page


def _note(part: str, settings: Settings) -> str:
    match part:
        case "configuration":
            return f"{settings.file or 'no cozy.toml'}, version {settings.version}"
        case "time zone":
            return settings.tools.timezone
        case "redis":
            return "" if settings.redis.url else "none is configured"
        case "default model":
            return settings.model.default
        case _:
            return ""


@asynccontextmanager
async def _opened(settings: Settings, page: Page) -> AsyncGenerator[App]:
    """The installation, without anybody who does its jobs. Looking changes no database: in place of one that
    is not at this version's tables yet there is an empty one."""
    from cozy.adapters.health_checks import database_check
    from cozy.app import open_app
    from cozy.storage import migrate

    check = next(c for c in page.checks if c.name == "database")
    have, head = await migrate.current(settings.database.url)
    kind = settings.database.url.partition(":")[0].partition("+")[0]
    if have == head:
        check.note = f"{kind}, revision {have}"
        async with open_app(settings, works=False) as app:
            _add(page, check, await database_check(app.database)())
            yield app
        return
    is_made = f"at revision {have}, brought to {head}" if have else "made"
    check.note = f"{kind}, {is_made} at the next start; engines were asked with an empty one"
    with TemporaryDirectory(prefix="cozy-doctor-") as folder:
        url = f"sqlite:///{Path(folder) / 'cozy.db'}"
        database = settings.database.model_copy(update={"url": url})
        async with open_app(settings.model_copy(update={"database": database}), works=False) as app:
            yield app


async def _look(app: App, page: Page, times: int) -> None:
    from cozy.app import engines_of
    from cozy.engine.appraisal import appraise, uses

    settings, graphs = app.settings, list(app.engine.library)
    next(c for c in page.checks if c.name == "personalities").note = ", ".join(app.engine.library.ids())
    await _redis(app, page)
    await _models(app, graphs, page)
    longest_s = settings.context.timeout_s
    of = uses(graphs, engines_of(settings), longest_s)
    page.appraisals = await appraise(app.engine.ports.context, of, times)
    for appraisal in page.appraisals:
        for is_problem, words in judged(appraisal, longest_s):
            (page.problems if is_problem else page.warnings).append(words)


async def _redis(app: App, page: Page) -> None:
    """How quick it is; that it is away was said before."""
    from cozy.adapters.health_checks import redis_check

    if app.redis is not None:
        health = await redis_check(app.redis)()
        check = next(c for c in page.checks if c.name == "redis")
        check.ms, check.note = health.latency_ms, health.reason


def _add(page: Page, check: Check, health: DependencyHealth) -> None:
    check.ms = health.latency_ms
    if health.condition == "down":
        check.state = "error"
        page.problems.append(f"the {health.name} does not answer: {health.reason}")


async def _models(app: App, graphs: Sequence[Graph], page: Page) -> None:
    """Every model server that a personality may ask."""
    from cozy.adapters.health_checks import model_server_check

    down: dict[str, str] = {}
    for name in sorted({model.partition("/")[0] for model in app.engine.library.models}):
        provider = app.settings.providers.get(name)
        if provider is None or not provider.base_url:  # the demo model
            continue
        health = await model_server_check(name, provider.base_url)()
        page.checks.append(Check(health.name, "ok", health.reason, health.latency_ms))
        if health.condition == "down":
            down[name] = health.reason
    for name, reason in down.items():
        mute = sorted({graph.id for graph in graphs if _needs(graph, name, down)})
        lost = f"; `{'`, `'.join(mute)}` cannot answer without it" if mute else ""
        words = (
            f"the model server `{name}` cannot be used: {reason}{lost}\nhint: look whether it runs, and at "
        )
        words += f"`providers.{name}.base_url`"
        (page.problems if mute else page.warnings).append(words)
        next(c for c in page.checks if c.name == f"model/{name}").state = "error" if mute else "warning"


def _needs(graph: Graph, server: str, down: Mapping[str, str]) -> bool:
    """Whether a stage that must not fail has this server, and none that answers."""
    for node in graph.nodes:
        names = {m.partition("/")[0] for m in node.info.model.names} if node.info.model else set[str]()
        if server in names and names <= down.keys() and node.on_error == "fail":
            return True
    return False


# -- what is said of an engine -----------------------------------------------------------------------------


def engine_row(appraisal: Appraisal) -> tuple[str, ...]:
    from cozy.interfaces.repl.wording import seconds

    use = appraisal.use
    errors = ", ".join(f"{number} {code}" for code, number in appraisal.errors.items()) or "0"
    shortest = use.waits[0] if use.waits else None
    return (
        f"{use.engine} of {use.provider}",
        state_of(appraisal),
        str(appraisal.asked),
        _took(appraisal.quantile(0.5)),
        _took(appraisal.quantile(0.95)),
        errors,
        seconds(shortest.seconds) if shortest else "–",
        _stage(shortest) if shortest else "no stage asks it",
    )


def engine_values(appraisal: Appraisal) -> dict[str, Any]:
    def ms(seconds: float | None) -> float | None:
        """None where there is no answer, or none came."""
        return None if seconds is None or math.isinf(seconds) else round(seconds * 1000, 2)

    use = appraisal.use
    return {
        "engine": use.engine,
        "provider": use.provider,
        "state": state_of(appraisal),
        "asked": appraisal.asked,
        "p50_ms": ms(appraisal.quantile(0.5)),
        "p95_ms": ms(appraisal.quantile(0.95)),
        "silent": sum(map(math.isinf, appraisal.seconds)),
        "errors": dict(appraisal.errors),
        "waits": [
            {"personality": w.personality, "stage": w.stage, "ms": ms(w.seconds), "set_by": w.bound}
            for w in use.waits
        ],
    }


def state_of(appraisal: Appraisal) -> Verdict:
    said = [is_problem for is_problem, _ in judged(appraisal)]
    return "error" if any(said) else "warning" if said else "ok"


def judged(appraisal: Appraisal, longest_s: float = math.inf) -> Iterator[tuple[bool, str]]:
    """What is to be said of it, each with whether turns would fail; `longest_s`: `context.timeout_s`."""
    use = appraisal.use
    name = f"the {use.engine} engine `{use.provider}`"
    if failed := sum(appraisal.errors.values()):
        how_many = "most" if 2 * failed > appraisal.asked else "some"
        what = f"{name} failed {failed} of {appraisal.asked} times ({', '.join(appraisal.errors)})"
        what += f": {appraisal.reason.removesuffix('.')}"  # more follows
        hint = f"look at {_where(use.provider, appraisal.errors)}"
        if not use.waits:
            yield False, f"{what}\nhint: {hint}"
        for waits in _apart(use.waits):
            yield _of_turns(what, how_many, waits, hint)
    needed_s = appraisal.quantile(0.95) or math.inf
    most = appraisal.late(0.5)
    some = [wait for wait in appraisal.late(0.95) if wait not in most]
    for share, how_many, late in ((0.5, "most", most), (0.95, "some", some)):
        what = f"{name} takes {_took(appraisal.quantile(share))} (p{share * 100:.0f})"
        for waits in _apart(late):
            yield _of_turns(what, how_many, waits, _what_to_raise(waits, needed_s, longest_s))


def _where(provider: str, errors: Collection[str]) -> str:
    """Where the cause of errors is to be looked for."""
    if provider == "embedded":
        return "the database"
    if {"ENGINE_AUTH"}.issuperset(errors):
        return f"the key or the account that `[engines.{provider}]` names"
    if {"ENGINE_AUTH", "ENGINE_INIT"}.issuperset(errors):
        return f"`[engines.{provider}]`, and at the key or the account that it names"
    return f"its server and `[engines.{provider}]`"


def _apart(waits: Sequence[Wait]) -> list[list[Wait]]:
    """Stages that degrade, and those without which a turn fails."""
    groups = ([wait for wait in waits if wait.can_do_without is can] for can in (True, False))
    return [group for group in groups if group]


def _of_turns(what: str, how_many: str, waits: Sequence[Wait], hint: str) -> tuple[bool, str]:
    """What it means for turns, and whether most of them would fail."""
    fails = not waits[0].can_do_without
    would = "fail in" if fails else "go without"
    return (
        fails and how_many == "most",
        f"{what}: {how_many} turns would {would} {_stages(waits)}\nhint: {hint}",
    )


def _stages(waits: Sequence[Wait]) -> str:
    from cozy.interfaces.repl.wording import seconds

    named = [f"{_stage(wait)} (waits {seconds(wait.seconds)})" for wait in waits[:MOST_STAGES]]
    more = len(waits) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _stage(wait: Wait) -> str:
    return f"stage `{wait.stage}` of `{wait.personality}`"


def _what_to_raise(waits: Sequence[Wait], needed_s: float, longest_s: float) -> str:
    """Whatever sets the time now, and what would set it next."""
    limits: dict[Bound, str] = {
        "stage": "the stage's `timeout`",
        "context": "`context.timeout_s`",
        "turn": "the pipeline's `timeout`",
    }
    bounds = {wait.bound for wait in waits}
    if needed_s > longest_s:
        bounds.add("context")
    raised = " and ".join(words for bound, words in limits.items() if bound in bounds)
    over = "" if math.isinf(needed_s) else f" over {_took(needed_s)}"
    return f"raise {raised}{over}, or see why it is slow"


def _took(seconds: float | None) -> str:
    from cozy.interfaces.repl import wording

    if seconds is None:
        return "–"
    return "never" if math.isinf(seconds) else wording.seconds(seconds)
