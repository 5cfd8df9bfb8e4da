"""What is remembered of a user: sentences (memory) and facts by topic (profile), seen as one list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cozy.errors import CozyError, NotFound
from cozy.ports.memory import Memories, MemoryItem
from cozy.ports.profile import ProfileFact, Profiles
from cozy.turn import UserId

EVERYTHING = "all"


@dataclass(frozen=True, slots=True)
class Remembered:
    """Everything that is known of a user."""

    items: tuple[MemoryItem, ...]
    facts: tuple[ProfileFact, ...]

    def __bool__(self) -> bool:
        return bool(self.items or self.facts)

    @property
    def texts(self) -> Mapping[str, str]:
        """What stands under each id."""
        return {m.id: m.text for m in self.items} | {f.id: f"{f.sub_topic}: {f.content}" for f in self.facts}


@dataclass(frozen=True, slots=True)
class Remembrance:
    """Both ports, for one user."""

    memories: Memories
    profiles: Profiles
    user_id: UserId

    async def everything(self) -> Remembered:
        items = await self.memories.items(self.user_id)
        return Remembered(tuple(items), tuple(await self.profiles.facts(self.user_id)))

    async def edit(self, name: str, text: str) -> None:
        """Put other words under an id, or the beginning of one. Raises NotFound."""
        if not text.strip():
            raise CozyError("nothing to put in its place", hint=f"`forget {name}` takes it away")
        id_, is_fact = await self._find(name)
        await (self.profiles if is_fact else self.memories).edit(self.user_id, id_, text)

    async def forget(self, name: str) -> int:
        """Forget one thing, by the beginning of its id, or `all`; gives how much went. Raises NotFound."""
        if name == EVERYTHING:
            return await self.memories.forget(self.user_id) + await self.profiles.forget(self.user_id)
        id_, is_fact = await self._find(name)
        return await (self.profiles if is_fact else self.memories).forget(self.user_id, id_)

    async def _find(self, name: str) -> tuple[str, bool]:
        known = await self.everything()
        found = [id_ for id_ in known.texts if id_.startswith(name.lower())]
        if len(found) > 1:
            raise CozyError(f"more than one thing begins with `{name}`", hint="give more of its id")
        if not found or not name:
            raise NotFound("memory", name)
        return found[0], any(fact.id == found[0] for fact in known.facts)
