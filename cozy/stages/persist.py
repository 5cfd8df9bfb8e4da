"""Turn, Reply → Saved, in one transaction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cozy.errors import NoAnswer
from cozy.ports.store import TurnRecord, TurnStatus
from cozy.stages.base import StageContext, StageSettings
from cozy.stages.registry import stage
from cozy.stages.values import Generation, Reply, Saved
from cozy.turn import Message, Turn


class PersistSettings(StageSettings):
    pass


@stage("persist")
@dataclass(frozen=True, slots=True)
class Persist:
    """Store the user's message and the answer, with the jobs of what follows, in one transaction."""

    settings: PersistSettings

    async def run(self, reply: Reply | Generation, ctx: StageContext) -> Saved:
        if isinstance(reply, Generation):
            if reply.request is None:
                raise NoAnswer("no stage that speaks has run")
            reply = Reply.of(reply)
        return await self._save(reply, "complete", ctx)

    async def settle(self, partial: Reply, ctx: StageContext) -> Saved:
        """Keep what was said of a turn that was cut off or failed."""
        if partial.error:
            status: TurnStatus = "failed"
        else:
            status = "interrupted" if partial.finish_reason == "interrupted" else "complete"
        return await self._save(partial, status, ctx)

    async def _save(self, reply: Reply, status: TurnStatus, ctx: StageContext) -> Saved:
        turn = ctx.turn
        jobs = tuple(ctx.jobs(reply)) if status == "complete" else ()
        pending = _unseen(reply) if turn.session_id is None else ()
        if turn.session_id is not None or jobs or turn.request is not None or pending:
            record = TurnRecord(
                turn_id=turn.id,
                user_id=turn.user_id,
                session_id=turn.session_id,
                personality_id=turn.personality_id,
                messages=(*_said(turn), *reply.messages),
                status=status,
                tokens=ctx.usage.total_tokens,
                metadata=_facts(reply, ctx),
                jobs=jobs,
                # a retry that came to nothing leaves the answer that was there
                retry_of=turn.retry_of if status == "complete" or reply.text else None,
                request=turn.request,
                reply=_told(reply, ctx) if turn.request is not None else None,
                said_at=turn.received_at,
                pending=pending,
            )
            await ctx.ports.store.save_turn(record)
        return Saved(turn.id, turn.session_id, status, tuple(job.id for job in jobs))


def _said(turn: Turn) -> tuple[Message, ...]:
    """What the turn brings to the answer: of one that goes on with a stored turn, only the results."""
    if turn.resumes is not None:
        return turn.results
    return (Message("user", turn.text, parts=turn.parts, name=turn.name), *turn.rounds, *turn.results)


def _unseen(reply: Reply) -> tuple[Message, ...]:
    """The answer's messages, where a client that is to go on with it does not see them all."""
    return reply.messages if reply.tool_calls and len(reply.messages) > 1 else ()


def _told(reply: Reply, ctx: StageContext) -> dict[str, Any]:
    """What a client is told, to be told again."""
    return {
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "tool_calls": [asdict(call) for call in reply.tool_calls],
        "usage": asdict(ctx.usage),
        "model": reply.model,
        "error": reply.error,
        "degraded": [
            {"stage": d.stage, "code": d.code, "elapsed_ms": round(d.seconds * 1000, 2)} for d in ctx.degraded
        ],
        "engines": [{"stage": stage, **record.facts()} for stage, record in ctx.engines],
    }


def _facts(reply: Reply, ctx: StageContext) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": ctx.usage.prompt_tokens,
        "completion_tokens": ctx.usage.completion_tokens,
        "channel": ctx.turn.channel,
    }
    if ctx.degraded:
        facts["degraded"] = [{"stage": d.stage, "code": d.code} for d in ctx.degraded]
    if reply.is_fallback:
        facts["fallback_text"] = True
    if reply.error:
        facts["error"] = reply.error
    if ctx.turn.retry_of is not None:
        facts["retry_of"] = str(ctx.turn.retry_of)
    return facts
