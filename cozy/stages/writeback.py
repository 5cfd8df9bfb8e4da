"""What a turn teaches, for memory and profile, and the summary of its session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID, uuid5

import anyio
from pydantic import BeforeValidator, Field

from cozy.errors import EngineUnavailable, StageTimeout
from cozy.ports.store import Job
from cozy.stages.base import StageContext, StageSettings, many
from cozy.stages.registry import stage
from cozy.stages.values import ContextPart, Queued, Reply, Saved

Target = Literal["memory", "profile", "summary"]
SUMMARY: Literal["summary"] = "summary"
WAIT_S = 10.0
"""How long `sync` waits where the stage has no timeout."""


class WritebackSettings(StageSettings):
    targets: Annotated[tuple[Target, ...], BeforeValidator(many)] = ("memory", "profile")
    """What is taught: `memory`, `profile`; `summary` keeps up the summary of what the history has lost.
    Each may have a stage of its own, with a `mode` of its own."""
    mode: Literal["async", "sync"] = "async"
    """`async`: workers do it after the turn; `sync`: the turn waits until it is done, for the stage's
    `timeout` (10 s where there is none). What is late or has failed degrades the stage, and goes on."""
    history: int = Field(default=20, ge=1, le=1000)
    """`summary`: how many of the last messages the history shows, as its `limit` says; older ones are taken
    into the summary."""


@stage("writeback")
@dataclass(frozen=True, slots=True)
class Writeback:
    """Queue what the turn teaches: jobs that are stored with the turn and done after it."""

    settings: WritebackSettings

    def empty(self) -> Queued:
        return Queued()

    def jobs(self, reply: Reply, ctx: StageContext) -> Sequence[Job]:
        """One job a target, for the engine that the personality has for it. Its id follows from the turn, so
        that a turn stored twice teaches once.

        A turn without words teaches nothing, nor does one that no model has answered, nor one that goes on
        with a message whose turn has taught already. A summary is of the session, not of the user.
        """
        turn = ctx.turn
        if turn.rounds or reply.is_fallback or not turn.text.strip():
            return ()
        jobs = tuple(self._jobs(reply, ctx))
        if jobs and not ctx.ports.jobs.accepts(len(jobs)):
            ctx.note(dropped=len(jobs))
            return ()
        return jobs

    def _jobs(self, reply: Reply, ctx: StageContext) -> Iterator[Job]:
        turn = ctx.turn
        about = {
            "request_id": turn.request_id,
            "turn_id": str(turn.id),
            "session_id": str(turn.session_id) if turn.session_id else None,
            "personality_id": turn.personality_id,
            "model": reply.model,
        }
        for id_, target in self._targets(ctx):
            if target == SUMMARY:
                if turn.session_id and not self._is_short(ctx):  # the words are in the session
                    yield Job(id_, target, turn.user_id, {**about, "keep": self.settings.history})
            elif turn.personalized:
                words = {"user": turn.text, "assistant": reply.text}
                yield Job(id_, target, turn.user_id, {**about, **words})

    def _is_short(self, ctx: StageContext) -> bool:
        """Whether the history shows so little that nothing can have fallen out of it."""
        parts = (value for value in ctx.variables.values() if isinstance(value, ContextPart))
        history = max((len(part.messages) for part in parts if part.section == "history"), default=None)
        return history is not None and history < self.settings.history // 2

    async def run(self, saved: Saved, ctx: StageContext) -> Queued:
        mine = {id_: target for id_, target in self._targets(ctx) if id_ in saved.jobs}
        if mine:
            await ctx.ports.jobs.queued(len(mine))
            if self.settings.mode == "sync":
                await self._wait(mine, ctx)
        return Queued(tuple(mine))

    def _targets(self, ctx: StageContext) -> Iterator[tuple[UUID, str]]:
        """The id of each job, and who does it."""
        for kind in self.settings.targets:
            target = kind if kind == SUMMARY else f"{kind}/{ctx.persona.engines.of(kind)}"
            yield uuid5(ctx.turn.id, target), target

    async def _wait(self, mine: dict[UUID, str], ctx: StageContext) -> None:
        """Raises StageTimeout, or EngineUnavailable where one has failed: it may be tried again all the
        same."""
        most_s = self.settings.timeout or WAIT_S
        with anyio.move_on_after(most_s):
            ended = await ctx.ports.jobs.wait(mine.keys())
            for id_, progress in ended.items():
                if progress.state != "done":
                    raise EngineUnavailable(mine[id_], f"was not taught: {progress.error}")
            return
        raise StageTimeout(ctx.node.id, most_s)
