"""Room for each part of the context, in tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from cozy.errors import PromptTooLarge
from cozy.stages.base import StageContext, StageSettings, many
from cozy.stages.folding import Joined, join
from cozy.stages.prompting import (
    context_text,
    message_tokens,
    names_sections,
    section_tokens,
    system_text,
)
from cozy.stages.registry import stage
from cozy.stages.values import (
    Budgeted,
    BudgetReport,
    ContextPart,
    ContextSection,
    Cut,
    Fold,
    Section,
    SectionBudget,
    Snippet,
)
from cozy.turn import Message
from cozy.writing import beginning

DEFAULT_ORDER: tuple[Section, ...] = ("system", "history", "profile", "memory", "knowledge", "summary")
DEFAULT_RESERVE = 1024

SNIPPET_TOKENS = 4
"""What a template puts around a snippet: a dash, brackets, a line break."""


class BudgetSettings(StageSettings):
    reserve_output: int | None = Field(default=None, ge=1)
    """Tokens kept free for the answer; none given: the model's `max_tokens`, or 1024. Never fewer than a
    client asks for."""
    max_tokens: int | None = Field(default=None, ge=64)
    """An upper bound of the prompt below what the model could read."""
    keep: Annotated[tuple[Section, ...], BeforeValidator(many)] = DEFAULT_ORDER
    """Sections in the order in which they are given room; the last named is cut first. The personality's
    prompt, its tools and the current message are never cut, so that naming `system`, `tools` or `message`
    changes nothing; a section that is not named comes last."""


@stage("budget")
@dataclass(frozen=True, slots=True)
class Budget:
    """Give each part of the context the room it may take, and cut what does not fit."""

    settings: BudgetSettings
    renders: ClassVar[tuple[str, ...]] = ("prompt", "voice_prompt", "context")

    async def run(self, parts: Sequence[ContextPart], ctx: StageContext) -> Budgeted:
        model = ctx.persona.model
        name = ctx.turn.model or model.names[0]
        window = model.window(name, ctx.ports.llm.card(name))
        reserve = self._reserve(ctx) or min(DEFAULT_RESERVE, window // 4)
        room = min(window - reserve, self.settings.max_tokens or window)
        bare = system_text({}, ctx)
        fixed = section_tokens(bare, "", name, ctx)
        if sum(fixed.values()) > room:
            raise _too_large(fixed, room)
        keep = self.settings.keep
        joined = join(parts, keep)
        order: list[Section] = [*keep, *(s for s in joined.parts if s not in keep)]
        costs, available = _costs(name, ctx), room - sum(fixed.values())
        while True:
            kept, budgets, folded = fit(joined, available, order, costs)
            system = system_text(kept, ctx) if names_sections(ctx.persona) else bare
            context = context_text(kept, ctx)
            measured = section_tokens(system, context, name, ctx)
            history = sum(b.kept for b in budgets if b.section == "history")
            used = sum(measured.values()) + history
            if used <= room:
                break
            held = sum(b.kept for b in budgets)
            if not held:
                raise _too_large(measured, room)
            # what the templates put around the snippets is more than we took it for: cut at least one more
            share = held / (used - sum(fixed.values()))
            available = min(available, held) - max(1, int((used - room) * share))
        whole: dict[Section, int] = {
            **measured,
            "message": fixed["message"],
        }  # the context beside it is in its own sections
        sections = (*(SectionBudget(name, tokens, tokens) for name, tokens in whole.items()), *budgets)
        report = BudgetReport(window, reserve, room, used, sections, folded)
        ctx.note(budget=report)
        return Budgeted(kept, report, system, context, {**measured, "history": history})

    def _reserve(self, ctx: StageContext) -> int | None:
        """What is kept free for the answer, where anybody has said."""
        asked, own = ctx.turn.sampling, self.settings.reserve_output
        if asked is not None and asked.max_tokens is not None:
            return max(asked.max_tokens, own or 0)
        return own or ctx.persona.model.sampling.max_tokens


@dataclass(frozen=True, slots=True)
class Costs:
    """What a piece of context costs, in tokens."""

    message: Callable[[Message], int]
    snippet: Callable[[Snippet], int]


def _costs(model: str, ctx: StageContext) -> Costs:
    count = ctx.ports.tokens.count

    def snippet(s: Snippet) -> int:
        return count(s.text, model) + (count(s.source, model) if s.source else 0) + SNIPPET_TOKENS

    return Costs(lambda m: message_tokens(m, model, ctx), snippet)


def _too_large(sections: Mapping[Section, int], room: int) -> PromptTooLarge:
    return PromptTooLarge(sum(sections.values()), room, {str(name): n for name, n in sections.items()})


def fit(
    joined: Joined, room: int, order: Sequence[Section], costs: Costs
) -> tuple[dict[ContextSection, ContextPart], list[SectionBudget], tuple[Fold, ...]]:
    """What fits into `room` tokens when sections are given room in `order`, what was cut, what stays folded.

    The later a section stands in `order`, the less is left for it. History loses its oldest exchanges, never
    a part of one. Other sections are filled with whole snippets, those that fit the turn best first; one that
    is too long leaves its room to shorter ones behind it, and last of all to what was folded into it.
    """
    kept: dict[ContextSection, ContextPart] = {}
    budgets: list[SectionBudget] = []
    for part in sorted(joined.parts.values(), key=lambda p: order.index(p.section)):
        if part.section == "history":
            messages, budget = _fit_history(part.messages, room, costs)
            kept[part.section] = replace(part, messages=messages)
        else:
            snippets, budget = _fit_snippets(part.section, part.snippets, room, costs)
            kept[part.section] = replace(part, snippets=snippets)
        room -= budget.kept
        budgets.append(budget)
    return kept, budgets, _unfolded(joined, room, kept, budgets, costs)


def _unfolded(
    joined: Joined,
    room: int,
    kept: dict[ContextSection, ContextPart],
    budgets: list[SectionBudget],
    costs: Costs,
) -> tuple[Fold, ...]:
    """What stays folded; what was folded into something that was cut is kept after all, if it fits."""
    there = {id(snippet) for part in kept.values() for snippet in part.snippets}
    folded: list[Fold] = []
    for fold in joined.folded:
        tokens = costs.snippet(fold.snippet)
        if id(fold.into) in there or tokens > room:
            folded.append(fold)
            continue
        there.add(id(fold.snippet))
        room -= tokens
        part = kept[fold.section]
        whole = joined.whole[fold.section].snippets
        kept[fold.section] = replace(part, snippets=tuple(s for s in whole if id(s) in there))
        at = next(i for i, b in enumerate(budgets) if b.section == fold.section)
        budgets[at] = replace(budgets[at], wanted=budgets[at].wanted + tokens, kept=budgets[at].kept + tokens)
    return tuple(folded)


def _fit_history(
    messages: tuple[Message, ...], room: int, costs: Costs
) -> tuple[tuple[Message, ...], SectionBudget]:
    wanted = kept = 0
    chosen: list[tuple[Message, ...]] = []
    cut: list[Cut] = []
    for exchange in reversed(list(exchanges(messages))):
        tokens = sum(map(costs.message, exchange))
        wanted += tokens
        if cut or kept + tokens > room:
            cut.append(Cut(_first_words(exchange[0].content), tokens))
        else:
            kept += tokens
            chosen.append(exchange)
    return (
        tuple(m for exchange in reversed(chosen) for m in exchange),
        SectionBudget("history", wanted, kept, tuple(reversed(cut))),
    )


def exchanges(messages: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """A user's message and what answers it, calls and results included, belong together."""
    current: list[Message] = []
    for message in messages:
        if message.role == "user" and current:
            yield tuple(current)
            current = []
        current.append(message)
    if current:
        yield tuple(current)


def _fit_snippets(
    section: ContextSection, snippets: tuple[Snippet, ...], room: int, costs: Costs
) -> tuple[tuple[Snippet, ...], SectionBudget]:
    wanted = kept = 0
    chosen: list[Snippet] = []
    cut: list[Cut] = []
    for snippet in snippets:  # best first
        tokens = costs.snippet(snippet)
        wanted += tokens
        if kept + tokens > room:
            cut.append(Cut(snippet.source or _first_words(snippet.text), tokens))
        else:
            kept += tokens
            chosen.append(snippet)
    return tuple(chosen), SectionBudget(section, wanted, kept, tuple(cut))


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else beginning(line, 39) + "…"
