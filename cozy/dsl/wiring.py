"""Who takes what from whom: read from the types in each stage's `run`, never from a list in the YAML.

Only stages written above can fill a need. One value of a type: its only giver, or what `from` says. A list:
every giver. What is spoken (a Generation, a Reply): what the stages give whose words reach the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cozy.dsl.diagnostics import Diagnostic, Related, error
from cozy.dsl.mentions import Mention, mentions, misplaced, missed, never_seen, unknown
from cozy.dsl.texts import Text
from cozy.dsl.wording import a, all_of, any_of, quoted
from cozy.dsl.written import Entry, Resolved
from cozy.stages.base import StageSettings
from cozy.stages.registry import Count, Need, StageInfo, stage_types
from cozy.stages.values import Generation, Reply, Saved


@dataclass(frozen=True, slots=True)
class Input:
    """What fills one parameter of a stage's `run`."""

    parameter: str
    sources: tuple[str, ...]
    """Ids of stages above. `one` and `optional`: the first of them that ran is taken; `many`: all of them, in
    the order of the pipeline, skipped and degraded ones as their empty value."""
    count: Count


@dataclass(frozen=True, slots=True)
class Wired:
    """A stage that has passed the check, and its edges."""

    id: str
    info: StageInfo
    settings: StageSettings
    inputs: tuple[Input, ...]
    waits: tuple[str, ...]
    """Every stage that must have ended first, in the order of the pipeline: what it takes, what its
    templates and its `when` name, what `after` says."""
    speaks: bool
    """Its words reach the user."""
    offers_tools: bool
    """A tool loop takes what it gives."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """A pipeline's stages with their edges, as far as they could be drawn."""

    resolved: Resolved
    stages: tuple[Wired, ...]
    speakers: tuple[str, ...]
    """The stages that first say the words that reach the user."""
    taken: frozenset[str]
    """Stages whose value something takes or names."""
    diagnostics: tuple[Diagnostic, ...]


def wire(resolved: Resolved, personal: Sequence[Text]) -> Wiring:
    """The edges of a pipeline; `personal` are the templates of its personality."""
    found = mentions(resolved.entries, resolved.removed, personal)
    wiring = _Wiring(resolved, found)
    for i, entry in enumerate(resolved.entries):
        wiring.fill(i, entry)
    wiring.find_speakers()
    waits = wiring.waits()
    problems = [
        *wiring.diagnostics,
        *unknown(found, resolved.entries, resolved.removed),
        *misplaced(found, resolved.entries, waits),
        *wiring.decided_too_late(),
        *never_seen(resolved.entries, personal),
        *missed(found, resolved.removed, wiring.missed),
    ]
    inputs = wiring.inputs
    named = {m.target for m in found if m.how not in ("from", "after")}
    return Wiring(
        resolved=resolved,
        stages=tuple(
            Wired(
                id=entry.id,
                info=entry.info,
                settings=entry.settings,
                inputs=tuple(inputs[entry.id]),
                waits=tuple(e.id for e in resolved.entries[:i] if e.id in waits[entry.id]),
                speaks=entry.id in wiring.heard,
                offers_tools=entry.id in wiring.looped,
            )
            for i, entry in enumerate(resolved.entries)
            if entry.info and entry.settings
        ),
        speakers=tuple(entry.id for entry in resolved.entries if entry.id in wiring.speakers),
        taken=frozenset(named.union(*(given.sources for all_ in inputs.values() for given in all_))),
        diagnostics=tuple(problems),
    )


_SPEECH = (Generation, Reply)


class _Wiring:
    """The state of one run over a pipeline, from top to bottom."""

    def __init__(self, resolved: Resolved, found: Sequence[Mention]) -> None:
        self.entries, self.removed, self.mentions = resolved.entries, resolved.removed, found
        self.pipeline = resolved.pipeline
        self.diagnostics: list[Diagnostic] = []
        self.missed: dict[str, list[str]] = {}
        """Stages left out → who would take what they give."""
        self.inputs: dict[str, list[Input]] = {entry.id: [] for entry in self.entries}
        self.marked: set[str] = {e.id for e in self.entries if getattr(e.settings, "visible", False)}
        self.speakers = set(self.marked)
        self.heard = set(self.marked)
        """Whose words reach the user."""
        self.passed_on: set[str] = set()
        """Whose words another stage goes on with."""
        self.looped: set[str] = set()
        self.undecided: dict[str, Entry] = {}
        """Stages that could all speak, where none is marked."""

    def fill(self, i: int, entry: Entry) -> None:
        """Find what fills the needs of one stage."""
        if entry.info is None or entry.settings is None:
            return
        ids = {e.id: e for e in self.entries[:i]}
        named = [ids[name] for name in dict.fromkeys(entry.settings.from_) if name in ids]
        for need in entry.info.needs:
            is_speech = all(issubclass(type_, _SPEECH) for type_, _ in need.types)
            given = (self._spoken if is_speech else self._value)(entry, need, self.entries[:i], named)
            if given is not None:
                self.inputs[entry.id].append(given)
                if is_speech:
                    self._go_on(entry, given)
        self._unfit(entry, named)

    # -- what fills one need ---------------------------------------------------------------------------

    def _value(self, entry: Entry, need: Need, above: Sequence[Entry], named: list[Entry]) -> Input | None:
        chosen = [e for e in named if _gives(e, *(type_ for type_, _ in need.types))]
        for type_, count in need.types:
            givers = [e for e in chosen or above if _gives(e, type_)]
            if len(givers) > 1 and count != "many" and not chosen:
                self._several(entry, type_, givers)
                return None
            if givers:
                return Input(need.parameter, tuple(e.id for e in givers), count)
        if any(count != "one" for _, count in need.types):
            return Input(need.parameter, (), need.types[-1][1])
        self._unmet(entry, need, above)
        return None

    def _spoken(self, entry: Entry, need: Need, above: Sequence[Entry], named: list[Entry]) -> Input | None:
        types = tuple(type_ for type_, _ in need.types)
        chosen = [e for e in named if _gives(e, *types)]
        if not chosen:
            chosen = [e for e in above if _gives(e, *types) and e.id not in self.passed_on]
            if self.marked:
                chosen = [e for e in chosen if e.id in self.heard]
            elif len(chosen) > 1:
                self.undecided.update({e.id: e for e in chosen})
                return None
        if not chosen:
            self._unmet(entry, need, above)
            return None
        # words that nobody goes on with first: a loop over a stage that was skipped has nothing to say
        chosen.sort(key=lambda e: bool(self._speech_of(e.id)))
        return Input(need.parameter, tuple(e.id for e in chosen), need.types[0][1])

    def _go_on(self, entry: Entry, given: Input) -> None:
        if not _gives(entry, *_SPEECH):
            return
        self.passed_on.update(given.sources)
        if entry.info and loops_tools(entry.info):
            self.looped.update(e.id for e in self.entries if e.id in given.sources and _gives(e, Generation))
        if self.heard.intersection(given.sources):
            self.heard.add(entry.id)

    def _speech_of(self, id_: str) -> list[str]:
        """The stages whose words a stage goes on with."""
        ids = [s for given in self.inputs[id_] for s in given.sources]
        return [e.id for e in self.entries if e.id in ids and _gives(e, *_SPEECH)]

    # -- who speaks ------------------------------------------------------------------------------------

    def find_speakers(self) -> None:
        """Where nobody is marked: the one whose words become the reply."""
        keepers = [e for e in self.entries if e.info and e.info.settles]
        if not self.marked:
            kept = list(dict.fromkeys(s for keeper in keepers for s in self._speech_of(keeper.id)))
            last = kept or [e.id for e in self.entries if _gives(e, *_SPEECH) and e.id not in self.passed_on]
            if len(last) > 1:
                self.undecided.update({e.id: e for e in self.entries if e.id in last})
            while last and not self.undecided:
                self.heard.update(last)
                self.speakers.update(id_ for id_ in last if not self._speech_of(id_))
                last = [s for id_ in last for s in self._speech_of(id_)]
        voices = [*self._voices(), *(stage for stage in self.removed if _speaks(stage.info))]
        if self.entries and not voices and not any(e.info is None for e in self.entries):
            self.diagnostics.append(self._nobody())
        if self.undecided:
            self.diagnostics.append(_undecided(list(self.undecided.values())))
        for keeper in keepers:
            self._unkept(keeper)

    def _voices(self) -> list[Entry]:
        return [e for e in self.entries if _speaks(e.info)]

    def waits(self) -> dict[str, set[str]]:
        """For each stage, those above that must have ended first."""
        position = {entry.id: i for i, entry in enumerate(self.entries)}
        waits = {id_: {s for given in all_ for s in given.sources} for id_, all_ in self.inputs.items()}
        for mention in self.mentions:
            if mention.target in position and position[mention.target] < position[mention.by]:
                waits[mention.by].add(mention.target)
        for mention, keeper in self._decided_early():
            if mention.target in position and position[mention.target] < position[keeper]:
                waits[keeper].add(mention.target)
        return waits

    def _decided_early(self) -> Iterator[tuple[Mention, str]]:
        """What the `when` of a stage names whose jobs are stored with the turn, and the stage that stores
        them and asks that `when`."""
        for entry in self.entries:
            if entry.info is None or not entry.info.queues:
                continue
            keepers = {s for given in self.inputs[entry.id] for s in given.sources}
            for mention in self.mentions:
                if mention.by == entry.id and mention.how == "when":
                    yield from ((mention, keeper) for keeper in keepers)

    # -- what is wrong ---------------------------------------------------------------------------------

    def decided_too_late(self) -> Iterator[Diagnostic]:
        """A `when` that is asked before what it names has run."""
        position = {entry.id: i for i, entry in enumerate(self.entries)}
        for mention, keeper in self._decided_early():
            target = mention.target
            if target == keeper:
                message = f"`{keeper}` asks this `when` before it stores the turn: nothing of it is there yet"
                hint = (
                    f"name stages above `{keeper}`; a turn that was cut off or failed teaches nothing anyway"
                )
                yield error("CZ065", message, mention.place, hint)
            elif position[keeper] < position.get(target, -1) < position[mention.by]:
                message = f"`{keeper}` asks this `when`, and `{target}` stands below `{keeper}`"
                yield error("CZ065", message, mention.place, f"write `{target}` above `{keeper}`")

    def _several(self, entry: Entry, type_: type[Any], givers: Sequence[Entry]) -> None:
        if issubclass(type_, Saved):
            return  # to store a turn twice is a mistake of its own
        names = any_of(quoted(e.id for e in givers))
        self.diagnostics.append(
            error(
                "CZ061",
                f"`{entry.id}` could take its {type_.__name__} from {names}",
                entry.at.key("from"),
                f"say which: `from: {givers[-1].id}`",
                [Related(f"gives {a(type_.__name__)}", e.at.key()) for e in givers],
            )
        )

    def _unmet(self, entry: Entry, need: Need, above: Sequence[Entry]) -> None:
        types = [type_ for type_, _ in need.types]
        left_out = [r for r in self.removed if r.info and issubclass(r.info.gives, tuple(types))]
        for stage in left_out:
            needed = f"`{entry.id}` takes its {stage.info.gives.__name__ if stage.info else ''}"
            self.missed.setdefault(stage.id, []).append(needed)
        is_speech = issubclass(types[0], _SPEECH)
        if left_out or any(e.info is None for e in above) or (is_speech and not self._voices()):
            return  # told of elsewhere
        message = f"no stage above `{entry.id}` gives {any_of(a(t.__name__) for t in types)}"
        hidden = [e.id for e in above if _gives(e, *types)]
        below = [e.id for e in self.entries if _gives(e, *types) and e is not entry and e.id not in hidden]
        if hidden:
            message += " that reaches the user"
            hint = f"what `{hidden[-1]}` says is hidden; to take it all the same, write `from: {hidden[-1]}`"
        elif below:
            hint = f"`{below[0]}` does, but stands below: write it above"
        else:
            kinds = [name for name, info in stage_types().items() if issubclass(info.gives, tuple(types))]
            hint = f"{any_of(map(a, quoted(kinds)))} stage would" if kinds else None
        self.diagnostics.append(error("CZ060", message, entry.at.key(), hint))

    def _unfit(self, entry: Entry, named: Sequence[Entry]) -> None:
        """What `from` names and the stage has no use for."""
        used = {s for given in self.inputs[entry.id] for s in given.sources}
        takes = [
            a(type_.__name__) for need in (entry.info.needs if entry.info else ()) for type_, _ in need.types
        ]
        for other in named:
            if other.id in used or other.info is None:
                continue
            what = f"takes {any_of(takes)}" if takes else "takes nothing from other stages"
            place = (
                entry.at.item(("from",), entry.settings.from_.index(other.id))
                if entry.settings
                else entry.at.key()
            )
            message = (
                f"`from` names `{other.id}`, which gives {a(other.info.gives.__name__)}; `{entry.id}` {what}"
            )
            self.diagnostics.append(error("CZ062", message, place, _order_only(other.id)))

    def _nobody(self) -> Diagnostic:
        return error(
            "CZ070",
            "no stage of this pipeline speaks",
            self.pipeline.place("stages"),
            "an `llm` stage does; it takes what a `render_prompt` stage gives",
        )

    def _unkept(self, keeper: Entry) -> None:
        """Speakers whose words would be lost."""
        kept, roots = self._speech_of(keeper.id), set[str]()
        while kept:
            roots.update(kept)
            kept = [s for id_ in kept for s in self._speech_of(id_)]
        position = {entry.id: i for i, entry in enumerate(self.entries)}
        for entry in self.entries:
            if entry.id not in self.speakers or entry.id in roots or not roots:
                continue
            if position[entry.id] > position[keeper.id]:
                message = f"`{entry.id}` speaks below `{keeper.id}`, which would not keep its words"
                self.diagnostics.append(
                    error("CZ074", message, entry.at.key(), f"write it above `{keeper.id}`")
                )
            else:
                message = f"`{keeper.id}` would not keep the words of `{entry.id}`, which speaks too"
                self.diagnostics.append(
                    error("CZ074", message, keeper.at.key("from"), f"name `{entry.id}` in `from` too")
                )


def _order_only(id_: str) -> str:
    return f"to wait for it without taking anything, write `after: {id_}`"


def _undecided(stages: Sequence[Entry]) -> Diagnostic:
    names = all_of(quoted(e.id for e in stages))
    return error(
        "CZ072",
        f"{names} could each speak to the user, and none is marked",
        stages[-1].at.key(),
        "write `visible: true` at the one whose words reach the user",
        [Related("this one too", e.at.key()) for e in stages[:-1]],
    )


def _gives(entry: Entry, *types: type[Any]) -> bool:
    return entry.info is not None and issubclass(entry.info.gives, types)


def loops_tools(info: StageInfo) -> bool:
    """Whether such a stage runs the tools that a model calls: it makes a Reply of a Generation."""
    return issubclass(info.gives, Reply) and any(
        t is Generation for need in info.needs for t, _ in need.types
    )


def _speaks(info: StageInfo | None) -> bool:
    """Whether such a stage says words of its own, not another's."""
    if info is None or not issubclass(info.gives, _SPEECH):
        return False
    return not any(issubclass(type_, _SPEECH) for need in info.needs for type_, _ in need.types)
