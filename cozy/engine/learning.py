"""What the jobs of `writeback` teach and sum up, and what those of an erasure make forget."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from cozy.engine.worker import Handler
from cozy.errors import EngineInvalidRequest
from cozy.ports.context import EngineChoice
from cozy.ports.memory import Exchange, Memories
from cozy.ports.profile import Profiles
from cozy.ports.store import Job
from cozy.ports.summary import Summaries
from cozy.turn import Message, SessionId, TurnId


def learning(
    memories: Mapping[str, Memories],
    profiles: Mapping[str, Profiles],
    *,
    default: EngineChoice | None = None,
) -> dict[str, Handler]:
    """Who does the jobs of `writeback`, by target: engines by their names in the configuration.

    Jobs that an earlier version has left name no engine: they are the default's.
    """
    handlers: dict[str, Handler] = {}
    for kind, engines in (("memory", memories), ("profile", profiles)):
        for name, engine in engines.items():
            handlers[f"{kind}/{name}"] = _handler(engine)
    default = default or EngineChoice()
    for kind, name in (("memory", default.memory), ("profile", default.profile)):
        if (handler := handlers.get(f"{kind}/{name}")) is not None:
            handlers[kind] = handler
    return handlers


def _handler(engine: Memories | Profiles) -> Handler:
    async def work(job: Job) -> object:
        if job.kind == "erase":
            return await engine.forget(job.user_id)
        return await engine.learn(exchange_of(job))

    return work


def summarizing(summaries: Summaries) -> Handler:
    """Who keeps up the summaries of sessions. Raises EngineInvalidRequest for a job that names none."""

    async def work(job: Job) -> object:
        payload = job.payload
        try:
            session, keep, model = (
                SessionId(UUID(payload["session_id"])),
                int(payload["keep"]),
                payload["model"],
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise EngineInvalidRequest(job.target, "the job names no session") from error
        return await summaries.update(job.user_id, session, keep=keep, model=model)

    return work


def exchange_of(job: Job) -> Exchange:
    """The exchange that a job of `writeback` carries. Raises EngineInvalidRequest where it carries none."""
    payload = job.payload
    try:
        session = payload.get("session_id")
        return Exchange(
            turn_id=TurnId(UUID(payload["turn_id"])),
            user_id=job.user_id,
            session_id=SessionId(UUID(session)) if session else None,
            personality_id=payload["personality_id"],
            model=payload["model"],
            messages=(Message("user", payload["user"]), Message("assistant", payload["assistant"])),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise EngineInvalidRequest(job.target, "the job holds no exchange") from error
