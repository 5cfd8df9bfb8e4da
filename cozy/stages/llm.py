"""Messages → Generation, streamed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from cozy.errors import EngineError
from cozy.events import TextDelta
from cozy.ports.llm import LLMRequest
from cozy.stages.base import Names, StageContext, StageSettings, TemplateText
from cozy.stages.generate import first_that_answers
from cozy.stages.model import ModelSettings
from cozy.stages.prompting import MESSAGE_TOKENS
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
    """Models to try in turn while no word has been spoken; over the model's own."""
    fallback_text: str = ""
    """What is said when no model answers."""


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
        tokens = prompt.tokens
        if "ask" in ctx.node.templates:
            ask = Message("user", ctx.node.templates["ask"].render(ctx.variables))
            tokens += ctx.ports.tokens.count(ask.content, request.model) + MESSAGE_TOKENS
            request = replace(request, messages=(*request.messages, ask))
        models = (ctx.turn.model,) if ctx.turn.model else choice.names
        before = len(ctx.spoken)
        try:
            return await first_that_answers(request, models, tokens, ctx)
        except EngineError as error:
            if not self.settings.fallback_text or len(ctx.spoken) > before:
                raise
            ctx.note(fallback_text=error.message)
            if ctx.node.speaks:
                await ctx.emit(TextDelta(self.settings.fallback_text, ctx.node.id))
            return Generation(text=self.settings.fallback_text, model=models[-1], request=request)
