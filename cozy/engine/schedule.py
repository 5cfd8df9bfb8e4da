"""Which nodes may start now, and what lies on one level: pure functions of a graph."""

from __future__ import annotations

from collections.abc import Sequence

from cozy.engine.graph import Graph


def waiting_counts(graph: Graph) -> list[int]:
    """For each node, how many others it still waits for before anything has run."""
    return [len(node.waits) for node in graph.nodes]


def release(graph: Graph, done: int, left: list[int]) -> list[int]:
    """The nodes that may start now that `done` has ended; counts `left` down in place."""
    ready: list[int] = []
    for follower in graph.nodes[done].next:
        left[follower] -= 1
        if left[follower] == 0:
            ready.append(follower)
    return ready


def levels(graph: Graph) -> list[list[int]]:
    """Nodes by the longest way that leads to them: one list runs side by side, at the soonest."""
    depth: list[int] = []
    for node in graph.nodes:  # a node stands below all that it waits for
        depth.append(1 + max((depth[i] for i in node.waits), default=-1))
    return [[i for i, d in enumerate(depth) if d == level] for level in range(max(depth, default=-1) + 1)]


def critical_path(graph: Graph, ended: Sequence[float | None]) -> list[int]:
    """The nodes that the turn had to wait for, first to last, by when each ended; None: it never did."""
    last = max((i for i, e in enumerate(ended) if e is not None), key=lambda i: ended[i] or 0, default=None)
    path: list[int] = []
    while last is not None:
        path.append(last)
        last = max(_ended_before(graph, last, ended), key=lambda i: ended[i] or 0, default=None)
    return path[::-1]


def _ended_before(graph: Graph, node: int, ended: Sequence[float | None]) -> set[int]:
    """What a node has waited for. In the place of a stage that has not run, left out or below one that
    failed, stands what that would have waited for."""
    seen, left = set[int](), list(graph.nodes[node].waits)
    while left:
        if (i := left.pop()) not in seen:
            seen.add(i)
            left += graph.nodes[i].waits if ended[i] is None else ()
    return {i for i in seen if ended[i] is not None}
