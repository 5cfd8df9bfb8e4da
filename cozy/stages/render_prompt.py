"""What fits → messages, stable parts first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cozy.stages.base import StageContext, StageSettings
from cozy.stages.budget import join
from cozy.stages.prompting import MESSAGE_TOKENS, context_text, message_tokens, system_text, user_text
from cozy.stages.registry import stage
from cozy.stages.values import Budgeted, ContextPart, Prompt, PromptSection, Section
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
            parts, system, brought = context.parts, context.system, context.context
            measured = {section.section: section.kept for section in context.report.sections}
        else:
            parts = join(context)
            system, brought, measured = system_text(parts, ctx), context_text(parts, ctx), {}
        model = ctx.turn.model or ctx.persona.model.names[0]
        count = ctx.ports.tokens.count
        messages: list[Message] = []
        sections: list[PromptSection] = []

        def add(section: Section, new: Sequence[Message], tokens: int) -> None:
            first = len(messages)
            messages.extend(new)
            sections.append(PromptSection(section, first, len(messages) - 1, tokens))

        if system:
            add("system", [Message("system", system)], count(system, model) + MESSAGE_TOKENS)
        if ctx.persona.tools_text:
            add("tools", [], count(ctx.persona.tools_text, model))
        history = parts["history"].messages if "history" in parts else ()
        if history:
            tokens = measured.get("history") or sum(message_tokens(m, model, ctx) for m in history)
            add("history", history, tokens)
        text = user_text(brought, ctx.turn.text)
        # 3 more tokens open the reply
        add("message", [Message("user", text, parts=ctx.turn.parts)], count(text, model) + 2 * MESSAGE_TOKENS)
        prompt = Prompt(tuple(messages), sum(s.tokens for s in sections), tuple(sections), brought)
        ctx.note(prompt=prompt)
        return prompt
