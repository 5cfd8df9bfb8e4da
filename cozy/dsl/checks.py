"""What can be wrong with stages that are wired: one function for each rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from itertools import combinations
from types import NoneType
from typing import Any

from cozy.dsl.conditions import Domain, comparisons, exclusive, exhaustive, never
from cozy.dsl.diagnostics import Diagnostic, Place, Related, error, warning
from cozy.dsl.naming import brings, stage_scope
from cozy.dsl.wiring import Wiring
from cozy.dsl.wording import a, all_of, any_of, duration, quoted
from cozy.dsl.written import Entry
from cozy.errors import TemplateFailed, did_you_mean
from cozy.stages.fetch_context import FetchContextSettings
from cozy.stages.intent import IntentSettings
from cozy.stages.registry import stage_types
from cozy.stages.template_tree import Condition, Fixed, Not, Reference
from cozy.stages.templates import SECTION_VARIABLES, Expression
from cozy.stages.tool_loop import ToolLoopSettings
from cozy.stages.values import Intent, Queued, Saved
from cozy.stages.writeback import SUMMARY, WritebackSettings

Rule = Callable[[Wiring], Iterator[Diagnostic]]


def broken_rules(wiring: Wiring) -> Iterator[Diagnostic]:
    """Everything that is wrong with the stages beside their edges."""
    for rule in RULES:
        yield from rule(wiring)


# -- failure rules -------------------------------------------------------------------------------------


def skipped_without_empty_value(wiring: Wiring) -> Iterator[Diagnostic]:
    """`when` and `degrade` on a type whose value cannot be missing."""
    for entry in wiring.resolved.entries:
        if entry.info is None or entry.settings is None or entry.info.has_empty:
            continue
        kinds = any_of(quoted(name for name, info in stage_types().items() if info.has_empty))
        if entry.settings.when:
            message = f"`{entry.id}` cannot be skipped: there is no empty {entry.info.gives.__name__}"
            yield error("CZ077", message, entry.at.key("when"), f"`when` stands on {kinds}")
        if entry.settings.on_error == "degrade":
            message = f"`{entry.id}` cannot degrade: there is no empty {entry.info.gives.__name__}"
            yield error(
                "CZ077", message, entry.at.value("on_error"), f"`on_error: degrade` stands on {kinds}"
            )


def speaker_without_words(wiring: Wiring) -> Iterator[Diagnostic]:
    """`degrade` on the stage that answers."""
    for entry in wiring.resolved.entries:
        if entry.id in wiring.speakers and entry.settings and entry.settings.on_error == "degrade":
            yield error(
                "CZ076",
                f"`{entry.id}` cannot degrade: its words are the answer",
                entry.at.value("on_error"),
                "`fallback_text` is said when no model answers",
            )


def retried_writes(wiring: Wiring) -> Iterator[Diagnostic]:
    """`retries` where a second run changes something."""
    for entry in wiring.resolved.entries:
        if entry.info and entry.settings and entry.settings.retries and not entry.info.reads:
            kind = a(f"`{entry.info.name}`")
            message = f"`{entry.id}` cannot be tried again: a second run of {kind} changes something"
            yield error("CZ078", message, entry.at.key("retries"), "`retries` is for stages that only read")


def too_slow(wiring: Wiring) -> Iterator[Diagnostic]:
    """Stages that may take longer than what they are a part of."""
    turn_s, said = wiring.resolved.timeout_s, wiring.resolved.timeout_place
    late: list[tuple[str, float, Place]] = []
    for entry in wiring.resolved.entries:
        settings = entry.settings
        if settings is None:
            continue
        if settings.timeout is not None and settings.timeout > turn_s:
            late.append((entry.id, settings.timeout, entry.at.value("timeout")))
        if isinstance(settings, ToolLoopSettings) and settings.tool_timeout is not None:
            whole = min(settings.timeout or turn_s, turn_s)
            if settings.tool_timeout > whole:
                call = duration(settings.tool_timeout)
                message = f"one call of a tool may take {call}, `{entry.id}` as a whole {duration(whole)}"
                yield error("CZ079", message, entry.at.value("tool_timeout"))
    yield from _late_stages(late, turn_s, said, wiring.resolved.pipeline.document.name)


def _late_stages(
    late: Sequence[tuple[str, float, Place]], turn_s: float, said: Place | None, pipeline: str
) -> Iterator[Diagnostic]:
    # a personality that gives the turn less time than its pipeline's stages have: told of at its own word
    inherited = [stage for stage in late if said and said.file != pipeline and stage[2].file == pipeline]
    for id_, timeout_s, place in late:
        if (id_, timeout_s, place) not in inherited:
            whole = duration(turn_s) if said else f"{duration(turn_s)} where none is given"
            message = f"`{id_}` may take {duration(timeout_s)}, but the whole turn {whole}"
            hint = "give the turn more time, or the stage less"
            yield error("CZ079", message, place, hint, [Related("the turn's timeout", said)] if said else [])
    if inherited and said:
        stages = all_of(f"`{id_}` {duration(timeout_s)}" for id_, timeout_s, _ in inherited)
        message = f"the whole turn may take {duration(turn_s)}, but {stages}"
        related = [Related(f"the timeout of `{id_}`", place) for id_, _, place in inherited]
        yield error("CZ079", message, said, "give these stages less time under `stages` too", related)


# -- speaking and keeping ------------------------------------------------------------------------------

MOST_SPEAKERS = 16
"""How many stages are compared with one another."""


def two_at_once(wiring: Wiring) -> Iterator[Diagnostic]:
    """Two stages that could speak in one turn, or none that does."""
    speakers = [entry for entry in wiring.resolved.entries if entry.id in wiring.speakers]
    if not speakers or any(_is_broken(entry) for entry in speakers):
        return
    if len(speakers) > MOST_SPEAKERS:
        message = f"more than {MOST_SPEAKERS} stages are marked to speak"
        hint = "one stage can be asked different things: `ask` may hold `{% if … %}`"
        yield error("CZ071", message, speakers[MOST_SPEAKERS].at.key("visible"), hint)
        return
    domain = stage_scope(wiring.resolved).values
    together = [
        (one, other)
        for one, other in combinations(speakers, 2)
        if not exclusive(_condition(one), _condition(other), domain)
    ]
    for one, other in together:
        yield error(
            "CZ071",
            f"`{one.id}` and `{other.id}` could both speak in one turn",
            other.at.key("visible"),
            'give each a `when`, so that only one can be true: `… == "a"` and `… != "a"`',
            [Related(f"`{one.id}` speaks too", one.at.key("visible"))],
        )
    if not together and not exhaustive([_condition(entry) for entry in speakers], domain):
        yield _nobody_answers(speakers)


def _nobody_answers(speakers: Sequence[Entry]) -> Diagnostic:
    names = all_of(f"of `{entry.id}`" for entry in speakers)
    are = {1: "is false", 2: "are both false"}.get(len(speakers), "are all false")
    return warning(
        "CZ073",
        f"nobody answers in a turn in which the `when` {names} {are}",
        speakers[-1].at.key("when"),
        "add a stage that speaks in every other case",
        [Related("this one too", entry.at.key("when")) for entry in speakers[:-1]],
    )


def _is_broken(entry: Entry) -> bool:
    """Whether it has a `when` that does not parse."""
    return bool(entry.settings and entry.settings.when and entry.when is None)


def _condition(entry: Entry) -> Condition:
    text = entry.when
    return text.compiled.condition if text and isinstance(text.compiled, Expression) else Fixed(holds=True)


def never_true(wiring: Wiring) -> Iterator[Diagnostic]:
    """A `when` that no turn fulfils, or every one, and what a `when` or a `top_k` compares in vain."""
    domain = stage_scope(wiring.resolved).values
    for entry in wiring.resolved.entries:
        for text in entry.texts:
            if not isinstance(text.compiled, Expression):
                continue
            condition = text.compiled.condition
            impossible = list(_impossible(condition, domain))
            for reference, value, known in impossible:
                subject = ".".join((reference.name, *reference.fields))
                place = text.word(str(value), reference.line)
                is_label = any(isinstance(other, Intent) and other.label == value for other in known)
                hint = f"write `{subject}.label`" if is_label else did_you_mean(str(value), map(str, known))
                yield warning("CZ087", f"`{subject}` is never `{value}`", place, hint)
            if text is not entry.when or impossible:
                continue
            if never(condition, domain):
                message = f"`{entry.id}` never runs: its `when` cannot be true"
                yield warning("CZ087", message, entry.at.key("when"))
            elif any(comparisons(condition)) and never(Not(condition), domain):
                message = f"`{entry.id}` always runs: its `when` cannot be false"
                hint = "to leave out several values, write `and` between them, or `not in`"
                yield warning("CZ087", message, entry.at.key("when"), hint)


def _impossible(
    condition: Condition, domain: Domain
) -> Iterator[tuple[Reference, Hashable, Collection[Hashable]]]:
    for comparison in comparisons(condition):
        known = domain(comparison.reference) if comparison.reference else None
        if known is not None and comparison.reference is not None:
            for value in sorted(comparison.values - frozenset(known), key=str):
                yield comparison.reference, value, known


def kept_twice(wiring: Wiring) -> Iterator[Diagnostic]:
    """More than one stage that stores the turn."""
    entries = wiring.resolved.entries
    keepers = [entry for entry in entries if entry.info and issubclass(entry.info.gives, Saved)]
    # of the pipeline's and one that a personality adds, the latter is the one too many
    keepers.sort(key=lambda entry: entry.at.key().file != wiring.resolved.pipeline.document.name)
    for entry in keepers[1:]:
        yield error(
            "CZ075",
            f"`{keepers[0].id}` stores the turn already",
            entry.at.key(),
            "leave out one of the two: a turn is stored once, whole",
            [Related("stored here", keepers[0].at.key())],
        )


# -- what is written in vain ---------------------------------------------------------------------------

APPLIES_TO: dict[str, tuple[str, ...]] = {
    "limit": ("history",),
    "top_k": ("knowledge", "memory"),
    "min_score": ("knowledge", "memory"),
    "max_tokens": ("profile",),
    "datasets": ("knowledge",),
    "stale": ("knowledge", "profile", "memory"),
    "prefetch": ("profile", "memory"),
}
"""Settings of `fetch_context` that only some sources read."""


def settings_of_another_source(wiring: Wiring) -> Iterator[Diagnostic]:
    """Settings that a stage's source does not read."""
    for entry in wiring.resolved.entries:
        settings = entry.settings
        if not isinstance(settings, FetchContextSettings):
            continue
        for name, sources in APPLIES_TO.items():
            if name in entry.at.data and settings.source not in sources:
                read = quoted(n for n, s in APPLIES_TO.items() if settings.source in s)
                hint = f"`{settings.source}` reads {all_of(read) if read else 'none of these'}"
                message = f"`{name}` does nothing for the source `{settings.source}`"
                yield warning("CZ081", message, entry.at.key(name), hint)


def summary_of_another_history(wiring: Wiring) -> Iterator[Diagnostic]:
    """A summary that begins elsewhere than where the history ends."""
    entries = wiring.resolved.entries
    limits = [
        (e.settings.limit, e.at.key("limit"))
        for e in entries
        if isinstance(e.settings, FetchContextSettings) and e.settings.source == "history"
    ]
    for entry in entries:
        settings = entry.settings
        if not isinstance(settings, WritebackSettings) or "summary" not in settings.targets or not limits:
            continue
        limit, place = max(limits, key=lambda one: one[0])
        if limit != settings.history:
            older = f"`{entry.id}` summarises what is older than {settings.history} messages"
            message = f"{older}, the history shows {limit}"
            related = [Related("the history's limit", place)]
            yield warning("CZ115", message, entry.at.key("history"), f"write `history: {limit}`", related)


def summary_of_nobody(wiring: Wiring) -> Iterator[Diagnostic]:
    """A summary that is fetched and not kept up, or kept up and not fetched."""
    entries = wiring.resolved.entries
    fetched = [
        e for e in entries if isinstance(e.settings, FetchContextSettings) and e.settings.source == SUMMARY
    ]
    taught = [(e, e.settings) for e in entries if isinstance(e.settings, WritebackSettings)]
    kept = [entry for entry, settings in taught if SUMMARY in settings.targets]
    if bool(fetched) == bool(kept) or not all(entry.sound for entry, _ in taught):
        return
    for entry in kept:
        message = f"`{entry.id}` keeps up a summary that no stage fetches"
        hint = "add a `fetch_context` with `source: summary`, or leave `summary` out of the `targets`"
        yield warning("CZ116", message, entry.at.key("targets"), hint)
    writers = [entry.at.key("targets") for entry, _ in taught]
    writers += [r.place for r in wiring.resolved.removed if r.info and issubclass(r.info.gives, Queued)]
    for entry in fetched:
        message = f"no stage keeps up the summary that `{entry.id}` fetches"
        hint = f"name `summary` among the `targets` of a `writeback`, or leave it out: `{entry.id}: off`"
        place, *_ = [*writers, entry.at.key()]
        related = [Related("fetched here", entry.at.key())] if writers else []
        yield warning("CZ116", message, place, hint, related)


def labels_without_rules(wiring: Wiring) -> Iterator[Diagnostic]:
    """Labels that no rule and no model can give."""
    for entry in wiring.resolved.entries:
        settings = entry.settings
        if not isinstance(settings, IntentSettings) or settings.model is not None or not entry.sound:
            continue
        for label, rule in settings.rules.items():
            if not (rule.keywords or rule.patterns or label == settings.default):
                message = f"no message gets the label `{label}`: it has neither keywords nor patterns"
                hint = "add some, or a `model:` that chooses by its description"
                yield warning("CZ113", message, entry.at.key("rules", label), hint)


def counts_out_of_range(wiring: Wiring) -> Iterator[Diagnostic]:
    """A `top_k` that gives no number from 1 to 100, as far as that can be told without a turn."""
    for entry in wiring.resolved.entries:
        for text in entry.texts:
            if text.name != "top_k" or not isinstance(text.compiled, Expression):
                continue
            if message := _miscount(text.compiled):
                hint = "for example `top_k: 3 if turn.channel == 'voice' else 8`"
                yield error("CZ114", f"`top_k`: {message}", text.document.value(*text.path), hint)


def _miscount(top_k: Expression) -> str | None:
    """What is wrong with the number that it gives in every turn, or in some."""
    if top_k.names:
        wrong = top_k.miscounts(100)
        return f"`{top_k.source}` can give {wrong[0]}, not a whole number from 1 to 100" if wrong else None
    try:
        top_k.count({}, 100)
    except TemplateFailed as failed:
        return failed.message.removeprefix(f"{top_k.name}: ")
    return None


def given_to_nobody(wiring: Wiring) -> Iterator[Diagnostic]:
    """Stages whose value nobody takes and no template names."""
    if any(d.severity == "error" for d in wiring.diagnostics):
        return  # an edge that is missing would be told of twice
    entries = wiring.resolved.entries
    useful = wiring.taken.union(stage.id for stage in wiring.stages if stage.speaks)
    for i, entry in enumerate(entries):
        if entry.info is None or issubclass(entry.info.gives, (Saved, Queued, NoneType)):
            continue
        if entry.id in useful:
            continue
        above = (e for e in entries[:i] if e.info and _takes(e, entry.info.gives))
        taker = next(above, None)
        hint = f"`{taker.id}` would take it, but stands above: write `{entry.id}` above it" if taker else None
        message = f"nothing takes what `{entry.id}` gives, and no template names it"
        yield warning("CZ068", message, entry.at.key(), hint or "leave it out, or name it in a template")


def _takes(entry: Entry, type_: type[Any]) -> bool:
    return bool(entry.info) and any(issubclass(type_, t) for need in entry.info.needs for t, _ in need.types)


def named_like_another_part(wiring: Wiring) -> Iterator[Diagnostic]:
    """A stage called `memory` that brings something else."""
    for entry in wiring.resolved.entries:
        if entry.id not in SECTION_VARIABLES or entry.info is None or entry.settings is None:
            continue
        section = brings(entry)
        if section == entry.id:
            continue
        what = f"brings `{section}`" if section else f"is {a(f'`{entry.info.name}`')}"
        message = (
            f"`{entry.id}` {what}, but `{entry.id}` in a `prompt` or `context` is that part of the context"
        )
        yield warning("CZ067", message, entry.at.key(), "give the stage another id")


RULES: tuple[Rule, ...] = (
    skipped_without_empty_value,
    speaker_without_words,
    retried_writes,
    too_slow,
    two_at_once,
    never_true,
    kept_twice,
    settings_of_another_source,
    summary_of_another_history,
    summary_of_nobody,
    labels_without_rules,
    counts_out_of_range,
    given_to_nobody,
    named_like_another_part,
)
