"""Which stage names which other: in `from`, in `after`, in templates; and whether it may."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cozy.dsl.diagnostics import Diagnostic, Place, Related, error
from cozy.dsl.texts import Text
from cozy.dsl.wording import all_of, quoted
from cozy.dsl.written import Entry, Removed
from cozy.errors import did_you_mean
from cozy.stages.template_tree import Reference


@dataclass(frozen=True, slots=True)
class Mention:
    """One stage names another."""

    by: str
    target: str
    how: str
    """The setting: `from`, `after`, `ask`, `when` …; of the personality's own templates, `context` …"""
    place: Place


def mentions(entries: Sequence[Entry], removed: Iterable[Removed], personal: Iterable[Text]) -> list[Mention]:
    """Every mention of a stage, in the order of the pipeline.

    What the personality's own templates name is named by the stages that render them, as far as these stand
    below: a template may be rendered a first time before a stage that it names has run.
    """
    known = {entry.id for entry in entries} | {stage.id for stage in removed}
    found: list[Mention] = []
    above: set[str] = {stage.id for stage in removed}
    for entry in entries:
        if entry.settings is not None:
            for how, names in (("from", entry.settings.from_), ("after", entry.settings.after)):
                found += [
                    Mention(entry.id, name, how, entry.at.item((how,), i)) for i, name in enumerate(names)
                ]
        for text in entry.texts:
            found += _in_text(text, entry.id, known)
        for text in rendered(entry, personal):
            found += _in_text(text, entry.id, above)
        above.add(entry.id)
    return found


def _in_text(text: Text, by: str, known: set[str]) -> Iterator[Mention]:
    for reference in first_of_each(text):
        if reference.name in text.stages & known:
            yield Mention(by, reference.name, text.name, text.value(reference))


def first_of_each(text: Text) -> Iterable[Reference]:
    """Where each name stands first, in the order of the text."""
    first: dict[str, Reference] = {}
    for reference in text.compiled.references:
        first.setdefault(reference.name, reference)
    return first.values()


def rendered(entry: Entry, personal: Iterable[Text]) -> list[Text]:
    """The personality's templates that a stage renders."""
    # `voice_prompt` is written as `prompt` below `voice`
    names = {name.replace("_", ".") for name in entry.info.renders} if entry.info else set[str]()
    return [text for text in personal if text.name in names]


def never_seen(entries: Sequence[Entry], personal: Iterable[Text]) -> Iterator[Diagnostic]:
    """Stages that a personality's template names, and that run only when it has been rendered."""
    position = {entry.id: i for i, entry in enumerate(entries)}
    for text in personal:
        last = max((position[e.id] for e in entries if text in rendered(e, personal)), default=None)
        for reference in first_of_each(text):
            if reference.name not in text.stages & position.keys() or last is None:
                continue
            if position[reference.name] >= last:
                yield error(
                    "CZ065",
                    f"`{text.name}` names `{reference.name}`, which runs after it has been rendered",
                    text.value(reference),
                    f"`{entries[last].id}` renders it: only stages above that one can be named",
                )


def misplaced(
    found: Sequence[Mention], entries: Sequence[Entry], edges: Mapping[str, Iterable[str]]
) -> Iterator[Diagnostic]:
    """Mentions that no order of running can serve; `edges`: what each stage waits for already."""
    position = {entry.id: i for i, entry in enumerate(entries)}
    for mention in found:
        by, target, how = mention.by, mention.target, mention.how
        if target == by:
            hint = "its value is there only when it has run: name a stage above"
            yield error("CZ064", f"stage `{by}` names itself in `{how}`", mention.place, hint)
        elif target in position and position[target] > position[by]:
            circle = _way(target, by, edges)
            if circle:
                steps = ", which waits for ".join(quoted(circle))
                message = f"stage `{by}` waits for {steps}: a circle"
                yield error("CZ066", message, mention.place, "one of them has to do without another")
            else:
                message = f"`{target}` stands below `{by}`, which names it in `{how}`"
                yield error("CZ065", message, mention.place, f"write `{target}` above `{by}`")


def unknown(
    found: Sequence[Mention], entries: Sequence[Entry], removed: Iterable[Removed]
) -> Iterator[Diagnostic]:
    """Names that are no stage's. In templates, these are unknown variables, and told of as such."""
    known = [entry.id for entry in entries]
    off = {stage.id for stage in removed}
    for mention in found:
        if mention.target not in known and mention.target not in off:
            message = f"`{mention.how}` names `{mention.target}`, which is no stage of this pipeline"
            hint = did_you_mean(mention.target, [id_ for id_ in known if id_ != mention.by])
            yield error("CZ063", message, mention.place, hint)


def missed(
    found: Sequence[Mention], removed: Iterable[Removed], needed: Mapping[str, list[str]]
) -> Iterator[Diagnostic]:
    """Stages that are left out though others need them; `needed`: what for, by the id that is missed."""
    for stage in removed:
        naming = [mention for mention in found if mention.target == stage.id]
        why = needed.get(stage.id, []) + [f"`{m.by}` names it in `{m.how}`" for m in naming]
        if why:
            yield error(
                "CZ057",
                f"`{stage.id}` is `off`, but {all_of(dict.fromkeys(why))}",
                stage.place,
                "keep it, or change the stages that need it too",
                [Related("named here", m.place) for m in naming],
            )


def _way(start: str, goal: str, edges: Mapping[str, Iterable[str]]) -> list[str]:
    """The shortest way along `edges`, both ends included; empty where there is none."""
    ways = deque([[start]])
    seen = {start}
    while ways:
        way = ways.popleft()
        if way[-1] == goal:
            return way
        for following in edges.get(way[-1], ()):
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []
