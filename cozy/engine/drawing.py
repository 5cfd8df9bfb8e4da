"""Graph → a sketch of it, and that as mermaid, JSON, SVG or lines for a terminal; pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cozy.engine.graph import Graph, Node
from cozy.engine.schedule import levels
from cozy.ports.context import EMBEDDED

EdgeKind = Literal["takes", "waits"]


@dataclass(frozen=True, slots=True)
class Box:
    """A stage as a drawing shows it."""

    id: str
    kind: str
    """Its type; of a `fetch_context` the source too, where the id does not say it."""
    models: tuple[str, ...]
    """Of an `llm`, or an `intent` that asks one: the model, then its fallbacks."""
    rules: tuple[str, ...]
    """`500ms`, `degrade`, `2 retries`, `speaks`, `asks mem0`."""
    when: str | None
    also: tuple[str, ...] = ()
    """Stages whose value it reads, though no edge is drawn: another one implies that they came before."""

    def lines(self) -> list[str]:
        """What stands in the box, the id first."""
        lines = [self.id]
        if self.kind != self.id:
            lines.append(self.kind)
        lines += [m if i == 0 else f"else {m}" for i, m in enumerate(self.models)]
        lines.append(" · ".join(self.rules))
        if self.when:
            lines.append(f"when {self.when}")
        if self.also:
            lines.append(f"reads {', '.join(self.also)}")
        return lines


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` cannot start before `source` has ended. Both are indices of boxes."""

    source: int
    target: int
    kind: EdgeKind
    """It takes its value, or a template, `when` or `after` names it."""
    implied: bool
    """A longer way leads there too; drawings leave it out."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """Everything that a drawing shows, without a place yet."""

    id: str
    name: str
    pipeline: str
    timeout_s: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    levels: tuple[tuple[int, ...], ...]
    """Boxes that may run side by side, at the soonest."""

    @property
    def title(self) -> str:
        return f"{self.name} ({self.id}) · pipeline {self.pipeline} · {duration(self.timeout_s)} in all"

    @property
    def drawn(self) -> list[tuple[int, int]]:
        """The edges that a drawing needs."""
        return [(e.source, e.target) for e in self.edges if not e.implied]


def sketch(graph: Graph) -> Sketch:
    """What there is to draw of a graph."""
    edges = tuple(_edges(graph))
    also = [
        tuple(graph.nodes[e.source].id for e in edges if e.target == i and e.implied and _reads(e, graph))
        for i in range(len(graph.nodes))
    ]
    return Sketch(
        id=graph.id,
        name=graph.persona.about.name,
        pipeline=graph.pipeline,
        timeout_s=graph.timeout_s,
        boxes=tuple(_box(node, graph, also[i]) for i, node in enumerate(graph.nodes)),
        edges=edges,
        levels=tuple(tuple(level) for level in levels(graph)),
    )


def _engine(node: Node, graph: Graph) -> str | None:
    """The engine that a stage asks; None: it asks none."""
    source = getattr(node.stage.settings, "source", None)
    return graph.persona.engines.of(source) if source in ("knowledge", "profile", "memory") else None


def _box(node: Node, graph: Graph, also: tuple[str, ...]) -> Box:
    source: str | None = getattr(node.stage.settings, "source", None)
    rules = [duration(node.timeout_s)] if node.timeout_s is not None else []
    rules.append(node.on_error)
    if node.retries:
        rules.append(f"{node.retries} retr{'y' if node.retries == 1 else 'ies'}")
    if node.info.speaks:
        rules.append("speaks")
    if (engine := _engine(node, graph)) not in (None, EMBEDDED):
        rules.append(f"asks {engine}")
    asks = node.type == "llm" or (node.type == "intent" and getattr(node.stage.settings, "model", None))
    models = node.info.model.names if asks and node.info.model else ()
    kind = f"{node.type} {source}" if source and source != node.id else node.type
    return Box(node.id, kind, models, tuple(rules), node.when.source if node.when else None, also)


def _edges(graph: Graph) -> Iterator[Edge]:
    above: list[set[int]] = []  # a node stands below all that it waits for
    for node in graph.nodes:
        above.append(set(node.waits).union(*(above[w] for w in node.waits)))
    for i, node in enumerate(graph.nodes):
        taken = {s for slot in node.inputs for s in slot.sources}
        for w in node.waits:
            implied = any(w in above[other] for other in node.waits)
            yield Edge(w, i, "takes" if w in taken else "waits", implied)


def _reads(edge: Edge, graph: Graph) -> bool:
    """Whether the target sees the source's value, and the box does not say so already.

    Where only `after` names it, it sees nothing; what `when` names is in the box.
    """
    target = graph.nodes[edge.target]
    known = {*getattr(target.stage.settings, "after", ()), *(target.when.names if target.when else ())}
    return edge.kind == "takes" or graph.nodes[edge.source].id not in known


def duration(seconds: float) -> str:
    """As an author would write it: `500ms`, `1.5s`, `2m`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds / 60:g}m" if seconds >= 120 and seconds % 60 == 0 else f"{seconds:g}s"


def as_json(graph: Graph) -> dict[str, Any]:
    """A graph as plain values.

    `nodes` in the order of the pipeline, each with `id`, `type`, `level` (nodes of one level may run side by
    side), `timeout_s`, `on_error`, `retries`, `when`, `speaks`, `models` (of an `llm`, tried in order),
    `engine` (that a `fetch_context` asks) and `settings` (what was set for its type). `edges` from `source`
    to `target`, `kind` `takes` (its value) or `waits` (a template, `when` or `after` names it), `implied`
    where a longer way leads there.
    """
    drawn = sketch(graph)
    level = {i: n for n, row in enumerate(drawn.levels) for i in row}
    common = {"type", "from_", "after", "when", "timeout", "on_error", "retries"}
    return {
        "personality": graph.id,
        "name": drawn.name,
        "pipeline": graph.pipeline,
        "timeout_s": graph.timeout_s,
        "nodes": [
            {
                "id": node.id,
                "type": node.type,
                "level": level[i],
                "timeout_s": node.timeout_s,
                "on_error": node.on_error,
                "retries": node.retries,
                "when": box.when,
                "speaks": node.info.speaks,
                "models": list(box.models),
                "engine": _engine(node, graph),
                "settings": node.stage.settings.model_dump(mode="json", exclude=common, exclude_unset=True),
            }
            for i, (node, box) in enumerate(zip(graph.nodes, drawn.boxes, strict=True))
        ],
        "edges": [
            {
                "source": graph.nodes[e.source].id,
                "target": graph.nodes[e.target].id,
                "kind": e.kind,
                "implied": e.implied,
            }
            for e in drawn.edges
        ],
    }


_MERMAID = str.maketrans(
    {'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "%": "#37;", "\n": " "}
)


def as_mermaid(graph: Graph) -> str:
    """A mermaid flowchart: stages that degrade are dashed, the one that speaks has a thick frame."""
    drawn = sketch(graph)
    lines = ["flowchart TD"]
    for i, box in enumerate(drawn.boxes):
        first, *rest = (line.translate(_MERMAID) for line in box.lines())
        lines.append(f'  n{i}["{"<br/>".join([f"<b>{first}</b>", *rest])}"]')
    arrows = {"takes": "-->", "waits": "-.->"}
    lines += [f"  n{e.source} {arrows[e.kind]} n{e.target}" for e in drawn.edges if not e.implied]
    for name, style in (("degrade", "stroke-dasharray:5 3"), ("speaks", "stroke-width:3px")):
        members = [f"n{i}" for i, box in enumerate(drawn.boxes) if name in box.rules]
        if members:
            lines += [f"  classDef {name} {style}", f"  class {','.join(members)} {name}"]
    return "\n".join([*lines, ""])
