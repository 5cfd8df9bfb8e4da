"""A turn that was said, as a fixture that says it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from cozy.adapters.scripted_engines import (
    KnowledgePassage,
    MemoryScript,
    ProfileScript,
    ScriptedFact,
    ScriptedMemory,
)
from cozy.events import Event, StageDegraded, ToolStarted, TurnFailed, TurnFinished
from cozy.ports.store import StoredMessage
from cozy.testing.fixture import (
    NOBODY,
    CallSpec,
    CutSpec,
    ExpectSpec,
    Fixture,
    KnowledgeSpec,
    MessageSpec,
    TurnSpec,
)
from cozy.testing.recording import Answer, Given, Recorder, given
from cozy.turn import Message, Turn


def fixture_of(
    turn: Turn,
    events: Sequence[Event],
    recorder: Recorder,
    before: Sequence[StoredMessage],
    summary: str = "",
) -> Fixture:
    """The fixture of one turn; `before` are the messages that its session held."""
    models = {answer.request.model for answer in recorder.answers}
    return given(
        Fixture,
        description=f"Saved from a chat: {' '.join(turn.text.split())}",
        now=turn.received_at.astimezone(UTC).replace(microsecond=0),
        personality=turn.personality_id,
        summary=summary,
        history=tuple(_message(stored.message) for stored in before),
        knowledge=_knowledge(recorder.knowledge),
        profile=_profile(recorder.profile),
        memory=_memory(recorder.memory),
        # with one model it does not matter what it is called where the fixture runs
        model=tuple(a.reply(a.request.model if len(models) > 1 else None) for a in recorder.answers),
        turns=(_turn(turn, events, recorder.answers),),
    )


def _message(message: Message) -> MessageSpec:
    if message.role == "user":
        return given(MessageSpec, user=message.content)
    if message.role == "tool":
        return given(MessageSpec, tool=message.content, call_id=message.tool_call_id)
    calls = tuple(CallSpec(id=c.id, name=c.name, arguments=c.arguments) for c in message.tool_calls)
    return given(MessageSpec, assistant=message.content or None, calls=calls)


def _knowledge(kept: Given) -> KnowledgeSpec | None:
    if not kept.asked:
        return None
    passages = tuple(
        KnowledgePassage(
            text=p.text, source=p.source, dataset=p.dataset, score=round(min(max(p.score, 0), 1), 3)
        )
        for p in kept.passages
    )
    return given(KnowledgeSpec, passages=passages, fault=kept.fault)


def _profile(kept: Given) -> ProfileScript | None:
    if not kept.asked:
        return None
    facts = tuple(ScriptedFact(topic=f.topic, sub_topic=f.sub_topic, content=f.content) for f in kept.facts)
    return given(ProfileScript, facts=facts, fault=kept.fault)


def _memory(kept: Given) -> MemoryScript | None:
    if not kept.asked:
        return None
    items = tuple(
        ScriptedMemory(text=m.text, score=1.0 if m.score is None else round(min(max(m.score, 0), 1), 3))
        for m in kept.items
    )
    return given(MemoryScript, items=items, fault=kept.fault)


def _turn(turn: Turn, events: Sequence[Event], answers: Sequence[Answer]) -> TurnSpec:
    end = _end(events)
    stopped = isinstance(end, TurnFinished) and end.finish_reason == "interrupted"
    asked = {answer.request.model for answer in answers}
    return given(
        TurnSpec,
        say=turn.text,
        session="main" if turn.session_id else NOBODY,
        channel=turn.channel,
        language=turn.language,
        model=turn.model if turn.model in asked else None,
        interrupt=CutSpec(after=end.text) if stopped else None,
        expect=_expect(events),
    )


def _end(events: Sequence[Event]) -> TurnFinished | TurnFailed:
    if not isinstance(last := events[-1], TurnFinished | TurnFailed):
        raise TypeError("a turn's last event is TurnFinished or TurnFailed")
    return last


def _expect(events: Sequence[Event]) -> ExpectSpec:
    end = _end(events)
    tools = tuple(e.name for e in events if isinstance(e, ToolStarted))
    degraded = tuple(e.stage for e in events if isinstance(e, StageDegraded))
    return given(
        ExpectSpec,
        reply=end.text if isinstance(end, TurnFinished) and end.text else None,
        finish=end.finish_reason if isinstance(end, TurnFinished) and end.finish_reason != "stop" else None,
        error=end.code if isinstance(end, TurnFailed) else None,
        stage=end.stage if isinstance(end, TurnFailed) else None,
        tools=tools or (NOBODY,),
        degraded=degraded or (NOBODY,),
    )
