"""Events of stages that ran side by side, in an order that does not depend on who was quicker."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise

from cozy.engine.graph import Graph
from cozy.events import Event, StageSkipped, StageStarted, ToolFinished, ToolStarted, TurnFailed, TurnFinished


def in_graph_order(events: Sequence[Event], graph: Graph) -> list[Event]:
    """The same events: each stage's own in their order, and a stage after all that it waits for.

    Of what may come next, stages that begin come first, then what the upper stages of the pipeline tell.
    """
    index = {node.id: i for i, node in enumerate(graph.nodes)}
    stage_of = [index.get(getattr(event, "stage", None) or "") for event in events]
    last = len(events) - 1 if events and isinstance(events[-1], TurnFinished | TurnFailed) else None
    after: list[list[int]] = [[] for _ in events]
    waits_for = [0] * len(events)

    def order(first: int, then: int) -> None:
        after[first].append(then)
        waits_for[then] += 1

    own: dict[int, list[int]] = {}
    for i, stage in enumerate(stage_of):
        if stage is None or i == last:
            continue
        own.setdefault(stage, []).append(i)
    for stage, told in own.items():
        for first, then in pairwise(told):
            order(first, then)
        for other in graph.nodes[stage].waits:
            if other in own:
                order(own[other][-1], told[0])
    ready: list[tuple[int, int, int]] = []

    def may_come(i: int) -> None:
        begins = isinstance(events[i], StageStarted | StageSkipped)
        stage = stage_of[i] if i != last else None  # the turn's own last event comes last
        heappush(ready, (not begins, len(graph.nodes) if stage is None else stage, i))

    for i, count in enumerate(waits_for):
        if not count:
            may_come(i)
    ordered: list[Event] = []
    while ready:
        *_, i = heappop(ready)
        ordered.append(events[i])
        for then in after[i]:
            waits_for[then] -= 1
            if not waits_for[then]:
                may_come(then)
    return _tools_in_order(ordered)


def _tools_in_order(events: Sequence[Event]) -> list[Event]:
    """Results of calls that ran side by side in the order in which the calls began."""
    begun = {event.call_id: i for i, event in enumerate(events) if isinstance(event, ToolStarted)}
    ordered: list[Event] = []
    results: list[ToolFinished] = []
    for event in events:
        if isinstance(event, ToolFinished):
            results.append(event)
            continue
        ordered += sorted(results, key=lambda result: begun[result.call_id])
        results = []
        ordered.append(event)
    return ordered + sorted(results, key=lambda result: begun[result.call_id])
