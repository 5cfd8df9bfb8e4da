"""Conversations: made with a welcome, listed, read, renamed, archived, deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from cozy.engine.graph import Graph
from cozy.engine.preview import welcome
from cozy.errors import NotFound, TemplateFailed
from cozy.interfaces.http.cozychat.routes import (
    Done,
    Given,
    Moment,
    Taken,
    TakenMoment,
    also,
    route,
    session_in,
)
from cozy.interfaces.http.endpoint import Call
from cozy.interfaces.http.service import Service
from cozy.ports.sessions import Order, SessionFilter, SessionSort, Words
from cozy.ports.store import Session, StoredMessage
from cozy.turn import SessionId, Turn, UserId

UNTITLED = "新会话"
"""The title of a session that nobody has named."""
LONGEST_TITLE = 255
MOST_SPOKEN = 2000
"""Messages of one voice call."""
BETWEEN = "\n\n"
"""What stands between the words before a tool ran and those after it."""

_log = logging.getLogger("cozy.http")

Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_TITLE)]


# -- what is taken and given ---------------------------------------------------------------------------


class NewSession(Taken):
    title: Title | None = None
    personality_id: str | None = Field(default=None, max_length=64)


class MadeSession(Given):
    session_id: str
    personality_id: str
    title: str
    created_at: Moment


class SessionQuery(Taken):
    sort: SessionSort = "last_message_at"
    order: Order = "desc"
    page: int = Field(default=1, ge=1, le=1_000_000)
    page_size: int = Field(default=20, ge=1, le=100)
    personality_id: str | None = Field(default=None, max_length=64)
    archived: bool | Literal["all"] = False


class SessionItem(Given):
    session_id: str
    personality_id: str
    personality_name: str | None
    """None: there is no such personality any more."""
    title: str
    message_count: int
    last_message_at: Moment | None
    created_at: Moment
    archived: bool


class SessionList(Given):
    sessions: list[SessionItem]
    total: int
    page: int
    page_size: int


class SaidMessage(Given):
    id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: Moment
    metadata: dict[str, Any]


class SessionDetail(Given):
    session_id: str
    personality_id: str
    title: str
    messages: list[SaidMessage]
    """Oldest first; a question stands before its reply."""
    total_messages: int
    created_at: Moment
    archived: bool


class MessageQuery(Taken):
    limit: int | None = Field(default=None, ge=1, le=10_000)
    """The last so many; all of them where it is left out."""


class MessageList(Given):
    session_id: str
    messages: list[SaidMessage]
    total_messages: int


class SessionChange(Taken):
    title: Annotated[Title, Field(min_length=1, json_schema_extra={"pattern": r"\S"})] | None = None
    archived: bool | None = None


class ChangedSession(Given):
    session_id: str
    title: str
    archived: bool
    updated_at: Moment


class DeletedSession(Done):
    session_id: str


class SpokenMessage(Taken):
    role: Literal["user", "assistant"]
    content: str = Field(max_length=100_000)
    timestamp: TakenMoment | None = None
    """When it was said; one in the future counts as now."""

    def words(self, now: datetime) -> Words:
        at = min(self.timestamp, now) if self.timestamp else None
        return Words(self.role, self.content, at, {"is_voice_call": True})


class VoiceCall(Taken):
    session_id: str = Field(json_schema_extra={"format": "uuid"})
    messages: list[SpokenMessage] = Field(max_length=MOST_SPOKEN)


class SavedCall(Done):
    saved_count: int
    session_id: str


# -- routes --------------------------------------------------------------------------------------------


@route("POST", "/v1/sessions", body=NewSession, gives=MadeSession, status=201, errors=(404,))
async def create(call: Call[NewSession, None]) -> MadeSession:
    """Begin a conversation; a personality that has a welcome says it."""
    service, user_id = call.service, call.caller.user_id
    graph = service.engine.library.graph(call.body.personality_id or "default")
    call.exchange.personality_id = graph.id
    words = _welcome(graph, user_id)
    session = await service.sessions.create(
        user_id,
        graph.id,
        title=call.body.title or UNTITLED,
        first=[Words("assistant", words, metadata={"is_welcome": True})] if words else [],
    )
    call.exchange.session_id = session.id
    return MadeSession(
        session_id=str(session.id),
        personality_id=session.personality_id,
        title=title_of(session),
        created_at=session.created_at,
    )


def _welcome(graph: Graph, user_id: UserId) -> str:
    """What the personality says first; a template that fails is no reason not to begin."""
    try:
        return welcome(graph, Turn("", user_id, graph.id, channel="http"))
    except TemplateFailed:
        _log.warning("the welcome could not be said", extra={"personality_id": graph.id})
        return ""


@route("GET", "/v1/sessions", query=SessionQuery, gives=SessionList)
async def list_(call: Call[None, SessionQuery]) -> SessionList:
    """List one's conversations, page by page."""
    query, service = call.query, call.service
    which = SessionFilter(
        personality_id=query.personality_id,
        archived=None if query.archived == "all" else query.archived,
        sort=query.sort,
        order=query.order,
    )
    offset = (query.page - 1) * query.page_size
    page = await service.sessions.page(call.caller.user_id, which, limit=query.page_size, offset=offset)
    return SessionList(
        sessions=[_item(session, service) for session in page.sessions],
        total=page.total,
        page=query.page,
        page_size=query.page_size,
    )


@route("GET", "/v1/sessions/{session_id}", gives=SessionDetail)
async def show(call: Call[None, None]) -> SessionDetail:
    """Give one conversation with all that was said in it."""
    session, said = await _read(call)
    return SessionDetail(
        session_id=str(session.id),
        personality_id=session.personality_id,
        title=title_of(session),
        messages=said,
        total_messages=len(said),
        created_at=session.created_at,
        archived=session.archived_at is not None,
    )


@route("GET", "/v1/sessions/{session_id}/messages", query=MessageQuery, gives=MessageList)
async def messages(call: Call[None, MessageQuery]) -> MessageList:
    """Give what was said in one conversation."""
    session, said = await _read(call)
    last = said[-call.query.limit :] if call.query.limit else said
    return MessageList(session_id=str(session.id), messages=last, total_messages=len(said))


@route("PUT", "/v1/sessions/{session_id}", body=SessionChange, gives=ChangedSession)
async def change(call: Call[SessionChange, None]) -> ChangedSession:
    """Rename a conversation, or put it into the archive and take it out."""
    wanted = call.body
    return await _change(call, session_in(call), title=wanted.title, archived=wanted.archived)


@route("POST", "/v1/sessions/{session_id}/archive", gives=ChangedSession)
async def archive(call: Call[None, None]) -> ChangedSession:
    """Put a conversation into the archive."""
    return await _change(call, session_in(call), archived=True)


@route("POST", "/v1/sessions/{session_id}/unarchive", gives=ChangedSession)
async def unarchive(call: Call[None, None]) -> ChangedSession:
    """Take a conversation out of the archive."""
    return await _change(call, session_in(call), archived=False)


@route("DELETE", "/v1/sessions/{session_id}", gives=DeletedSession)
async def delete(call: Call[None, None]) -> DeletedSession:
    """Delete a conversation."""
    session_id = session_in(call)
    await call.service.sessions.delete(call.caller.user_id, session_id)
    return DeletedSession(message="the session is deleted", session_id=str(session_id))


@route("POST", "/v1/chat/voice-call-messages", body=VoiceCall, gives=SavedCall, errors=(404,))
async def save_call(call: Call[VoiceCall, None]) -> SavedCall:
    """Keep what was said in a voice call, which went past this server."""
    session_id = session_in(call, call.body.session_id)
    now = datetime.now(UTC)
    words = [message.words(now) for message in call.body.messages if message.content.strip()]
    count = await call.service.sessions.append(call.caller.user_id, session_id, words)
    return SavedCall(message="the call is saved", saved_count=count, session_id=str(session_id))


# -- in between ----------------------------------------------------------------------------------------


def title_of(session: Session) -> str:
    return session.title or UNTITLED


def said_in(rows: Iterable[StoredMessage]) -> Iterator[SaidMessage]:
    """What a person has seen of a conversation: no tools, no empty words, one reply for each turn."""
    for _, turn in groupby(rows, lambda row: row.turn_id):
        seen = [row for row in turn if row.message.role in ("user", "assistant") and row.message.content]
        for role, same in groupby(seen, lambda row: row.message.role):
            yield _said(role, list(same))


def _said(role: str, rows: Sequence[StoredMessage]) -> SaidMessage:
    last = rows[-1]
    return SaidMessage(
        id=str(last.id),
        role="user" if role == "user" else "assistant",
        content=BETWEEN.join(row.message.content for row in rows),
        created_at=last.created_at,
        metadata=dict(last.metadata),
    )


async def _read(call: Call[Any, Any]) -> tuple[Session, list[SaidMessage]]:
    session_id, user_id, store = session_in(call), call.caller.user_id, call.service.engine.ports.store
    session = await store.session(user_id, session_id)
    call.exchange.personality_id = session.personality_id
    return session, list(said_in(await store.messages(user_id, session_id)))


async def _change(
    call: Call[Any, Any], session_id: SessionId, *, title: str | None = None, archived: bool | None = None
) -> ChangedSession:
    session = await call.service.sessions.change(
        call.caller.user_id, session_id, title=title, archived=archived
    )
    return ChangedSession(
        session_id=str(session.id),
        title=title_of(session),
        archived=session.archived_at is not None,
        updated_at=session.updated_at or session.created_at,
    )


def _item(session: Session, service: Service) -> SessionItem:
    return SessionItem(
        session_id=str(session.id),
        personality_id=session.personality_id,
        personality_name=_name(session.personality_id, service),
        title=title_of(session),
        message_count=session.message_count,
        last_message_at=session.last_message_at,
        created_at=session.created_at,
        archived=session.archived_at is not None,
    )


def _name(personality_id: str, service: Service) -> str | None:
    try:
        return service.engine.library.graph(personality_id).persona.about.name
    except NotFound:
        return None


ENDPOINTS = (
    create,
    list_,
    show,
    messages,
    change,
    archive,
    unarchive,
    delete,
    also(create, "/v1/chat/sessions"),
    also(list_, "/v1/chat/sessions"),
    also(show, "/v1/chat/sessions/{session_id}"),
    also(messages, "/v1/chat/sessions/{session_id}/messages"),
    also(change, "/v1/chat/sessions/{session_id}"),
    also(archive, "/v1/chat/sessions/{session_id}/archive"),
    also(unarchive, "/v1/chat/sessions/{session_id}/unarchive"),
    also(delete, "/v1/chat/sessions/{session_id}"),
    save_call,
)
