"""A personality, compiled: frozen, shared by all its turns, holding no user's data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cozy.dsl.wiring import Input
from cozy.stages.base import NodeInfo, Persona, Stage
from cozy.stages.templates import Expression


@dataclass(frozen=True, slots=True)
class Node:
    """One stage in its place. Other nodes are named by their index in the graph."""

    info: NodeInfo
    type: str
    stage: Stage
    inputs: tuple[Slot, ...]
    waits: tuple[int, ...]
    next: tuple[int, ...]
    """Nodes that wait for this one."""
    timeout_s: float | None
    on_error: Literal["fail", "degrade"]
    retries: int
    when: Expression | None
    settles: bool
    """Runs, shielded, for a turn that was cut off or failed, too."""
    has_empty: bool
    """May be skipped, or degrade."""
    followers: tuple[int, ...] = ()
    """Nodes that take this one's value and have jobs to be stored with it."""

    @property
    def id(self) -> str:
        return self.info.id

    def empty(self) -> Any:
        """The value of a stage that did not run; None where its type has none."""
        stage: Any = self.stage
        return stage.empty() if self.has_empty else None


@dataclass(frozen=True, slots=True)
class Slot:
    """What fills one parameter of a node's `run`."""

    parameter: str
    sources: tuple[int, ...]
    many: bool
    optional: bool = False

    @staticmethod
    def of(given: Input, index: Mapping[str, int]) -> Slot:
        sources = tuple(index[s] for s in given.sources)
        return Slot(given.parameter, sources, given.count == "many", given.count == "optional")


@dataclass(frozen=True, slots=True)
class Graph:
    """A personality's stages in the order of its pipeline, and how they hang together."""

    persona: Persona
    pipeline: str
    timeout_s: float
    """For the whole turn."""
    nodes: tuple[Node, ...]
    roots: tuple[int, ...]
    """Nodes that wait for none."""
    answers: tuple[int, ...]
    """Nodes whose value is the answer; of several, the first that ran."""
    tool_list: tuple[Any, ...]
    """What templates see as `tools`."""

    @property
    def leaves_jobs(self) -> bool:
        """Whether its turns may leave something to be done after them."""
        return any(node.followers for node in self.nodes)

    @property
    def id(self) -> str:
        return self.persona.about.id
