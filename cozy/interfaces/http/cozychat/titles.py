"""A title for a conversation that nobody has named, once it is long enough to have a subject."""

from __future__ import annotations

import re
from collections.abc import Sequence

import anyio

from cozy.errors import EngineError
from cozy.interfaces.http.cozychat.sessions import UNTITLED, said_in
from cozy.interfaces.http.service import Service
from cozy.interfaces.titles import AROUND, LONGEST, cut, first_words
from cozy.ports.llm import LLM, LLMRequest, TextChunk
from cozy.settings import DEMO_MODEL
from cozy.turn import Message, Sampling, Turn

MORE_THAN = 6
"""Messages after which a title is due."""
READ = 10
"""Messages, from the first, that a title is made from."""
WITHIN_S = 10.0
_LONGEST_ANSWER = 400
_LONGEST_MESSAGE = 500

_ASKED = """\
为下面这段对话起一个标题，用对话所用的语言，不超过二十个字。只回答标题本身，不要引号，不要句号，不要解释。
Give this conversation a title in its own language: at most eight words, no quotes, nothing else.

"""
_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL)
_PREFIX = re.compile(r"^\W*(标题|對話標題|对话标题|title|subject)\s*[:：]\s*", re.IGNORECASE)


async def give_title(service: Service, turn: Turn) -> None:
    """Name the turn's session, where it is still without a name and long enough.

    The first words of the user stand there at once, as the client reads its list a moment after the reply;
    what the personality's model finds takes their place, unless somebody has renamed it by then.

    Raises NotFound where the session is gone, StorageError.
    """
    if turn.session_id is None:
        return
    store, sessions = service.engine.ports.store, service.sessions
    session = await store.session(turn.user_id, turn.session_id)
    if session.title not in (None, UNTITLED) or session.message_count <= MORE_THAN:
        return
    said = list(said_in(await store.messages(turn.user_id, turn.session_id)))
    if len(said) <= MORE_THAN:
        return
    first = [(message.role, message.content) for message in said[:READ]]
    plain = first_words(next((content for role, content in first if role == "user"), ""))
    unnamed: Sequence[str | None] = (UNTITLED, None)
    if plain:
        session = await sessions.change(turn.user_id, turn.session_id, title=plain, only_if_title=unnamed)
        unnamed = (plain,)
    if session.title not in unnamed:
        return
    model = service.engine.library.graph(turn.personality_id).persona.model.names[0]
    found = await _found(service.engine.ports.llm, model, first)
    if found and found != plain:
        await sessions.change(turn.user_id, turn.session_id, title=found, only_if_title=unnamed)


async def _found(llm: LLM, model: str, said: Sequence[tuple[str, str]]) -> str:
    """What a model calls a conversation; empty where it fails, takes too long or answers nonsense."""
    if model == DEMO_MODEL:  # it would tell that it is one
        return ""
    told = "\n".join(f"{role}: {content[:_LONGEST_MESSAGE]}" for role, content in said)
    request = LLMRequest(
        model,
        (Message("user", _ASKED + told),),
        sampling=Sampling(temperature=0.3, max_tokens=_LONGEST_ANSWER),
    )
    heard = ""
    with anyio.move_on_after(WITHIN_S) as patience:
        try:
            async with llm.stream(request) as chunks:
                async for chunk in chunks:
                    heard += chunk.text if isinstance(chunk, TextChunk) else ""
        except EngineError:
            return ""
    return "" if patience.cancelled_caught else as_title(heard)


def as_title(answer: str) -> str:
    """A model's answer as a title; empty where it is none."""
    lines = [line.strip() for line in _THOUGHT.sub("", answer).splitlines() if line.strip()]
    if not lines or len(lines) > 2:  # it goes on with the conversation, or explains itself
        return ""
    title = _PREFIX.sub("", lines[0]).strip(AROUND)
    title = " ".join(title.split())
    if not any(c.isalnum() for c in title) or title == UNTITLED or len(title) > 2 * LONGEST:
        return ""
    return cut(title)
