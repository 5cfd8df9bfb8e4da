"""What a model was sent, or would be: section by section, with token counts, and what was cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.text import Text

from cozy.cells import cells
from cozy.engine.preview import Ask, Piece, Preview, PreviewMessage
from cozy.engine.trace import BudgetReport, Prompt, Trace
from cozy.interfaces.repl.markdown import Words, breaks
from cozy.interfaces.repl.safe import one_line, safe
from cozy.interfaces.repl.views import grid
from cozy.interfaces.repl.wording import call_text
from cozy.turn import Message

SOURCE_WIDTH = 32
WIDEST = 100
"""Of what is drawn; text may be wider."""
_COMPUTED = "bold cyan"
"""What an expression of a template has given."""


def sent_view(trace: Trace, tools: Sequence[str], width: int) -> RenderableType:
    """Each prompt of a turn, and what stages have sent beyond it: their `ask`, calls and results of tools."""
    parts: list[RenderableType] = []
    for stage, prompt in trace.prompts.items():
        if len(trace.prompts) > 1:
            parts.append(Text(f"put together by {stage}", "bold"))
        parts.append(prompt_view(prompt, tools, width))
    for i, (stage, request) in enumerate(trace.requests):
        known = [p.messages for p in trace.prompts.values()] + [r.messages for _, r in trace.requests[:i]]
        same = max((len(m) for m in known if request.messages[: len(m)] == m), default=0)
        if more := request.messages[same:]:
            parts.append(rule(f"sent by {stage} after that", width))
            parts += [text for message in more for text in _message(message, with_role=True)]
            parts.append(Text())
    return Group(*parts, *_budget(trace.budget, width))


def prompt_view(prompt: Prompt, tools: Sequence[str], width: int) -> RenderableType:
    """A prompt, section by section."""
    parts: list[RenderableType] = []
    for section in prompt.sections:
        parts.append(rule(f"{section.section} · {section.tokens} tokens", width))
        if section.section == "tools":
            parts.append(Text(", ".join(tools)))
        for message in prompt.messages[section.first : section.last + 1]:
            parts += _message(message, with_role=section.section == "history")
        parts.append(Text())
    return Group(*parts, rule(f"together {prompt.tokens} tokens", width), *_folded(prompt, width))


def preview_view(preview: Preview, width: int) -> RenderableType:
    """A prompt as it would be sent, each line with what it comes from."""
    parts: list[RenderableType] = []
    tools = [tool["name"] for tool in json.loads(preview.tools or "[]")]
    for section in preview.prompt.sections:
        messages = [m for m in preview.messages if m.section == section.section]
        files = dict.fromkeys(p.source.rpartition(": ")[0] for m in messages for p in m.pieces if p.line)
        parts.append(rule(" · ".join((section.section, f"{section.tokens} tokens", *files)), width))
        if section.section == "tools":
            parts.append(Text(", ".join(tools)))
        for message in messages:
            parts += _sourced(message, width)
        parts.append(Text())
    for ask in preview.asks:
        parts += [*_ask(ask, width), Text()]
    total = rule(f"together {preview.prompt.tokens} tokens", width)
    return Group(*parts, total, *_folded(preview.prompt, width), *_budget(preview.budget, width))


def rule(title: str, width: int) -> Text:
    """A line across the screen with a title at its beginning."""
    head = f"── {one_line(title, max(width - 4, 4))} "
    return Text(head + "─" * (min(width, WIDEST) - cells(head)), "dim")


def _message(message: Message, *, with_role: bool) -> Iterator[Text]:
    role = Text(f"{message.role}: ", "dim") if with_role else Text()
    if message.content:
        yield Words.assemble(role, safe(message.content))
    for call in message.tool_calls:
        yield role + Text(f"calls {safe(call_text(call.name, call.arguments))}")


# -- each line with its source -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    """One line of a message."""

    text: Text = field(default_factory=Text)
    places: list[str] = field(default_factory=list[str])
    expressions: list[str] = field(default_factory=list[str])

    def add(self, piece: Piece, text: str, below: int) -> None:
        """A line of a piece, so many lines below its first."""
        computed = piece.expression is not None
        self.text.append(safe(text), _COMPUTED if computed else "")
        line = piece.line and (piece.line if computed else piece.line + below)
        place = f"{piece.source.rpartition(': ')[2]}:{line}" if line else piece.source
        if text and place not in self.places:
            self.places.append(place)
        if text and piece.expression and piece.expression not in self.expressions:
            self.expressions.append(piece.expression)

    def lines(self, width: int) -> Iterator[Text]:
        """The source before the first line, the text broken where it is wider than the screen."""
        named = f"{self.places[0]} {', '.join(self.expressions)}" if self.places else ""
        source = one_line(named, SOURCE_WIDTH)
        for line in self.text.divide(breaks(self.text.plain, max(width - SOURCE_WIDTH - 3, 10))):
            gutter = f"{source}{' ' * (SOURCE_WIDTH - cells(source))} │"
            line.rstrip()
            yield Text.assemble((gutter, "dim"), " ", line) if line else Text(gutter, "dim")
            source = ""


def _sourced(message: PreviewMessage, width: int) -> Iterator[Text]:
    rows = [_Row()]
    for piece in message.pieces:
        for i, text in enumerate(piece.text.split("\n")):
            rows += [_Row()] if i else []
            rows[-1].add(piece, text, i)
    if message.section == "history":
        rows[0].places.insert(0, message.message.role)
    for call in message.message.tool_calls:
        rows.append(_Row(Text(f"calls {safe(call_text(call.name, call.arguments))}"), [message.message.role]))
    for row in rows:
        if row.text or len(rows) == 1 or not message.message.tool_calls:
            yield from row.lines(width)


def _ask(ask: Ask, width: int) -> Iterator[RenderableType]:
    waits = f" · once {', '.join(f'`{w}`' for w in ask.waits)} has answered" if ask.waits else ""
    yield rule(f"asked of {ask.stage} after that{waits}", width)
    yield Words(safe(ask.text))


def _folded(prompt: Prompt, width: int) -> Iterator[Text]:
    """What another snippet says."""
    for fold in prompt.folded:
        text = f"folded from {fold.section}: {fold.into_section} says it: {fold.snippet.text}"
        yield Text(one_line(text, width), "dim")


# -- the budget ----------------------------------------------------------------------------------------------


def _budget(budget: BudgetReport | None, width: int) -> Iterator[RenderableType]:
    if budget is None:
        return
    rows = [(s.section, str(s.wanted), str(s.kept)) for s in budget.sections]
    yield grid(("section", "wanted", "kept"), rows, numbers=(1, 2))
    for section in budget.sections:
        for cut in section.cut:
            yield Text(
                one_line(f"cut from {section.section}: {cut.tokens} tokens: {cut.what}", width), "yellow"
            )
    yield Text(
        f"{budget.used} of {budget.room} tokens used; the model reads {budget.context_tokens}, "
        f"{budget.reserved} of them are kept free for the answer",
        "dim",
    )
