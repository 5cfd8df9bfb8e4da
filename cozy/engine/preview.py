"""What a model would be sent, and from where each word of it comes, without asking a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cozy.engine.graph import Graph, Node
from cozy.engine.prefixes import PrefixLog
from cozy.engine.reader import Reader
from cozy.engine.runtime import TurnRun
from cozy.engine.variables import turn_variables
from cozy.errors import NoAnswer, TurnError
from cozy.events import Event, StageDegraded, TurnFailed
from cozy.ports import Ports
from cozy.stages.folding import join
from cozy.stages.intent import FindIntent
from cozy.stages.prompting import user_text
from cozy.stages.templates import SECTION_VARIABLES, Expression, Template
from cozy.stages.values import Budgeted, BudgetReport, ContextPart, ContextSection, Prompt, Section
from cozy.turn import Message, Turn

PROMPT_TYPE, MODEL_TYPE = "render_prompt", "llm"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a prompt's text that comes from one place."""

    text: str
    source: str
    """`personalities/mia.yaml: prompt`, `history`, `client`, `message`; `cozy` for what is put around."""
    expression: str | None = None
    """The expression of the template that gave it; None for its own words, or where there is no template."""
    line: int | None = None
    """Of the template, from 1."""


@dataclass(frozen=True, slots=True)
class PreviewMessage:
    """A message as it would be sent."""

    section: Section
    message: Message
    pieces: tuple[Piece, ...]
    """Together they are the message's content."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The last message that an `llm` adds of its own."""

    stage: str
    text: str
    """As rendered; as written where it names stages that have to answer first."""
    waits: tuple[str, ...] = ()
    """Those stages."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The prompt of one `render_prompt` stage."""

    stage: str
    prompt: Prompt
    messages: tuple[PreviewMessage, ...]
    tools: str
    """The tools as the model is told of them, as JSON; empty where there are none."""
    budget: BudgetReport | None
    asks: tuple[Ask, ...]
    degraded: tuple[StageDegraded, ...]
    unasked: tuple[str, ...]
    """Stages above that would ask a model: here it is as if they had been skipped."""


async def previews(graph: Graph, turn: Turn, ports: Ports) -> list[Preview]:
    """The prompt of each `render_prompt` of a personality, for one turn.

    Runs what the prompt waits for, under each stage's own timeout and failure rule, and nothing else: no
    model is asked, nothing is stored. Raises TurnError where a stage fails, or a prompt needs an answer.
    """
    targets = [i for i, node in enumerate(graph.nodes) if node.type == PROMPT_TYPE]
    return [await _preview(graph, target, turn, ports) for target in targets]


def welcome(graph: Graph, turn: Turn) -> str:
    """What a personality says before anybody has spoken; `turn` tells to whom. Raises TemplateFailed."""
    return graph.persona.welcome.render(turn_variables(graph, turn))


def identity(graph: Graph, turn: Turn) -> str:
    """Who a personality is, in the words that a model is given first; on a spoken turn, how it speaks, too.

    Raises TemplateFailed where that is not known before other stages have run.
    """
    variables = turn_variables(graph, turn)
    texts = [graph.persona.prompt.render(variables)]
    if turn.channel == "voice" and graph.persona.voice_prompt is not None:
        texts.append(graph.persona.voice_prompt.render(variables))
    return "\n\n".join(filter(None, texts))


async def _preview(graph: Graph, target: int, turn: Turn, ports: Ports) -> Preview:
    cut, kept = _until(graph, target)
    reader = Reader()
    run = TurnRun(cut, turn, ports, reader, PrefixLog())
    await run.drive()
    told: list[Event] = []
    while (event := await reader.next()) is not None:
        told.append(event)
    node = cut.nodes[-1]
    prompt = run.values[-1]
    if not isinstance(prompt, Prompt):
        raise _failure(told[-1], node)
    parts = _parts([run.values[s] for slot in node.inputs for s in slot.sources])
    variables = run.variables | {name: parts.get(name, ContextPart(name)) for name in SECTION_VARIABLES}
    return Preview(
        stage=node.id,
        prompt=prompt,
        messages=tuple(_messages(graph, prompt, turn, variables)),
        tools=graph.persona.tools_text,
        budget=next((n["budget"] for n in run.recording.notes.values() if "budget" in n), None),
        asks=tuple(_asks(graph, target, run.variables)),
        degraded=tuple(run.degraded),
        unasked=tuple(graph.nodes[i].id for i in kept if _asks_a_model(graph.nodes[i])),
    )


def _until(graph: Graph, target: int) -> tuple[Graph, list[int]]:
    """The part of a graph that ends with `target`, with every model left unasked, and what it is made of."""
    wanted = {target}
    for i in range(target, -1, -1):
        if i in wanted:
            wanted.update(graph.nodes[i].waits)
    kept = sorted(wanted)
    index = {old: new for new, old in enumerate(kept)}
    nodes = tuple(_moved(graph.nodes[i], index) for i in kept)
    for node in nodes:
        if not node.has_empty and (node.settles or node.type == "tool_loop"):
            raise TurnError(
                f"the prompt of `{graph.nodes[target].id}` cannot be shown: `{node.id}` needs an answer first"
            )
    roots = tuple(i for i, node in enumerate(nodes) if not node.waits)
    return replace(graph, nodes=nodes, roots=roots, answers=()), kept


def _moved(node: Node, index: dict[int, int]) -> Node:
    stage = node.stage
    if isinstance(stage, FindIntent):  # its rules can be shown
        stage = FindIntent(stage.settings.model_copy(update={"model": None}))
    inputs = (replace(s, sources=tuple(index[i] for i in s.sources)) for s in node.inputs)
    return replace(
        node,
        stage=stage,
        inputs=tuple(inputs),
        waits=tuple(index[i] for i in node.waits),
        next=tuple(index[i] for i in node.next if i in index),
        followers=(),
        when=Expression("false", "preview") if node.type == MODEL_TYPE else node.when,
    )


def _asks_a_model(node: Node) -> bool:
    if isinstance(node.stage, FindIntent):
        return node.stage.settings.model is not None
    return node.type == MODEL_TYPE


def _failure(last: Event, node: Node) -> TurnError:
    if isinstance(last, TurnFailed) and last.code != NoAnswer.code:
        return TurnError(last.message, hint=last.hint, details={"code": last.code, "stage": last.stage})
    return TurnError(f"`{node.id}` did not run on this turn: nothing would be asked with its prompt")


def _parts(values: Sequence[Any]) -> Mapping[ContextSection, ContextPart]:
    """What the prompt was rendered with, by section."""
    budgeted = next((v for v in values if isinstance(v, Budgeted)), None)
    return budgeted.parts if budgeted else join([v for v in values if isinstance(v, ContextPart)]).parts


def _messages(
    graph: Graph, prompt: Prompt, turn: Turn, variables: dict[str, Any]
) -> Iterator[PreviewMessage]:
    for section in prompt.sections:
        for message in prompt.messages[section.first : section.last + 1]:
            match section.section:
                case "system":
                    pieces = _system(graph, turn, variables)
                case "message":
                    pieces = _message(graph, prompt, turn, variables)
                case _:
                    pieces = [Piece(message.content, section.section)]
            if (
                "".join(piece.text for piece in pieces) != message.content
            ):  # never show what would not be sent
                pieces = [Piece(message.content, section.section)]
            yield PreviewMessage(section.section, message, tuple(pieces))


def _system(graph: Graph, turn: Turn, variables: dict[str, Any]) -> list[Piece]:
    persona = graph.persona
    texts = [_spans(persona.prompt, variables)]
    if turn.channel == "voice" and persona.voice_prompt is not None:
        texts.append(_spans(persona.voice_prompt, variables))
    if turn.client_system and persona.client_system == "append":
        texts.append([Piece(turn.client_system.strip(), "client")])
    pieces: list[Piece] = []
    for text in filter(None, texts):
        pieces += [Piece("\n\n", "cozy"), *text] if pieces else text
    return pieces


def _message(graph: Graph, prompt: Prompt, turn: Turn, variables: dict[str, Any]) -> list[Piece]:
    said = Piece(turn.text, "message")
    if not prompt.context:
        return [said]
    head, _, tail = user_text(prompt.context, "").partition(prompt.context)
    context = _spans(graph.persona.context, variables)
    return [Piece(head, "cozy"), *context, Piece(tail, "cozy"), said]


def _spans(template: Template, variables: dict[str, Any]) -> list[Piece]:
    return [Piece(s.text, template.name, s.expression, s.line) for s in template.spans(variables)]


def _asks(graph: Graph, target: int, variables: dict[str, Any]) -> Iterator[Ask]:
    ready = (PROMPT_TYPE, "intent", "fetch_context", "budget")
    models = {node.id for node in graph.nodes if node.type not in ready}
    for node in graph.nodes:
        template = node.info.templates.get("ask")
        if template is None or not any(target in slot.sources for slot in node.inputs):
            continue
        waits = tuple(sorted(template.names & models))
        yield Ask(node.id, template.source.strip() if waits else template.render(variables), waits)
