"""Stages as they are written, across files: what holds, and which file says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cozy.dsl.diagnostics import Diagnostic, Place
from cozy.dsl.parse import Document, KeyPath
from cozy.dsl.spec import PipelineSpec
from cozy.dsl.texts import Text
from cozy.stages.base import StageSettings
from cozy.stages.registry import StageInfo


@dataclass(frozen=True, slots=True)
class Layer:
    """One file's words about a stage."""

    document: Document
    path: KeyPath
    data: Mapping[str, Any]

    def depth(self, path: KeyPath) -> int:
        """How many parts of `path` are written here."""
        here: Any = self.data
        for i, part in enumerate(path):
            if isinstance(here, dict) and part in here:
                here = cast("dict[Any, Any]", here)[part]
            elif isinstance(here, list) and isinstance(part, int) and part < len(cast("list[Any]", here)):
                here = cast("list[Any]", here)[part]
            else:
                return i
        return len(path)


@dataclass(frozen=True, slots=True)
class Written:
    """A stage as it is written: the pipeline's words, and the personality's over them."""

    id: str
    layers: tuple[Layer, ...]
    data: Mapping[str, Any]
    readable: bool = True
    """Something stands there that is no stage; where the id is named, it is known all the same."""

    def layer(self, path: KeyPath) -> Layer:
        """The file that says what holds of `path`; of what nobody says, the first that comes near."""
        deepest = max(layer.depth(path) for layer in self.layers)
        near = [layer for layer in self.layers if layer.depth(path) == deepest]
        return near[-1] if deepest == len(path) and path else near[0]

    def key(self, *path: str | int) -> Place:
        layer = self.layer(path)
        return layer.document.key(*layer.path, *path)

    def value(self, *path: str | int) -> Place:
        layer = self.layer(path)
        return layer.document.value(*layer.path, *path)

    def item(self, path: KeyPath, index: int) -> Place:
        """One of several values; a single one may stand without a list."""
        return self.value(*path, index) if isinstance(self.written(path), list) else self.value(*path)

    def written(self, path: KeyPath) -> Any:
        """What is written at `path`; None where nothing is."""
        here: Any = self.data
        for part in path:
            here = cast("dict[Any, Any]", here).get(part) if isinstance(here, dict) else None
        return here

    def over(self, layer: Layer) -> Written:
        """These words with another file's over them."""
        return Written(self.id, (*self.layers, layer), merge(self.data, layer.data), self.readable)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced; a mapping that is written empty changes nothing."""
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(before, dict) and (isinstance(value, dict) or value == ""):
            merged[key] = merge(cast("dict[str, Any]", before), cast("dict[str, Any]", value or {}))
        else:
            merged[key] = value
    return merged


# -- what comes of it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A stage after merging, as far as it makes sense."""

    id: str
    at: Written
    info: StageInfo | None = None
    """None: nobody knows what type it is, so nothing is known of what it takes and gives."""
    settings: StageSettings | None = None
    sound: bool = False
    """Its settings are what was written; else some of them were left out to check the rest."""
    texts: tuple[Text, ...] = ()

    @property
    def when(self) -> Text | None:
        return next((text for text in self.texts if text.name == "when"), None)


@dataclass(frozen=True, slots=True)
class Removed:
    """A stage of the pipeline that the personality leaves out."""

    id: str
    info: StageInfo | None
    place: Place
    """Of the word `off`."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline, and where its words stand."""

    name: str
    """Of one that stands in a personality's file, the personality's id."""
    spec: PipelineSpec
    document: Document
    path: KeyPath = ()

    def place(self, *path: str | int) -> Place:
        return self.document.key(*self.path, *path)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A personality's stages in the order of its pipeline."""

    pipeline: Pipeline
    entries: tuple[Entry, ...]
    removed: tuple[Removed, ...]
    timeout_s: float
    timeout_place: Place | None
    """Where it is said; None: nowhere, it is the default."""
    diagnostics: tuple[Diagnostic, ...] = ()
