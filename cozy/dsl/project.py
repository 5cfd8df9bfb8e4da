"""Every personality and pipeline that an installation can see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from cozy.dsl.cache import Cache
from cozy.dsl.diagnostics import Diagnostic, Place, Related, error, in_order, warning
from cozy.dsl.parse import Document, parse_file
from cozy.dsl.spec import PersonalitySpec, PipelineSpec
from cozy.dsl.validate import validate

S = TypeVar("S", PersonalitySpec, PipelineSpec)
Kind = Literal["personality", "pipeline"]

_STRUCTURE = ("pipeline", "stages")
"""Keys without which a file says something else."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where personalities and pipelines are looked for: the first folder that has a name wins."""

    personalities: tuple[Path, ...] = ()
    pipelines: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    """Files or folders to read in place of all that; the pipelines that they name are read too."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """A specification and the file that it was read from."""

    spec: S
    document: Document
    sound: bool
    """Nothing was wrong with the file by itself. Else `spec` is what could be made of it: good for further
    checks, not for running."""


@dataclass(frozen=True, slots=True)
class Project:
    """What was found, and what was wrong with it so far."""

    personalities: Mapping[str, Loaded[PersonalitySpec]]
    """By id."""
    pipelines: Mapping[str, Loaded[PipelineSpec]]
    """By name, the stem of the file. Only those that could be read."""
    pipeline_names: frozenset[str]
    """Every pipeline there is, those that could not be read (or need not be) included."""
    texts: Mapping[str, str]
    """The text of each file, by the name that places use; for excerpts."""
    diagnostics: tuple[Diagnostic, ...]


def read_project(sources: Sources, *, cache: Path | None = None) -> Project:
    """Read and validate every file; what is wrong is in `diagnostics`, nothing raises. In the folder `cache`
    parsed files are kept for the next time."""
    reader = _Reader(sources, Cache(cache / "parsed") if cache else None)
    if sources.files:
        reader.read_chosen()
    else:
        for folder in sources.personalities:
            reader.read_personalities(reader.files_in(folder))
        for folder in sources.pipelines:
            reader.read_pipelines(reader.files_in(folder))
    return Project(
        reader.personalities,
        reader.pipelines,
        frozenset(reader.pipeline_files) | reader.pipelines.keys(),
        reader.texts,
        in_order(reader.diagnostics),
    )


class _Reader:
    def __init__(self, sources: Sources, cache: Cache | None) -> None:
        self.sources = sources
        self.cache = cache
        self.here = Path.cwd()
        self.personalities: dict[str, Loaded[PersonalitySpec]] = {}
        self.pipelines: dict[str, Loaded[PipelineSpec]] = {}
        self.texts: dict[str, str] = {}
        self.diagnostics: list[Diagnostic] = []
        self.taken: set[str] = set()
        """Ids of earlier folders: a later one's personality of the same id is not seen."""
        self.pipeline_files: dict[str, Path] = {}
        """Every pipeline by its name, in search order."""
        self._know_pipelines(sources.pipelines)

    # -- which files -----------------------------------------------------------------------------------

    def files_in(self, folder: Path) -> list[Path]:
        """The YAML files of a folder, by name; a folder that is not there has none."""
        try:
            names = sorted(folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as problem:
            place = Place(self._shown(folder), 1, 1, 0)
            reason = os.strerror(problem.errno or 0).lower()
            self.diagnostics.append(error("CZ001", f"the folder cannot be read: {reason}", place))
            return []
        for path in names:
            if path.suffix == ".yml" and not path.name.startswith("."):
                self.diagnostics.append(
                    warning(
                        "CZ042",
                        "the file is not read: its name ends in `.yml`",
                        Place(self._shown(path), 1, 1, 0),
                        f"rename it to `{path.stem}.yaml`",
                    )
                )
        return [path for path in names if path.suffix == ".yaml" and not path.name.startswith(".")]

    def read_chosen(self) -> None:
        """The files and folders that were named, then the pipelines that they need."""
        found: dict[Path, Kind | None] = {}
        for path in self.sources.files:
            for file, kind in self._chosen(path):
                found.setdefault(file, kind)
        beside = dict.fromkeys(path.absolute().parent.parent / "pipelines" for path in found)
        self.pipeline_files.clear()
        self._know_pipelines((*beside, *self.sources.pipelines))
        kinds = {path: kind or self._kind(path) for path, kind in found.items()}
        pipelines = [path for path, kind in kinds.items() if kind == "pipeline"]
        self.pipeline_files.update({path.stem: path for path in pipelines})
        chosen = [path for path, kind in kinds.items() if kind == "personality"]
        for folder in dict.fromkeys(path.absolute().parent for path in chosen):
            self.read_personalities([path for path in chosen if path.absolute().parent == folder])
        self.read_pipelines(pipelines)
        named = [p.spec.pipeline for p in self.personalities.values() if isinstance(p.spec.pipeline, str)]
        self.read_pipelines([self.pipeline_files[name] for name in named if name in self.pipeline_files])

    def _chosen(self, path: Path) -> Iterable[tuple[Path, Kind | None]]:
        if not _is_folder(path):
            return [(path, None)]
        parts: list[tuple[Path, Kind | None]] = [
            *((file, "personality") for file in self.files_in(path / "personalities")),
            *((file, "pipeline") for file in self.files_in(path / "pipelines")),
        ]
        parts = parts or [(file, None) for file in self.files_in(path)]
        if not parts:
            place = Place(self._shown(path), 1, 1, 0)
            self.diagnostics.append(
                error(
                    "CZ043",
                    "there is nothing to check in this folder",
                    place,
                    "name a folder of `.yaml` files",
                )
            )
        return parts

    def _kind(self, path: Path) -> Kind:
        """What a file is: by the folder that it is in, else by what it says."""
        match path.absolute().parent.name:
            case "personalities":
                return "personality"
            case "pipelines":
                return "pipeline"
            case _:
                pass
        document = parse_file(path, self._shown(path), self.cache).document
        if document is None or re.search(r"\$schema=\S*personality", document.text):
            return "personality"
        alone = PersonalitySpec.model_fields.keys() - PipelineSpec.model_fields.keys()
        return "personality" if document.data.keys() & alone or "stages" not in document.data else "pipeline"

    def _is_at_home(self, path: Path) -> bool:
        """Whether it is in a folder where personalities are looked for by name."""
        parent = path.absolute().parent
        return parent.name == "personalities" or parent in {p.absolute() for p in self.sources.personalities}

    def _know_pipelines(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            if _is_folder(folder):
                for path in sorted(folder.glob("[!.]*.yaml")):
                    self.pipeline_files.setdefault(path.stem, path)

    def _shown(self, path: Path) -> str:
        """As people name it: from where they stand, if it is below."""
        whole = path.absolute()
        shown = whole.relative_to(self.here) if whole.is_relative_to(self.here) else whole
        return os.fsencode(shown.as_posix()).decode("utf-8", "replace")

    # -- what is in them -------------------------------------------------------------------------------

    def read_personalities(self, files: Iterable[Path]) -> None:
        """The personalities of one folder."""
        here: dict[str, Document] = {}
        broken: set[str] = set()
        for path in files:
            loaded = self._read(path, PersonalitySpec, "a personality")
            if loaded is None:
                broken.add(path.stem)
                continue
            id_ = loaded.spec.id if loaded.spec.id == loaded.document.data.get("id") else path.stem
            if id_ in here:
                self._twice(id_, loaded.document, here[id_])
                continue
            here[id_] = loaded.document
            if id_ not in self.taken:
                self.personalities[id_] = loaded
            if id_ != path.stem and loaded.sound and self._is_at_home(path):
                self._other_name(id_, loaded.document)
        self.taken |= here.keys() | broken

    def read_pipelines(self, files: Iterable[Path]) -> None:
        for path in files:
            if path.stem in self.pipelines or self._shown(path) in self.texts:
                continue
            loaded = self._read(path, PipelineSpec, "a pipeline")
            if loaded is not None:
                self.pipelines[path.stem] = loaded

    def _read(self, path: Path, model: type[S], subject: str) -> Loaded[S] | None:
        """A file as a specification; None where so much is wrong that nothing follows from the rest."""
        parsed = parse_file(path, self._shown(path), self.cache)
        self.texts[self._shown(path)] = parsed.text
        self.diagnostics += parsed.diagnostics
        if parsed.document is None:
            return None
        validated = validate(model, parsed.document.data, parsed.document, subject)
        if parsed.diagnostics:  # what is missing may stand in what could not be read
            self.diagnostics += [d for d in validated.diagnostics if d.code != "CZ031"]
            return None
        self.diagnostics += validated.diagnostics
        lost = any(key[-1] in _STRUCTURE for key in validated.left_out)
        if validated.value is None or lost:
            return None
        return Loaded(validated.value, parsed.document, validated.sound)

    def _twice(self, id_: str, document: Document, first: Document) -> None:
        related = Related("it is here already", first.value("id"))
        self.diagnostics.append(
            error(
                "CZ040",
                f"two personalities have the id `{id_}`",
                document.value("id"),
                "give one of them another id",
                [related],
            )
        )

    def _other_name(self, id_: str, document: Document) -> None:
        self.diagnostics.append(
            warning(
                "CZ041",
                f"the file is named `{document.path.name}`, the personality `{id_}`",
                document.value("id"),
                f"rename the file to `{id_}.yaml`, so that it is found by its id",
            )
        )


def _is_folder(path: Path) -> bool:
    """Whether there is a folder that may be looked into."""
    try:
        return path.is_dir()
    except OSError:  # no right to know, or a name that is too long
        return False
