"""What templates name: does it exist there, has it that field, and does it stand where it costs nothing?"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cozy.dsl.diagnostics import Diagnostic, Related, error, warning
from cozy.dsl.kinds import ANYTHING, VARIABLE_KINDS, Kind, context_part, intent_of, kind, member, values_of
from cozy.dsl.mentions import first_of_each
from cozy.dsl.texts import STAGE_TEXT, Text
from cozy.dsl.wording import all_of, quoted
from cozy.dsl.written import Entry, Resolved
from cozy.errors import did_you_mean
from cozy.stages.intent import IntentSettings
from cozy.stages.template_tree import ITEM, Reference
from cozy.stages.templates import SECTION_VARIABLES, VARIABLES
from cozy.stages.values import ContextPart

WELCOME = ("personality", "tools", "language", "channel", "now")
"""What a welcome may name: it is said before there is a turn."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a template may name."""

    kinds: Mapping[str, Kind]
    whole: bool = True
    """Whether that is all; of a personality without a pipeline nobody knows the stages."""
    stages: Collection[str] = ()
    """The stages of the pipeline, those that cannot be named included."""
    later: Collection[str] = ()
    """Those of them that have not run by then: a mistake of its own, and no help."""

    def hint(self, name: str) -> str | None:
        return did_you_mean(name, self.kinds.keys() - set(self.later))

    def values(self, reference: Reference) -> Collection[Hashable] | None:
        """Every value that a reference can have; None: any."""
        root = self.kinds.get(reference.name)
        return values_of(root, reference.fields) if root else None


def scope_of(text: Text, resolved: Resolved | None, by: str | None = None) -> Scope:
    """What one template may name, of the stage `by` or of the personality itself; without a pipeline, as far
    as that can be told."""
    if text.name == "welcome":
        return Scope({name: VARIABLE_KINDS[name] for name in WELCOME})
    if resolved is None:
        return Scope({name: VARIABLE_KINDS[name] for name in text.taken}, whole=False)
    return _scope(text.taken, resolved, by)


def stage_scope(resolved: Resolved) -> Scope:
    """What the stages of a pipeline may name."""
    return _scope(STAGE_TEXT, resolved, None)


def _scope(taken: frozenset[str], resolved: Resolved, by: str | None) -> Scope:
    ids = [entry.id for entry in resolved.entries]
    return Scope(
        {
            **{stage.id: ANYTHING for stage in resolved.removed},
            **{entry.id: value_kind(entry) for entry in resolved.entries},
            **{name: VARIABLE_KINDS[name] for name in taken},
        },
        stages=ids,
        later=[id_ for id_ in ids[ids.index(by) if by else len(ids) :] if id_ not in taken],
    )


def value_kind(entry: Entry) -> Kind:
    """What is known of the value that a stage gives."""
    if entry.info is None:
        return ANYTHING
    if isinstance(entry.settings, IntentSettings):
        rules = entry.at.written(("rules",))
        # a label whose rule is broken is meant all the same
        broken = cast("dict[str, Any]", rules) if isinstance(rules, dict) else ()
        return intent_of({*entry.settings.labels, *broken})
    section = brings(entry)
    return context_part(section) if section else kind(entry.info.gives)


def brings(entry: Entry) -> str | None:
    """The section of the context that a stage fetches, where that is known."""
    if entry.info is None or not issubclass(entry.info.gives, ContextPart):
        return None
    section = getattr(entry.settings, "source", None)
    return section if section in SECTION_VARIABLES else None


def wrong_names(text: Text, scope: Scope) -> Iterator[Diagnostic]:
    """Variables that do not exist, and fields that they do not have."""
    told: set[str] = set()
    for reference in dict.fromkeys(text.compiled.references):
        name = reference.name
        if name in scope.kinds:
            yield from _wrong_field(text, reference, scope)
        elif scope.whole and name not in told:
            told.add(name)
            yield _unknown(text, reference, scope)


def _unknown(text: Text, reference: Reference, scope: Scope) -> Diagnostic:
    name, place = reference.name, text.variable(reference)
    if name == "loop":
        return error("CZ083", f"`{text.name}`: `loop` is known within `for` only", place)
    if name in SECTION_VARIABLES and text.taken is STAGE_TEXT:
        message = f"`{text.name}`: `{name}` is known in a personality's `prompt` and `context` only"
        hint = f"name a stage that fetches it: `type: fetch_context` with `source: {name}`"
        return error("CZ085", message, place, hint)
    compared = (scope.values(other) or () for other in text.compiled.references)
    if any(name in values for values in compared):
        hint = f'a text stands in quotes: `"{name}"`'
        return error("CZ083", f"`{text.name}`: there is no variable `{name}`", place, hint)
    hint = scope.hint(name)
    if name in VARIABLES:
        return error("CZ083", f"`{text.name}`: there is no `{name}` yet: nobody has spoken", place, hint)
    return error("CZ083", f"`{text.name}`: there is no variable `{name}`", place, hint)


def _wrong_field(text: Text, reference: Reference, scope: Scope) -> Iterator[Diagnostic]:
    here = scope.kinds[reference.name]
    for i, field in enumerate(reference.fields):
        there = member(here, field)
        if there is None:
            whose = _whose(reference.name, reference.fields[:i])
            hint = did_you_mean(field, here.shown)
            if i == 0 and reference.name in STAGE_TEXT and reference.name in scope.stages:
                hint = (
                    f"`{reference.name}` is a word of every template, so the stage of that id cannot be named"
                )
            is_ = "" if whose == f"`{here.name.removeprefix('a ')}`" else f" is {here.name} and"
            message = f"`{text.name}`: {whose}{is_} has no `{field}`"
            yield error("CZ084", message, text.field(reference, field), hint)
            return
        here = there


def _whose(name: str, fields: Sequence[str]) -> str:
    *most, last = [name, *fields]
    return f"an item of `{'.'.join(most)}`" if last == ITEM else f"`{'.'.join([*most, last])}`"


# -- what a personality's own templates show -----------------------------------------------------------


def not_brought(texts: Sequence[Text], resolved: Resolved) -> Iterator[Diagnostic]:
    """Parts of the context that a template shows, and no stage fetches."""
    givers = [e for e in resolved.entries if e.info is None or issubclass(e.info.gives, ContextPart)]
    brought = {brings(entry) for entry in givers}
    if None in brought:  # a stage of which nobody knows what it brings
        return
    off = {stage.id for stage in resolved.removed}
    told: set[str] = set()
    for text in texts:
        for reference in first_of_each(text):
            name = reference.name
            if name not in SECTION_VARIABLES or name in brought or name in told or text.name == "welcome":
                continue
            told.add(name)
            hint = (
                f"`{name}` is `off` here"
                if name in off
                else f"add a stage: `{name}:` with `type: fetch_context` and `source: {name}`"
            )
            message = (
                f"`{text.name}` names `{name}`, which no stage of the pipeline fetches: it is always empty"
            )
            yield warning("CZ088", message, text.variable(reference), hint)


_ASKED_FOR = frozenset({"profile", "memory", "knowledge"})
"""What costs a question to an engine. The summary of a long session stands in the session itself, and the
history is in every prompt."""


def not_shown(texts: Sequence[Text], resolved: Resolved) -> Iterator[Diagnostic]:
    """Parts of the context that are fetched, and that the personality's own `context` leaves out."""
    context = next((text for text in texts if text.name == "context"), None)
    if context is None:
        return
    named = {name for text in texts for name in text.compiled.names}
    named |= {name for entry in resolved.entries for text in entry.texts for name in text.compiled.names}
    unseen = [
        entry.id
        for entry in resolved.entries
        if (section := brings(entry)) in _ASKED_FOR and not {section, entry.id} & named
    ]
    if unseen:
        stages = all_of(quoted(unseen))
        is_, it = ("is", "it") if len(unseen) == 1 else ("are", "them")
        message = f"{stages} {is_} fetched, and `context` does not show {it}"
        hint = f"name {it} in `context`, or leave {it} out: `{unseen[0]}: off`"
        yield warning("CZ089", message, context.document.key(*context.path), hint)


# -- prompt order is cache order -----------------------------------------------------------------------

_CHANGES = {"slow": "changes from time to time", "turn": "changes with every turn"}


def cache_order(texts: Sequence[Text], resolved: Resolved | None) -> Iterator[Diagnostic]:
    """What changes, standing ahead of what does not: a model's server reads all behind it anew, uncached."""
    stages = {entry.id for entry in resolved.entries} if resolved else set[str]()
    for text in texts:
        if text.name in ("prompt", "voice.prompt"):
            yield from _changing_prompt(text, stages)
        elif text.name == "context":
            yield from _changing_ahead(text)


def _steadiness(name: str) -> str:
    return VARIABLES.get(name, "turn")


def _changing_prompt(text: Text, stages: Collection[str]) -> Iterator[Diagnostic]:
    for reference in first_of_each(text):
        steadiness = _steadiness(reference.name)
        if steadiness == "stable" or not (reference.name in VARIABLES or reference.name in stages):
            continue
        message = (
            f"`{text.name}` names `{reference.name}`, which {_CHANGES[steadiness]}: "
            "the history behind it cannot be reused"
        )
        yield warning("CZ090", message, text.variable(reference), "move it to `context`, which stands last")


def _changing_ahead(text: Text) -> Iterator[Diagnostic]:
    references = list(first_of_each(text))
    told: set[str] = set()
    for i, slow in enumerate(references):
        ahead = next((r for r in references[:i] if _steadiness(r.name) == "turn"), None)
        if _steadiness(slow.name) != "slow" or ahead is None or ahead.name in told:
            continue
        told.add(ahead.name)
        message = (
            f"`{ahead.name}` changes with every turn, and stands ahead of `{slow.name}`, which seldom does"
        )
        hint = f"write `{slow.name}` first: what stands behind something new cannot be reused"
        related = [Related(f"`{slow.name}` stands here", text.variable(slow))]
        yield warning("CZ091", message, text.variable(ahead), hint, related)
