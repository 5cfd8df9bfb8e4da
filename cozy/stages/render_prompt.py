"""What fits → messages, stable parts first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cozy.stages.base import StageContext, StageSettings
from cozy.stages.folding import join
from cozy.stages.prompting import context_text, message_tokens, section_tokens, system_text, user_text
from cozy.stages.registry import stage
from cozy.stages.values import Budgeted, ContextPart, ContextSection, Prompt, PromptSection, Section
from cozy.turn import Message


class RenderPromptSettings(StageSettings):
    pass


@stage("render_prompt")
@dataclass(frozen=True, slots=True)
class RenderPrompt:
    """Put the prompt together: the personality, the history, and this turn's context beside the message."""

    settings: RenderPromptSettings
    renders: ClassVar[tuple[str, ...]] = ("prompt", "voice_prompt", "context")

    async def run(self, context: Budgeted | Sequence[ContextPart], ctx: StageContext) -> Prompt:
        if isinstance(context, Budgeted):
            parts, system, brought, tokens = context.parts, context.system, context.context, context.tokens
            folded = context.report.folded
            history = _history(parts)
        else:
            joined = join(context)
            parts, folded = joined.parts, joined.folded
            history = _history(parts)
            system, brought = system_text(parts, ctx), context_text(parts, ctx)
            model = ctx.turn.model or ctx.persona.model.names[0]
            tokens = {
                **section_tokens(system, brought, model, ctx),
                "history": sum(message_tokens(m, model, ctx) for m in history),
            }
        messages: list[Message] = []
        sections: list[PromptSection] = []

        def add(section: Section, *new: Message) -> None:
            first = len(messages)
            messages.extend(new)
            sections.append(PromptSection(section, first, len(messages) - 1, tokens.get(section, 0)))

        if system:
            add("system", Message("system", system))
        if ctx.tools.text:
            add("tools")
        if history:
            add("history", *history)
        turn = ctx.turn
        said = Message("user", user_text(brought, turn.text), parts=turn.parts, name=turn.name)
        add("message", said, *turn.rounds, *turn.results)
        prompt = Prompt(tuple(messages), sum(s.tokens for s in sections), tuple(sections), brought, folded)
        ctx.note(prompt=prompt)
        return prompt


def _history(parts: Mapping[ContextSection, ContextPart]) -> tuple[Message, ...]:
    return parts["history"].messages if "history" in parts else ()
