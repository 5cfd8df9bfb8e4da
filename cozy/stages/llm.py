"""Messages → Generation, streamed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from cozy.errors import PromptTooLarge
from cozy.ports.llm import LLMRequest
from cozy.stages.base import Names, StageContext, StageSettings, TemplateText
from cozy.stages.generate import first_that_answers
from cozy.stages.model import ModelSettings
from cozy.stages.prompting import message_tokens, request_tokens
from cozy.stages.registry import stage
from cozy.stages.values import Generation, Prompt
from cozy.turn import Message


class LlmSettings(StageSettings):
    model: ModelSettings = ModelSettings()
    """What differs from the personality's model."""
    ask: TemplateText = ""
    """A template that becomes the last message of the prompt."""
    visible: bool = False
    """Its words reach the user. Needed only where a pipeline has several `llm` stages."""
    fallbacks: Names = ()
    """Models to try in turn while no word has been spoken; over the model's own. Each but the last has its
    share of the time that is left to begin its answer in."""
    fallback_text: str = ""
    """What is said when no model answers, or none begins to while there is time to say this."""


@stage("llm")
@dataclass(frozen=True, slots=True)
class Llm:
    """Ask a model, and stream what it says."""

    settings: LlmSettings
    reads: ClassVar[bool] = True

    def empty(self) -> Generation:
        return Generation()

    async def run(self, prompt: Prompt, ctx: StageContext) -> Generation:
        choice = ctx.node.model or ctx.persona.model
        request = LLMRequest(
            model=choice.names[0],
            messages=prompt.messages,
            tools=tuple(t.spec for t in ctx.persona.tools) if ctx.node.offers_tools else (),
            sampling=choice.sampling,
            user=str(ctx.turn.user_id),
        )
        if "ask" in ctx.node.templates:
            ask = Message("user", ctx.node.templates["ask"].render(ctx.variables))
            request = replace(request, messages=(*request.messages, ask))
        named = ctx.turn.model if not ctx.node.own_model else None
        models = _large_enough((named,) if named else choice.names, request, prompt, ctx)
        return await first_that_answers(request, models, self.settings.fallback_text, ctx)


def _large_enough(
    models: tuple[str, ...], request: LLMRequest, prompt: Prompt, ctx: StageContext
) -> tuple[str, ...]:
    """The models that can read the request and then answer. Raises PromptTooLarge if there is none."""
    choice = ctx.node.model or ctx.persona.model
    large: list[str] = []
    small: dict[str, tuple[int, int]] = {}
    for model in models:
        needed = request_tokens(replace(request, model=model), ctx)
        room = choice.window(model, ctx.ports.llm.card(model)) - (choice.sampling.max_tokens or 0)
        if needed <= room:
            large.append(model)
        else:
            small[model] = needed, room
    if not large:
        needed, room = small[models[0]]
        sections = {s.section: s.tokens for s in prompt.sections if s.section != "tools" or request.tools}
        asked = request.messages[len(prompt.messages) :]
        ask = sum(message_tokens(message, models[0], ctx) for message in asked)
        raise PromptTooLarge(needed, room, {**sections, "ask": ask})
    if small:
        ctx.note(too_small=", ".join(small))
    return tuple(large)
