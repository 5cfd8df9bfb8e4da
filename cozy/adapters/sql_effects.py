"""Calls that change something, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from cozy.adapters.erased_users import is_erased
from cozy.adapters.request_rows import KEPT, REPEATED_WITHIN
from cozy.adapters.turn_attempts import attempts
from cozy.ports.effects import Effect
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import tool_effects
from cozy.turn import Turn

_OF_USER = (tool_effects.c.user_id == bindparam("user"), tool_effects.c.turn_id != bindparam("now_running"))
_OF_TURNS = tool_effects.c.turn_id.in_(bindparam("turns", expanding=True))
_OF_REQUEST = (tool_effects.c.request_key == bindparam("key")) & (
    tool_effects.c.created_at >= bindparam("since")
)
_BEFORE = (
    select(tool_effects.c.tool, tool_effects.c.arguments, tool_effects.c.result, tool_effects.c.id)
    .where(*_OF_USER, or_(_OF_TURNS, _OF_REQUEST))
    .order_by(tool_effects.c.created_at)
)
_ONE = tool_effects.c.id == bindparam("effect")
_KEEP = update(tool_effects).where(_ONE).values(result=bindparam("came_of_it"))
_DROP = delete(tool_effects).where(_ONE)


@dataclass(frozen=True, slots=True)
class SqlEffects:
    """Fills the Effects port."""

    database: Database

    async def before(self, turn: Turn) -> Sequence[Effect]:
        mark = turn.request
        values = {
            "user": turn.user_id,
            "now_running": turn.id,
            "key": mark.key if mark else None,
            "since": utc_now() - (KEPT if mark and mark.claimed else REPEATED_WITHIN),
        }

        def work(connection: Connection) -> list[Effect]:
            again = attempts(connection, turn.user_id, turn.retry_of)
            return [Effect(*row) for row in connection.execute(_BEFORE, values | {"turns": again})]

        return await self.database.read(work)

    async def begin(self, turn: Turn, effect: Effect) -> None:
        row = {
            "id": effect.id,
            "turn_id": turn.id,
            "user_id": turn.user_id,
            "session_id": turn.session_id,
            "request_key": turn.request.key if turn.request else None,
            "tool": effect.tool,
            "arguments": effect.arguments,
            "created_at": utc_now(),
        }

        def work(connection: Connection) -> None:
            if not is_erased(connection, turn.user_id, turn.received_at):
                connection.execute(insert(tool_effects), row)

        await self.database.write(work)

    async def end(self, effect: Effect) -> None:
        if effect.result is None:
            statement, values = _DROP, {"effect": effect.id}
        else:
            statement, values = _KEEP, {"effect": effect.id, "came_of_it": effect.result}
        await self.database.write(lambda connection: connection.execute(statement, values))
