"""A graph as lines for a terminal, as mermaid, JSON and SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from cozy.cells import cells
from cozy.engine.drawing import as_json, as_mermaid, duration, sketch
from cozy.engine.drawing_svg import as_svg
from cozy.engine.drawing_text import NARROWEST, as_text
from cozy.engine.graph import Graph
from cozy.ports.context import EngineChoice
from cozy.stages.base import ModelChoice, NodeInfo
from cozy.stages.fetch_context import FetchContextSettings
from cozy.stages.llm import LlmSettings
from tests.engine.steps import Place, Step, graph_of, hangs, place

BOX_TOP = re.compile(r"┌[─▼]+┐")


def standard() -> Graph:
    """As `pipelines/standard.yaml` looks once it is compiled."""
    return graph_of(
        _fetch("history", timeout_s=1),
        _fetch("knowledge", timeout_s=0.5, on_error="degrade"),
        _fetch("profile", timeout_s=0.3, on_error="degrade"),
        _fetch("memory", timeout_s=0.4, on_error="degrade"),
        place("budget", hangs, takes=("history", "knowledge", "profile", "memory")),
        place("prompt", hangs, takes=("budget",)),
        place("answer", hangs, takes=("prompt",), timeout_s=30, speaks=True),
        place("save", hangs, takes=("answer",), timeout_s=5),
        timeout_s=60,
    )


def _fetch(source: str, **facts: object) -> Place:
    stage_settings = FetchContextSettings.model_validate(
        {"type": "fetch_context", "source": source, "top_k": 3}
    )
    return place(source, Step(hangs, stage_settings), **facts)


def branching() -> Graph:
    """Branches that meet again, wires that cross and skip levels, Chinese names."""
    return graph_of(
        place("history", hangs),
        place("意图识别", hangs, timeout_s=0.25),
        place("知识库", hangs, takes=("意图识别",), when="意图识别.label == 'medical'", on_error="degrade"),
        place("prompt", hangs, takes=("history", "意图识别")),
        place("draft", hangs, takes=("prompt", "知识库"), retries=2),
        place("note", hangs, after=("history",)),
        place("final", hangs, takes=("draft", "prompt"), speaks=True),
        place("save", hangs, takes=("final", "note")),
    )


GRAPHS = [pytest.param(standard, id="standard"), pytest.param(branching, id="branching")]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph of up to ten stages."""
    count = draw(st.integers(1, 10))
    places: list[Place] = []
    for i in range(count):
        waits = draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else []
        takes = tuple(f"n{w}" for w in waits if w % 2)
        after = tuple(f"n{w}" for w in waits if not w % 2)
        places.append(place(f"n{i}", hangs, takes=takes, after=after))
    return graph_of(*places)


# -- for a terminal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [100, 60, 24])
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_is_drawn_in_the_width_of_the_terminal(
    graph: object, width: int, snapshot: SnapshotAssertion
) -> None:
    assert callable(graph)
    drawing = as_text(graph(), width)
    assert max(map(cells, drawing.splitlines())) <= width
    assert drawing == snapshot


@settings(max_examples=150)
@given(graph=graphs())
def test_the_wires_of_a_drawing_lead_where_the_edges_do(graph: Graph) -> None:
    drawn = sketch(graph)
    drawing = as_text(graph, 1000)
    if not BOX_TOP.search(drawing):
        return  # wires that could not be kept apart: a list
    expected = {(drawn.boxes[s].id, drawn.boxes[t].id) for s, t in drawn.drawn}
    assert traced(drawing.splitlines()[2:]) == expected


@settings(max_examples=150)
@given(graph=graphs())
def test_the_list_names_every_edge(graph: Graph) -> None:
    drawing = as_text(graph, NARROWEST)
    if BOX_TOP.search(drawing):
        return  # as narrow as that
    drawn = sketch(graph)
    found: set[tuple[str, str]] = set()
    for stage in re.split(r"^[○┌├└] ", drawing, flags=re.MULTILINE)[1:]:
        name, _, facts = stage.partition("\n")
        found |= {(before, name) for before in re.findall(r"n\d+", facts.partition("←")[2])}
    assert found == {(drawn.boxes[s].id, drawn.boxes[t].id) for s, t in drawn.drawn}


@given(graph=graphs(), width=st.integers(1, 200))
def test_a_drawing_is_never_wider_than_it_may_be(graph: Graph, width: int) -> None:
    assert max(map(cells, as_text(graph, width).splitlines())) <= max(width, NARROWEST)


def test_an_edge_that_a_longer_way_implies_is_told_in_the_box() -> None:
    graph = graph_of(
        place("prompt", hangs),
        place("draft", hangs, takes=("prompt",)),
        place("critique", hangs, takes=("prompt", "draft")),
        place("last", Step(hangs, LlmSettings(type="llm", after=("draft",))), after=("draft", "critique")),
    )
    drawing = as_text(graph, 80)
    assert drawing.count("reads prompt") == 1
    assert "reads draft" not in drawing, "`after` reads nothing"


def test_a_terminal_sees_no_control_characters_of_a_condition() -> None:
    graph = graph_of(place("a", hangs), place("b", hangs, takes=("a",), when="a == '\x1b[31m\u202e'"))
    assert not set("\x1b\u202e") & set(as_text(graph, 80) + as_text(graph, 24))


def traced(lines: list[str]) -> set[tuple[str, str]]:
    """The edges that a reader would follow: down from each box, along joints, beneath wires that cross."""
    width = max(map(len, lines))
    grid = [line.ljust(width) for line in lines]
    tops: dict[tuple[int, int], str] = {}
    bottoms: dict[tuple[int, int], str] = {}
    for y, line in enumerate(grid):
        for top in BOX_TOP.finditer(line):
            name = grid[y + 1][top.start() : top.end()].strip("│ ")
            bottom = next(b for b in range(y + 1, len(grid)) if grid[b][top.start()] == "└")
            for x in range(top.start(), top.end()):
                tops[y, x], bottoms[bottom, x] = name, name
    edges: set[tuple[str, str]] = set()
    for (y, x), name in bottoms.items():
        if grid[y][x] == "┬":
            edges |= {(name, target) for target in _down(grid, tops, y + 1, x, 0)}
    return edges


def _down(grid: list[str], tops: dict[tuple[int, int], str], y: int, x: int, side: int) -> set[str]:
    """Boxes that a wire reaches from this cell; `side` is -1 or 1 on the way along a line, 0 downwards."""
    if side == 0:
        while grid[y][x] == "│":
            y += 1
        if grid[y][x] == "▼":
            return {tops[y, x]}
        return _joint(grid, tops, y, x)
    while grid[y][x] in "─│":
        x += side
    found = _down(grid, tops, y + 1, x, 0) if grid[y][x] in "╭╮┬├┤┼" else set[str]()
    return found | (_down(grid, tops, y, x + side, side) if grid[y][x] in "┬┴┼" else set[str]())


def _joint(grid: list[str], tops: dict[tuple[int, int], str], y: int, x: int) -> set[str]:
    found: set[str] = set()
    if grid[y][x] in "├┤┼":
        found |= _down(grid, tops, y + 1, x, 0)
    if grid[y][x] in "╰├┴┼":
        found |= _down(grid, tops, y, x + 1, 1)
    if grid[y][x] in "╯┤┴┼":
        found |= _down(grid, tops, y, x - 1, -1)
    return found


# -- for other programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_becomes_a_mermaid_flowchart(graph: object, snapshot: SnapshotAssertion) -> None:
    assert callable(graph)
    assert as_mermaid(graph()) == snapshot


def test_mermaid_is_not_broken_by_what_a_condition_says() -> None:
    graph = graph_of(
        place("a", hangs),
        place("b", hangs, takes=("a",), when="a == 'x\"] --> n9 `%%{init: 1}%%` <b> & #35;'"),
    )
    lines = as_mermaid(graph).splitlines()
    label = next(line for line in lines if line.strip().startswith("n1["))
    inside = label.strip().removeprefix('n1["').removesuffix('"]')
    assert not set('"`%') & set(inside)
    assert set(re.findall(r"<[^>]*>", inside)) == {"<b>", "</b>", "<br/>"}
    assert len(lines) == 4


def test_the_engine_that_a_stage_asks_is_shown_where_it_is_another_than_the_embedded() -> None:
    plain = standard()
    graph = replace(plain, persona=replace(plain.persona, engines=EngineChoice(memory="mem0")))
    boxes = {box.id: box.rules for box in sketch(graph).boxes}
    assert "asks mem0" in boxes["memory"]
    assert not any("asks" in rule for id_, rules in boxes.items() if id_ != "memory" for rule in rules)
    engines = {node["id"]: node["engine"] for node in as_json(with_settings(graph))["nodes"]}
    assert (engines["memory"], engines["knowledge"], engines["history"]) == ("mem0", "embedded", None)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_becomes_plain_values(graph: object, snapshot: SnapshotAssertion) -> None:
    assert callable(graph)
    assert as_json(with_settings(graph())) == snapshot


def with_settings(graph: Graph) -> Graph:
    """Small test stages have none."""
    nodes = tuple(
        node if node.stage.settings else replace(node, stage=Step(hangs, LlmSettings(type="llm")))
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def test_models_and_their_fallbacks_are_shown_on_the_stage_that_asks_them() -> None:
    graph = graph_of(place("answer", hangs))
    info = NodeInfo("answer", model=ModelChoice(("openai/gpt-4.1-mini", "ollama/qwen3")))
    graph = replace(graph, nodes=(replace(graph.nodes[0], type="llm", info=info),))
    assert as_json(with_settings(graph))["nodes"][0]["models"] == ["openai/gpt-4.1-mini", "ollama/qwen3"]
    assert "else ollama/qwen3" in as_text(graph, 80)


def test_an_svg_needs_nothing_from_outside() -> None:
    svg = as_svg(branching())
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not {e.tag.rpartition("}")[2] for e in root.iter()} & {
        "script",
        "image",
        "use",
        "foreignObject",
        "a",
    }
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_an_svg_shows_every_stage_once_and_every_edge() -> None:
    graph = branching()
    root = ET.fromstring(as_svg(graph))
    space = "{http://www.w3.org/2000/svg}"
    ids = [e.text for e in root.iter(f"{space}text") if e.get("class") == "id"]
    assert sorted(filter(None, ids)) == sorted(node.id for node in graph.nodes)
    wires = [e for e in root.iter(f"{space}path") if "wire" in (e.get("class") or "")]
    assert len(wires) == len(sketch(graph).drawn)
    assert sum("waits" in (e.get("class") or "") for e in wires) == 1


def test_an_svg_holds_what_a_condition_says_as_text() -> None:
    graph = graph_of(place("a", hangs), place("b", hangs, takes=("a",), when="a == '</text><script>\x07&'"))
    root = ET.fromstring(as_svg(graph))
    assert not [e for e in root.iter() if e.tag.endswith("script")]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.5, "500ms"), (0.0015, "1.5ms"), (1, "1s"), (60, "60s"), (120, "2m"), (90, "90s")],
)
def test_a_duration_is_written_as_an_author_would(seconds: float, written: str) -> None:
    assert duration(seconds) == written
