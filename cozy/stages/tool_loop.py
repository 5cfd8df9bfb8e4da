"""Tool calls of a generation, run in a bounded number of rounds → Reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from cozy.errors import NoAnswer
from cozy.stages.base import Duration, StageContext, StageSettings
from cozy.stages.generate import BETWEEN_ROUNDS, first_that_answers
from cozy.stages.registry import stage
from cozy.stages.tool_runs import ToolRuns
from cozy.stages.values import Generation, Reply
from cozy.turn import Message, ToolCall


class ToolLoopSettings(StageSettings):
    max_rounds: int = Field(default=10, ge=1, le=100)
    """How often tools are run before the model must answer without them."""
    tool_timeout: Duration | None = None
    """How long one call may take; none given: the tool's own."""


@stage("tool_loop")
@dataclass(frozen=True, slots=True)
class ToolLoop:
    """Run the tools that the model calls and ask it again, until it answers."""

    settings: ToolLoopSettings

    async def run(self, generation: Generation, ctx: StageContext) -> Reply:
        if generation.request is None:
            raise NoAnswer("no stage that speaks has run", hint="one of the `when:` must hold on every turn")
        runs = ToolRuns(ctx, self.settings.tool_timeout)
        texts, messages, usage, rounds = [generation.text], list[Message](), generation.usage, 0
        results, clients = list[Message](), tuple[ToolCall, ...]()
        while generation.tool_calls:  # after the last round there are none, as none may be called
            ours, clients = runs.parted(generation.tool_calls)
            if ours:
                rounds += 1
                results = await runs.round(generation, ours)
            if clients:  # the client runs its own, and comes back with what they gave
                break
            new = [*generation.messages, *results]
            messages, results = [*messages, *new], []
            generation = await self._ask_again(generation, new, rounds, ctx)
            usage += generation.usage
            texts.append(generation.text)
        return Reply(
            text=BETWEEN_ROUNDS.join(t for t in texts if t),
            messages=(*messages, *generation.messages, *results),
            finish_reason=generation.finish_reason,
            usage=usage,
            model=generation.model,
            rounds=rounds,
            tool_calls=clients,
            is_fallback=generation.is_fallback,
        )

    async def _ask_again(
        self, generation: Generation, new: Sequence[Message], rounds: int, ctx: StageContext
    ) -> Generation:
        if generation.request is None:
            raise NoAnswer("no stage that speaks has run")
        # the tools stay after the last round: servers cache the prefix. Before it, a call that had to be made
        # has been made
        choice = "none" if rounds == self.settings.max_rounds else "auto"
        messages = (*generation.request.messages, *new)
        request = replace(generation.request, messages=messages, tool_choice=choice)
        models = (generation.model, *(m for m in generation.models if m != generation.model))
        return await first_that_answers(request, models, generation.fallback_text, ctx)
