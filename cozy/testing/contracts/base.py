"""What the contracts share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

import anyio
import pytest

from cozy.ports.knowledge import Passage
from cozy.ports.memory import Exchange, MemoryItem
from cozy.turn import Message, TurnId, UserId

# else a test that fails would not tell what it compared
pytest.register_assert_rewrite(
    *(f"cozy.testing.contracts.{part}" for part in ("knowledge", "memories", "profiles"))
)

AT_ONCE = 50
CHINESE = "用户对花生过敏，住在上海浦东，養了兩隻貓🌸"


async def at_once(count: int, call: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """What so many calls side by side give, in their order."""
    results: list[Any] = [None] * count

    async def one(place: int) -> None:
        results[place] = await call(place)

    async with anyio.create_task_group() as tasks:
        for place in range(count):
            tasks.start_soon(one, place)
    return results


async def raises(kind: type[Exception], call: Awaitable[Any]) -> None:
    """That the call ends in an error of this kind."""
    try:
        result = await call
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected, and {result!r} came")


def is_ranked(items: Sequence[Passage | MemoryItem], top_k: int) -> bool:
    """At most so many, best first, each score from 0 to 1, each thing once."""
    scores = [item.score for item in items]
    known = [score for score in scores if score is not None]
    return (
        len(items) <= top_k
        and known == scores == sorted(known, reverse=True)
        and all(0 <= score <= 1 for score in known)
        and len({item.id for item in items}) == len(items)
    )


class Contract:
    """What a subclass may change: the model, and how users come to be."""

    model = "demo/demo"
    """`provider/name` of the model that extraction may use."""

    async def new_user(self) -> UserId:
        """A user whom nobody has seen before; override it where one has to be known somewhere first."""
        return UserId(uuid4())

    def exchange(self, user_id: UserId, *said: str) -> Exchange:
        """A finished turn: the user's words first, then in turns."""
        messages = tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(said))
        return Exchange(TurnId(uuid4()), user_id, None, "default", self.model, messages)
