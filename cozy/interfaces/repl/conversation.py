"""Who talks to whom, in which session, and what was said last; nothing here knows of a screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cozy.engine.engine import Engine
from cozy.engine.graph import Graph
from cozy.engine.preview import welcome
from cozy.errors import CozyError, NotFound
from cozy.events import Event, TurnFailed, TurnFinished
from cozy.ports.memory import Memories
from cozy.ports.profile import Profiles
from cozy.ports.store import Session, Store, StoredMessage
from cozy.turn import SessionId, Turn, TurnId, UserId

TITLE_LENGTH = 60
SEARCHED = 200
"""Among how many sessions one is found by the beginning of its id; the whole id finds any."""
LATEST = "last"
"""In place of a session's id: the one that was talked in last."""


class Checked(Protocol):
    """What reading every personality again gives."""

    @property
    def errors(self) -> int:
        """How many; with any, the old personalities stay."""
        ...

    def text(self) -> str:
        """All that is to be said, for a terminal."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """A turn that has ended, and all that it told."""

    turn: Turn
    events: tuple[Event, ...]

    @property
    def end(self) -> TurnFinished | TurnFailed:
        last = self.events[-1]
        if not isinstance(last, TurnFinished | TurnFailed):
            raise TypeError("a turn's last event is TurnFinished or TurnFailed")
        return last


@dataclass(frozen=True, slots=True)
class Installation:
    """What the terminal needs of a running installation."""

    engine: Engine
    store: Store
    memories: Mapping[str, Memories]
    """By the name of their engine."""
    profiles: Mapping[str, Profiles]
    reload: Callable[[], Awaitable[Checked]]
    check_model: Callable[[str], None]
    """Raises CozyError for a model that there is not, or that the configuration does not allow."""
    models: Sequence[str]
    """Models to suggest; others may exist."""
    begin_turn: Callable[[], None]
    """Told before each turn."""
    save_test: Callable[[Said, str | None], Awaitable[str]]
    """Write a fixture of a turn under a path, or a name made up; gives what to tell. Raises CozyError."""


class Conversation:
    """A user, a personality, and the session that they are in."""

    def __init__(
        self, place: Installation, user_id: UserId, personality_id: str, *, model: str | None = None
    ) -> None:
        self.place = place
        self.user_id = user_id
        self.personality_id = personality_id
        self.session: Session | None = None
        """None until something is said: a session that nobody talks in is not kept."""
        self.model = model
        """In place of the personality's own."""
        self.last: Said | None = None

    @property
    def graph(self) -> Graph:
        """Raises NotFound where a reload has taken the personality away."""
        return self.place.engine.library.graph(self.personality_id)

    @property
    def models(self) -> tuple[str, ...]:
        """What is asked, the first that answers."""
        return (self.model,) if self.model else self.graph.persona.model.names

    def welcome(self) -> str:
        """What the personality says first; empty where it says nothing. Raises TemplateFailed."""
        return welcome(self.graph, Turn("", self.user_id, self.personality_id))

    async def turn(self, text: str, *, retry_of: TurnId | None = None) -> Turn:
        """A turn of this conversation; the first one makes the session. Raises StorageError, NotFound."""
        self.place.begin_turn()
        keeps = any(node.settles for node in self.graph.nodes)
        if self.session is None and keeps:
            self.session = await self.place.store.create_session(
                self.user_id, self.personality_id, title=title_of(text)
            )
        return Turn(
            text=text,
            user_id=self.user_id,
            personality_id=self.personality_id,
            session_id=self.session.id if self.session else None,
            channel="terminal",
            model=self.model,
            retry_of=retry_of,
        )

    async def again(self) -> Turn:
        """The last turn once more, in its own place. Raises CozyError where nothing was said."""
        if self.last is not None:
            return await self.turn(self.last.turn.text, retry_of=self.last.turn.id)
        for stored in reversed(await self.messages(limit=200)):
            if stored.message.role == "user":
                return await self.turn(stored.message.content, retry_of=stored.turn_id)
        raise CozyError("nothing has been said yet")

    async def messages(self, *, limit: int) -> Sequence[StoredMessage]:
        """The last messages of the session, oldest first."""
        if self.session is None:
            return ()
        return await self.place.store.messages(self.user_id, self.session.id, limit=limit)

    def start_anew(self, personality_id: str | None = None) -> None:
        """Leave the session; with an id, for another personality. Raises NotFound."""
        if personality_id is not None:
            self.place.engine.library.graph(personality_id)
            self.personality_id = personality_id
        self.session = self.last = None

    async def resume(self, name: str) -> Session:
        """Go on with a session: its id, the beginning of it, or `last`. Raises NotFound."""
        session = await find_session(self.place.store, self.user_id, name)
        self.place.engine.library.graph(session.personality_id)
        self.session, self.personality_id, self.last = session, session.personality_id, None
        return session


async def find_session(store: Store, user_id: UserId, name: str) -> Session:
    """A user's session by the beginning of its id, or `last`. Raises CozyError where there is not one."""
    sessions = await store.sessions(user_id, limit=SEARCHED)
    found = sessions[:1] if name == LATEST else [s for s in sessions if str(s.id).startswith(name.lower())]
    if len(found) > 1:
        raise CozyError(f"more than one session begins with `{name}`", hint="give more of its id")
    if found:
        return found[0]
    try:
        return await store.session(user_id, SessionId(UUID(name)))
    except ValueError:
        raise NotFound("session", name, known=[str(s.id) for s in sessions[:5]]) from None


def title_of(text: str) -> str:
    """A session's title, from the first words said in it."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1]}…"
