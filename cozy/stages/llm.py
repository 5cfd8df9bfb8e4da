"""Messages → Generation, streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import uuid5

from cozy.errors import PromptTooLarge, TurnError, did_you_mean
from cozy.ports.llm import LLMRequest
from cozy.stages.base import Names, StageContext, StageSettings, TemplateText
from cozy.stages.generate import first_that_answers
from cozy.stages.model import ModelSettings
from cozy.stages.prompting import message_tokens, request_tokens
from cozy.stages.registry import stage
from cozy.stages.values import Generation, Prompt
from cozy.turn import Message, Turn


class ToolNotOffered(TurnError):
    code = "VALIDATION_TOOL_CHOICE"

    def __init__(self, name: str, offered: Sequence[str]) -> None:
        super().__init__(f"the tool `{name}` is not offered in this turn", hint=did_you_mean(name, offered))


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
            tools=ctx.tools.to(ctx.node),
            sampling=choice.sampling,
            user=end_user(ctx.turn),
        )
        if ctx.node.speaks:
            request = _as_asked(request, ctx.turn)
        if "ask" in ctx.node.templates:
            ask = Message("user", ctx.node.templates["ask"].render(ctx.variables))
            request = replace(request, messages=(*request.messages, ask))
        named = ctx.turn.model if not ctx.node.own_model else None
        models = _large_enough((named,) if named else choice.names, request, prompt, ctx)
        return await first_that_answers(request, models, self.settings.fallback_text, ctx)


def end_user(turn: Turn) -> str:
    """Whom a model's server is told: no name, and for each user of a client another."""
    return str(uuid5(turn.user_id, turn.end_user) if turn.end_user else turn.user_id)


def _as_asked(request: LLMRequest, turn: Turn) -> LLMRequest:
    """The request of the stage that speaks, as the client wants it."""
    if turn.sampling is not None:
        request = replace(request, sampling=turn.sampling.over(request.sampling))
    if not request.tools:
        return request
    choice = turn.tool_choice
    if choice not in ("auto", "none", "required") and all(tool.name != choice for tool in request.tools):
        raise ToolNotOffered(choice, [tool.name for tool in request.tools])
    if choice == "auto" and turn.parallel_tool_calls is None:
        return request
    return replace(request, tool_choice=choice, parallel_tool_calls=turn.parallel_tool_calls)


def _large_enough(
    models: tuple[str, ...], request: LLMRequest, prompt: Prompt, ctx: StageContext
) -> tuple[str, ...]:
    """The models that can read the request and then answer. Raises PromptTooLarge if there is none."""
    choice = ctx.node.model or ctx.persona.model
    large: list[str] = []
    small: dict[str, tuple[int, int]] = {}
    for model in models:
        needed = request_tokens(replace(request, model=model), ctx)
        room = choice.window(model, ctx.ports.llm.card(model)) - (request.sampling.max_tokens or 0)
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
