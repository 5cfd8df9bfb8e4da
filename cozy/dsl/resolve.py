"""A pipeline and what a personality changes of it → the stages that will run, in order.

`stages:` of a personality changes single settings of the pipeline's stages, leaves stages out (`off`) and
adds others. A stage that is added stands as high as it can: below what it names and below what gives it what
it takes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, cast

from cozy.dsl.diagnostics import Diagnostic, Place, error
from cozy.dsl.parse import Document, KeyPath
from cozy.dsl.spec import PersonalitySpec
from cozy.dsl.texts import PERSONAL_TEXT, Text, read_text
from cozy.dsl.validate import validate
from cozy.dsl.wording import a, quoted
from cozy.dsl.written import Entry, Layer, Pipeline, Removed, Resolved, Written
from cozy.errors import did_you_mean
from cozy.stages.base import StageSettings
from cozy.stages.registry import StageInfo, stage_types
from cozy.stages.values import Generation, Reply

DEFAULT_TIMEOUT_S = 60.0
"""For a turn of which neither the personality nor the pipeline says how long it may take."""
OFF = "off"
"""What a personality writes for a stage that it leaves out."""

# jinja2 takes these for its own
_RESERVED = frozenset(
    {"and", "caller", "elif", "else", "false", "for", "if", "in", "is", "loop", "none", "not", "or", "self"}
    | {"super", "true", "False", "None", "True", "dict", "namespace", "range"}
)
_MEANT_OFF = frozenset({"Off", "OFF", "no", "false", "none", "null", "~", "remove", "delete", "disabled"})


def resolve_pipeline(pipeline: Pipeline) -> Resolved:
    """The stages of a pipeline by itself, for no personality."""
    found: list[Diagnostic] = []
    entries = [_entry(written, found) for written in _base(pipeline, found)]
    return Resolved(pipeline, tuple(entries), (), *_timeout(None, None, pipeline), tuple(found))


def resolve(spec: PersonalitySpec, document: Document, pipeline: Pipeline) -> Resolved:
    """The stages of a pipeline with a personality's changes in them."""
    found: list[Diagnostic] = []
    base = {written.id: written for written in _base(pipeline, found)}
    known = frozenset(base)
    removed: list[Removed] = []
    added: list[Written] = []
    for id_, value in spec.stages.items():
        if id_ in known:
            if value == OFF:
                off = document.value("stages", id_)
                type_ = str(base.pop(id_).data.get("type"))
                removed.append(Removed(id_, stage_types().get(type_), off))
            elif layer := _layer(id_, value, document, ("stages", id_), found):
                base[id_] = _overridden(base[id_], layer, found)
        elif layer := _added(id_, value, document, known, found):
            added.append(Written(id_, (layer,), layer.data))
    entries = [_entry(written, found) for written in base.values()]
    placed = _placed(entries, [_entry(written, found) for written in added])
    return Resolved(
        pipeline, tuple(placed), tuple(removed), *_timeout(spec, document, pipeline), tuple(found)
    )


def _timeout(
    spec: PersonalitySpec | None, document: Document | None, pipeline: Pipeline
) -> tuple[float, Place | None]:
    if spec is not None and document is not None and spec.timeout is not None:
        return spec.timeout, document.value("timeout")
    if pipeline.spec.timeout is not None:
        return pipeline.spec.timeout, pipeline.document.value(*pipeline.path, "timeout")
    return DEFAULT_TIMEOUT_S, None


# -- what is written -----------------------------------------------------------------------------------


def _base(pipeline: Pipeline, found: list[Diagnostic]) -> Iterator[Written]:
    """The stages that the pipeline writes."""
    if not pipeline.spec.stages:
        found.append(
            error(
                "CZ058",
                "a pipeline needs stages",
                pipeline.place("stages"),
                "the least is a `render_prompt` and an `llm`: see `pipelines/minimal.yaml`",
            )
        )
    for id_, value in pipeline.spec.stages.items():
        path = (*pipeline.path, "stages", id_)
        found += _bad_id(id_, pipeline.document.key(*path))
        layer = _layer(id_, value, pipeline.document, path, found)
        if layer is None:
            yield Written(id_, (Layer(pipeline.document, path, {}),), {}, readable=False)
        else:
            yield Written(id_, (layer,), layer.data)


def _layer(id_: str, value: Any, document: Document, path: KeyPath, found: list[Diagnostic]) -> Layer | None:
    """The settings of one stage in one file; None where something else stands in their place."""
    if value == "":
        return Layer(document, path, {})
    if isinstance(value, dict):
        return Layer(document, path, cast("dict[str, Any]", value))
    place, hint = document.value(*path), "settings stand below the id, indented: `type: …`"
    if value == OFF:
        message = f"stage `{id_}` is `off` in its own pipeline"
        hint = "delete it: `off` is what a personality says of its pipeline's stage"
    elif isinstance(value, str) and value in _MEANT_OFF:
        message, hint = f"stage `{id_}` cannot be `{value}`", "write `off` to leave a stage out"
    else:
        message = f"stage `{id_}` needs settings, not {'a text' if isinstance(value, str) else 'a list'}"
    found.append(error("CZ054", message, place, hint))
    return None


def _bad_id(id_: str, place: Place) -> Iterator[Diagnostic]:
    if id_ in _RESERVED:
        yield error("CZ056", f"`{id_}` is a word of templates, so no stage can be called that", place)
    elif not re.fullmatch(r"[^\W\d]\w*", id_):
        better = re.sub(r"\W+", "_", id_).strip("_")
        hint = f"for example `{'stage_' if better[:1].isdigit() else ''}{better}`" if better else None
        message = f"`{id_}` is no id: templates name stages, so it is letters, digits and underscores"
        yield error("CZ056", message, place, hint)


def _overridden(base: Written, layer: Layer, found: list[Diagnostic]) -> Written:
    """The pipeline's stage with the personality's settings over its own."""
    type_, before = layer.data.get("type"), base.data.get("type")
    if type_ is None or type_ == before:
        return base.over(layer)
    found.append(
        error(
            "CZ053",
            f"stage `{base.id}` is {a(f'`{before}`')} in the pipeline and cannot become {a(f'`{type_}`')}",
            layer.document.value(*layer.path, "type"),
            f"leave it out with `{base.id}: off`, and add the other one under an id of its own",
        )
    )
    return base


def _added(
    id_: str, value: Any, document: Document, known: Collection[str], found: list[Diagnostic]
) -> Layer | None:
    """A stage that the pipeline does not have."""
    if isinstance(value, dict) and "type" in value:
        found += _bad_id(id_, document.key("stages", id_))
        return _layer(id_, value, document, ("stages", id_), found)
    place = document.key("stages", id_)
    if isinstance(value, (dict, str)):  # settings without a type, `off`, or nothing
        what = "leave out" if value == OFF else "change"
        near = get_close_matches(id_, known, n=1, cutoff=0.6)
        hint = did_you_mean(id_, known)
        if value != OFF and not near:
            hint = "a stage of its own needs a `type`" + (f"; {hint}" if hint else "")
        found.append(error("CZ052", f"the pipeline has no stage `{id_}` to {what}", place, hint))
        return None
    return _layer(id_, value, document, ("stages", id_), found)


# -- settings ------------------------------------------------------------------------------------------


def _entry(written: Written, found: list[Diagnostic]) -> Entry:
    """A stage with its settings checked. What is wrong with it is in `found`; what is not, goes on."""
    info, known = _type(written, found) if written.readable else (None, False)
    if info is None:
        return Entry(written.id, written)
    data = {**written.data, "type": info.name}
    checked = validate(info.settings, data, written, f"{a(f'`{info.name}`')} stage")
    found += checked.diagnostics
    texts = _stage_texts(written, info, checked.value, found) if checked.value else ()
    return Entry(written.id, written, info, checked.value, known and checked.sound, texts)


def _type(written: Written, found: list[Diagnostic]) -> tuple[StageInfo | None, bool]:
    """The stage's type, and whether it is the one that is written: a mistyped one is read as it was meant."""
    types = stage_types()
    name = written.data.get("type", "")
    if name == "":
        hint = f"stage types: {', '.join(quoted(types))}"
        found.append(error("CZ055", f"stage `{written.id}` has no `type`", written.key("type"), hint))
        return None, False
    if isinstance(name, str) and name in types:
        return types[name], True
    place = written.value("type")
    if not isinstance(name, str):
        found.append(error("CZ055", f"the `type` of stage `{written.id}` is one word", place))
        return None, False
    found.append(error("CZ051", f"stage type `{name}` is unknown", place, did_you_mean(name, types)))
    near = get_close_matches(name, types, n=1, cutoff=0.6)
    return (types[near[0]], False) if near else (None, False)


def _stage_texts(
    written: Written, info: StageInfo, settings: StageSettings, found: list[Diagnostic]
) -> tuple[Text, ...]:
    """The stage's templates, its expressions and its `when`."""
    texts: list[Text] = []
    expressions = (*info.expressions, "when")
    for name in (*info.templates, *expressions):
        source: Any = getattr(settings, name)
        if not (source and isinstance(source, str)) or name not in written.data:
            continue
        layer = written.layer((name,))
        text, problems = read_text(
            name, source, layer.document, (*layer.path, name), expression=name in expressions
        )
        found += problems
        if text is not None:
            texts.append(text)
    return tuple(texts)


def personality_texts(spec: PersonalitySpec, document: Document) -> tuple[tuple[Text, ...], list[Diagnostic]]:
    """A personality's own templates, and what is wrong with each by itself."""
    sources: Mapping[KeyPath, str] = {
        ("prompt",): spec.prompt,
        ("context",): spec.context,
        ("voice", "prompt"): spec.voice.prompt if spec.voice else "",
        ("welcome",): spec.welcome,
    }
    texts: list[Text] = []
    found: list[Diagnostic] = []
    for path, source in sources.items():
        if source:
            text, problems = read_text(".".join(map(str, path)), source, document, path, taken=PERSONAL_TEXT)
            found += problems
            texts += [text] if text else []
    return tuple(texts), found


# -- where an added stage stands -----------------------------------------------------------------------


def _placed(entries: list[Entry], added: list[Entry]) -> list[Entry]:
    """The pipeline with the added stages in it, each as high as it can stand."""
    placed = list(entries)
    # first those that need none of the others; where all do, in a circle, wiring tells of it
    needed = {e.id: {o.id for o in added if o is not e and _needs(e, o)} for e in added}
    waiting = {entry.id: entry for entry in added}
    while waiting:
        free = (entry for entry in waiting.values() if not needed[entry.id] & waiting.keys())
        entry = next(free, None) or next(iter(waiting.values()))
        del waiting[entry.id]
        at = _lowest_need(entry, placed)
        while at < len(placed) and placed[at].id in needed:  # new ones of one height keep their order
            at += 1
        placed.insert(at, entry)
    return placed


def _needs(entry: Entry, other: Entry) -> bool:
    """Whether it names the other, or could take what the other gives."""
    if other.id in _names(entry):
        return True
    taken = [t for need in entry.info.needs for t, _ in need.types] if entry.info else []
    return other.info is not None and any(issubclass(other.info.gives, t) for t in taken)


def _names(entry: Entry) -> set[str]:
    """Every stage that it names."""
    named = {name for text in entry.texts for name in text.stages}
    return named.union(entry.settings.from_, entry.settings.after) if entry.settings else named


def _lowest_need(entry: Entry, placed: list[Entry]) -> int:
    """Below what it names, and below what gives it what it takes."""
    named = _names(entry)
    below = [i for i, other in enumerate(placed) if other.id in named]
    for need in entry.info.needs if entry.info else ():
        for type_, count in need.types:
            givers = [i for i, e in enumerate(placed) if e.info and issubclass(e.info.gives, type_)]
            # of what is added up or spoken, all; of what there is one of, the first
            whole = count == "many" or issubclass(type_, (Generation, Reply))
            below += givers if whole else givers[:1]
            if givers and not issubclass(type_, (Generation, Reply)):
                break
    return max(below, default=-1) + 1
