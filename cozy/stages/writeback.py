"""What a turn teaches, for memory and profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import uuid5

from pydantic import BeforeValidator

from cozy.ports.store import Job
from cozy.stages.base import StageContext, StageSettings, many
from cozy.stages.registry import stage
from cozy.stages.values import Queued, Reply, Saved

Target = Literal["memory", "profile"]


class WritebackSettings(StageSettings):
    targets: Annotated[tuple[Target, ...], BeforeValidator(many)] = ("memory", "profile")
    """What is taught: `memory`, `profile`."""


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
        with a message whose turn has taught already.
        """
        turn = ctx.turn
        if not turn.personalized or turn.rounds or reply.is_fallback or not turn.text.strip():
            return ()
        payload = {
            "request_id": turn.request_id,
            "turn_id": str(turn.id),
            "session_id": str(turn.session_id) if turn.session_id else None,
            "personality_id": turn.personality_id,
            "model": reply.model,
            "user": turn.text,
            "assistant": reply.text,
        }
        targets = (f"{target}/{ctx.persona.engines.of(target)}" for target in self.settings.targets)
        return tuple(Job(uuid5(turn.id, target), target, turn.user_id, payload) for target in targets)

    async def run(self, saved: Saved, ctx: StageContext) -> Queued:
        if saved.jobs:
            ctx.ports.wake_workers()
        return Queued(saved.jobs)
