"""Every personality, compiled at startup, found by name, swapped whole on reload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cozy.engine.graph import Graph
from cozy.errors import NotFound


class Library:
    """The graphs of an installation. A turn keeps the graph that it began with."""

    def __init__(self, graphs: Iterable[Graph] = ()) -> None:
        self._graphs: Mapping[str, Graph] = {}
        self.replace(graphs)

    def replace(self, graphs: Iterable[Graph]) -> None:
        """All at once: no turn sees some old and some new."""
        self._graphs = {graph.id: graph for graph in graphs}
        self.models = _models(tuple(self._graphs.values()))
        """Every model that a personality or one of its stages may ask."""

    def graph(self, personality_id: str) -> Graph:
        """Raises NotFound, with the nearest known name."""
        found = self._graphs.get(personality_id)
        if found is None:
            raise NotFound("personality", personality_id, known=self._graphs)
        return found

    def __iter__(self) -> Iterator[Graph]:
        return iter(self._graphs.values())

    def ids(self) -> list[str]:
        return sorted(self._graphs)


def _models(graphs: Sequence[Graph]) -> list[str]:
    choices = [graph.persona.model for graph in graphs]
    choices += [node.info.model for graph in graphs for node in graph.nodes if node.info.model is not None]
    return sorted({name for choice in choices for name in choice.names})
