"""Ask → the turns that answer it: who answers, from which history, known by which mark."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from cozy.engine.graph import Graph
from cozy.errors import EngineInitError, InvalidRequest, NotFound, Unsupported
from cozy.interfaces.http.ask import Ask, Said, said, trailing_results
from cozy.interfaces.http.problems import UnknownModel
from cozy.interfaces.http.service import Service
from cozy.interfaces.titles import first_words
from cozy.ports.identity import Caller
from cozy.ports.store import Session, StoredMessage
from cozy.turn import Message, RequestMark, SessionId, Turn, TurnId

DEFAULT_PERSONALITY = "default"
LOOKED_BACK = 200
"""Messages of a session among which a round that waits for results is looked for."""
KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Repetition:
    """What the client's headers say of whether it has asked before."""

    key: str | None
    """`Idempotency-Key`."""
    repeated: bool
    """`x-stainless-retry-count` is above 0: the SDK has tried before."""
    body_hash: str

    @staticmethod
    def of(headers: Any, body: bytes) -> Repetition:
        """Raises InvalidRequest for a key that is none."""
        key = headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= KEY_LENGTH:
            raise InvalidRequest(
                f"`Idempotency-Key` has 1 to {KEY_LENGTH} characters", param="Idempotency-Key"
            )
        count = headers.get("x-stainless-retry-count", "0")
        repeated = count.isascii() and count.isdigit() and count.strip("0") != ""
        return Repetition(key, repeated, hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run for a request."""

    graph: Graph
    turn: Turn
    """Of the first answer; others are the same under ids of their own."""
    creates_session: bool
    """A session is to be made before the turn runs."""

    @property
    def keeps(self) -> bool:
        """Whether the personality's pipeline stores its turns."""
        return any(node.settles for node in self.graph.nodes)


async def plan(ask: Ask, caller: Caller, repetition: Repetition, request_id: str, service: Service) -> Plan:
    """Raises UnknownModel, NotFound for another's session too, InvalidRequest, Unsupported, StorageError."""
    store = service.engine.ports.store
    session: Session | None = None
    if ask.session is not None and ask.session != "new":
        session = await store.session(caller.user_id, ask.session)
    graph, model = _who_answers(ask, session, service)
    resumes: TurnId | None = None
    if session is not None:
        heard, resumes = await _in_session(ask, session, service)
    else:
        heard = await _without_session(said(ask.messages), caller, service)
    if ask.n > 1 and repetition.key is not None:
        raise Unsupported("`n` above 1 does not go with `Idempotency-Key`", param="n")
    admin = caller.role == "admin"
    turn = Turn(
        text=heard.user.content,
        user_id=caller.user_id,
        personality_id=graph.id,
        session_id=session.id if session else None,
        channel="http",
        language=ask.language,
        history=heard.history if session is None else None,
        client_system=ask.system or None,
        parts=heard.user.parts,
        name=heard.user.name,
        model=model,
        sampling=ask.sampling,
        tools=ask.tools,
        tool_choice="auto" if heard.results and ask.tool_choice != "none" else ask.tool_choice,
        parallel_tool_calls=ask.parallel_tool_calls,
        rounds=heard.rounds,
        results=heard.results,
        resumes=resumes,
        allowed_tools=ask.allowed_tools,
        denied_tools=() if admin else service.settings.tools.admins_only,
        personalized=ask.personalized,
        end_user=ask.end_user,
        request_id=request_id,
        metadata=ask.metadata,
    )
    return Plan(
        graph,
        replace(turn, request=_mark(turn, ask, graph, repetition)),
        creates_session=ask.session == "new",
    )


def _who_answers(ask: Ask, session: Session | None, service: Service) -> tuple[Graph, str | None]:
    """The personality, and the model in place of its own where the client names one."""
    library = service.engine.library
    named = ask.model if ask.model is not None and "/" not in ask.model else None
    model = ask.model if named is None else None
    if model is not None and not _is_offered(model, service):
        raise UnknownModel(model, [*library.ids(), *service.models])
    personality = ask.personality_id or named or (session.personality_id if session else DEFAULT_PERSONALITY)
    try:
        return library.graph(personality), model
    except NotFound:
        raise UnknownModel(personality, [*library.ids(), *service.models]) from None


def _is_offered(model: str, service: Service) -> bool:
    """Whether clients may name it, and there is a provider to ask for it."""
    if not any(fnmatchcase(model, pattern) for pattern in service.settings.server.models):
        return False
    try:
        service.engine.ports.llm.card(model)
    except EngineInitError:
        return False
    return True


async def _in_session(ask: Ask, session: Session, service: Service) -> tuple[Said, TurnId | None]:
    """What is new for a session whose history the server has: the last user message, or results."""
    results = trailing_results(ask.messages)
    if not results:
        if not ask.messages or ask.messages[-1].role != "user":
            raise InvalidRequest(
                "`messages`: with a session the last message is the user's, or results of tools",
                param="messages",
            )
        return Said((), ask.messages[-1]), None
    stored = await service.engine.ports.store.messages(session.user_id, session.id, limit=LOOKED_BACK)
    return _resumed(stored, results)


def _resumed(stored: Sequence[StoredMessage], results: tuple[Message, ...]) -> tuple[Said, TurnId]:
    """The exchange that these results go on with, out of a session's last messages."""
    last = next((i for i in range(len(stored) - 1, -1, -1) if stored[i].message.role == "user"), None)
    behind = [row.message for row in stored[last + 1 :]] if last is not None else []
    waiting = _unanswered(behind)
    for index, result in enumerate(results):
        if result.tool_call_id not in waiting:
            raise InvalidRequest(
                f"no call `{result.tool_call_id}` of this session waits for a result",
                param=f"messages[-{len(results) - index}].tool_call_id",
            )
    if last is None:
        raise InvalidRequest("no call of this session waits for a result", param="messages")
    return Said((), stored[last].message, tuple(behind), results), stored[-1].turn_id


def _unanswered(messages: Sequence[Message]) -> set[str | None]:
    """Calls without a result; some servers count their ids from one in every round."""
    waiting = set[str | None]()
    for message in messages:
        waiting |= {call.id for call in message.tool_calls}
        if message.role == "tool":
            waiting.discard(message.tool_call_id)
    return waiting


async def _without_session(heard: Said, caller: Caller, service: Service) -> Said:
    """The client's own history, with what of the last round it was never told."""
    if not heard.results:
        return heard
    calls = [m.tool_call_id for m in heard.results if m.tool_call_id]
    hidden = await service.requests.pending(caller.user_id, calls)
    if not hidden:
        return heard
    return replace(heard, rounds=(*heard.rounds[:-1], *hidden))


def _mark(turn: Turn, ask: Ask, graph: Graph, repetition: Repetition) -> RequestMark | None:
    """What the request is known by. Without a key of the client's: its session and body, where anything of
    it is stored or a second run would change something."""
    if repetition.key is not None:
        return RequestMark(f"key:{repetition.key}", repetition.body_hash, claimed=True)
    if ask.n > 1:
        return None
    if ask.session is not None:
        where = "new" if turn.session_id is None else str(turn.session_id)
        key = f"session:{where}:{repetition.body_hash}"
    elif any(tool.spec.side_effects for tool in graph.persona.tools):
        key = f"body:{repetition.body_hash}"
    else:
        return None
    return RequestMark(key, repetition.body_hash, repeated=repetition.repeated)


async def with_session(turn: Turn, service: Service) -> Turn:
    """The turn in a session made for it."""
    title = first_words(turn.text) or None
    session = await service.sessions.create(turn.user_id, turn.personality_id, title=title)
    return replace(turn, session_id=SessionId(session.id))
