"""A checked personality becomes a frozen graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from cozy.dsl.check import check
from cozy.dsl.project import Sources, read_project
from cozy.dsl.world import World
from cozy.engine.compile import compile_graph
from cozy.engine.graph import Graph, Slot
from cozy.errors import ToolError
from cozy.ports.context import EngineChoice
from cozy.ports.tools import ToolSpec
from cozy.settings import shipped
from cozy.stages.intent import ANSWER_TOKENS
from cozy.stages.prompting import DEFAULT_CONTEXT, DEFAULT_CONTEXT_ZH
from cozy.stages.values import Intent

CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object"})
WEATHER = ToolSpec("mcp/weather/now", "Tells the weather.", {"type": "object"}, timeout_s=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def compiled(folder: Path, text: str, tools: Sequence[ToolSpec] = (CLOCK, WEATHER)) -> Graph:
    """The graph of a personality that is written here; `id` and `name` are added."""
    file = folder / "mia.yaml"
    file.write_text("id: mia\nname: Mia\n" + dedent(text), encoding="utf-8")
    project = read_project(Sources(pipelines=(shipped("pipelines"),), files=(file,)))
    result = check(project, World(tools=frozenset({"clock"}), tool_servers=frozenset({"weather"})))
    assert not result.errors, result.text()
    [checked] = result.personalities
    return compile_graph(checked, tools, "demo/demo")


def ids(graph: Graph, indices: Sequence[int]) -> list[str]:
    return [graph.nodes[i].id for i in indices]


def test_the_standard_pipeline_becomes_a_graph(folder: Path) -> None:
    graph = compiled(folder, "prompt: You are Mia.")
    assert (graph.id, graph.pipeline, graph.timeout_s) == ("mia", "standard", 60.0)
    assert ids(graph, graph.roots) == ["history", "summary", "knowledge", "profile", "memory"]
    waits = {node.id: ids(graph, node.waits) for node in graph.nodes}
    assert waits["budget"] == ["history", "summary", "knowledge", "profile", "memory"]
    assert [waits[name] for name in ("prompt", "answer", "tools", "save", "remember")] == [
        ["budget"],
        ["prompt"],
        ["answer"],
        ["tools"],
        ["save"],
    ]
    assert ids(graph, graph.answers) == ["tools"]


def test_who_follows_a_stage_is_the_mirror_of_who_waits(folder: Path) -> None:
    graph = compiled(folder, "prompt: You are Mia.")
    edges = {(i, j) for i, node in enumerate(graph.nodes) for j in node.next}
    assert edges == {(i, j) for j, node in enumerate(graph.nodes) for i in node.waits}


def test_each_node_has_its_own_rules_and_its_place(folder: Path) -> None:
    graph = compiled(folder, "prompt: You are Mia.")
    node = {n.id: n for n in graph.nodes}
    knowledge, answer, save = node["knowledge"], node["answer"], node["save"]
    assert (knowledge.timeout_s, knowledge.on_error, knowledge.settles) == (0.5, "degrade", False)
    assert (answer.info.speaks, answer.info.offers_tools) == (True, True)
    assert (save.settles, ids(graph, save.followers)) == (True, ["remember"])
    assert node["budget"].inputs == (Slot("parts", (0, 1, 2, 3, 4), many=True),)
    assert node["tools"].inputs == (Slot("generation", (7,), many=False),)


def test_a_stages_model_is_the_personalitys_with_its_own_settings_over_it(folder: Path) -> None:
    graph = compiled(
        folder,
        """\
        prompt: You are Mia.
        model:
          name: a/big
          temperature: 0.9
          fallbacks:
            - b/other
        stages:
          answer:
            model:
              temperature: 0
            fallbacks:
              - auto
        """,
    )
    answer = next(n for n in graph.nodes if n.id == "answer").info.model
    assert answer is not None
    assert (answer.names, answer.sampling.temperature) == (("a/big", "demo/demo"), 0.0)
    assert graph.persona.model.names == ("a/big", "b/other")


def test_a_personality_that_names_no_model_has_the_default_one(folder: Path) -> None:
    assert compiled(folder, "prompt: You are Mia.").persona.model.names == ("demo/demo",)


def test_a_personality_is_given_the_tools_that_it_names(folder: Path) -> None:
    graph = compiled(folder, "prompt: You are Mia.\ntools: mcp/weather/*")
    [tool] = graph.persona.tools
    assert (tool.spec, tool.check("{}")) == (WEATHER, {})
    assert "mcp/weather/now" in graph.persona.tools_text
    assert graph.tool_list == (WEATHER,)


def test_a_personality_without_tools_tells_its_model_of_none(folder: Path) -> None:
    graph = compiled(folder, "prompt: You are Mia.")
    assert (graph.persona.tools, graph.persona.tools_text) == ((), "")


def test_a_tool_with_a_broken_schema_does_not_compile(folder: Path) -> None:
    broken = ToolSpec("clock", "", {"type": "oject"})
    with pytest.raises(ToolError, match="clock"):
        compiled(folder, "prompt: You are Mia.\ntools: clock", [broken])


@pytest.mark.parametrize(
    ("language", "context"), [("zh-CN", DEFAULT_CONTEXT_ZH), ("en", DEFAULT_CONTEXT), (None, DEFAULT_CONTEXT)]
)
def test_the_built_in_context_is_in_the_personalitys_language(
    folder: Path, language: str | None, context: str
) -> None:
    text = f"prompt: You are Mia.\nlanguage: {language}" if language else "prompt: You are Mia."
    assert compiled(folder, text).persona.context.source == context


def test_a_context_of_its_own_and_a_voice_prompt_are_compiled(folder: Path) -> None:
    graph = compiled(
        folder,
        """\
        prompt: 你是 {{ personality.name }}。
        context: 她喜欢{{ memory }}
        voice:
          prompt: 简短一点。
        """,
    )
    persona = graph.persona
    assert persona.prompt.render({"personality": persona.about}) == "你是 Mia。"
    assert persona.context.render({"memory": "茶"}) == "她喜欢茶"
    assert persona.voice_prompt is not None
    assert persona.voice_prompt.render({}) == "简短一点。"


def test_a_voice_and_facts_for_front_ends_are_kept(folder: Path) -> None:
    text = """\
        prompt: You are Mia.
        voice:
          tts:
            voice: coral
            speed: 1.5
        metadata:
          icon: 🌙
        """
    persona = compiled(folder, text).persona
    assert (persona.voice, persona.voice_speed, persona.metadata) == ("coral", 1.5, {"icon": "🌙"})
    plain = compiled(folder, "prompt: You are Mia.").persona
    assert (plain.voice, plain.voice_speed, plain.metadata) == (None, None, {})


ROUTED = """\
prompt: You are Mia.
pipeline:
  timeout: 20s
  stages:
    prompt:
      type: render_prompt
    quick:
      type: llm
      visible: true
      when: ("?" not in message)
    careful:
      type: llm
      visible: true
      when: ("?" in message)
      ask: Think about {{ message }} first.
    save:
      type: persist
"""


def test_stages_that_speak_on_different_paths_may_each_give_the_answer(folder: Path) -> None:
    graph = compiled(folder, ROUTED)
    assert ids(graph, graph.answers) == ["quick", "careful"]
    node = {n.id: n for n in graph.nodes}
    assert node["save"].inputs == (Slot("reply", (1, 2), many=False),)
    assert node["quick"].when is not None
    assert node["quick"].when.holds({"message": "tea"})
    assert node["careful"].info.templates["ask"].render({"message": "tea?"}) == "Think about tea? first."
    assert (graph.pipeline, graph.timeout_s) == ("mia", 20.0)


def test_a_personality_chooses_its_engines_and_the_configuration_the_others(folder: Path) -> None:
    (folder / "mia.yaml").write_text("id: mia\nname: Mia\nengines:\n  memory: mem0\n", encoding="utf-8")
    project = read_project(Sources(pipelines=(shipped("pipelines"),), files=(folder / "mia.yaml",)))
    [checked] = check(project, World()).personalities
    installed = EngineChoice(knowledge="wiki", memory="other")
    graph = compile_graph(checked, (), "demo/demo", installed)
    assert graph.persona.engines == EngineChoice(knowledge="wiki", profile="embedded", memory="mem0")
    assert compile_graph(checked, (), "demo/demo").persona.engines == EngineChoice(memory="mem0")


INTENT = """
model:
  name: openai/big
  temperature: 0.9
  max_tokens: 4000
pipeline: attentive
stages:
  intent:
    model:
      name: openai/small
      max_tokens: 8
"""


def test_the_model_of_an_intent_is_sure_and_short_unless_it_is_told_otherwise(folder: Path) -> None:
    intent = compiled(folder, INTENT).nodes[0].info
    assert (intent.id, intent.own_model) == ("intent", True)
    assert intent.model is not None
    assert intent.model.names == ("openai/small",)
    assert (intent.model.sampling.temperature, intent.model.sampling.max_tokens) == (0, 8)
    other = compiled(folder, INTENT.replace("      max_tokens: 8\n", "")).nodes[0].info
    assert other.model is not None
    assert other.model.sampling.max_tokens == ANSWER_TOKENS


def test_an_expression_of_a_stage_is_compiled_once(folder: Path) -> None:
    nodes = {node.id: node.info for node in compiled(folder, "pipeline: attentive").nodes}
    assert nodes["memory"].expressions["top_k"].count({"intent": Intent("recall")}, 100) == 12
    assert nodes["knowledge"].expressions == {}
