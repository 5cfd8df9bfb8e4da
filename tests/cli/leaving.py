"""Clients who ask for a stream and leave: at a place, in a way, as planned."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import anyio

from tests.interfaces.http.raw import CHAT, Wire, request, wire_to
from tests.upstream import Answer, Hold, Received, chunk, sse, usage_chunk

WORDS = 12
"""In a whole answer."""
PATIENCE_S = 60.0
Place = Literal[
    "before the request",
    "in the request's head",
    "in the request's body",
    "before the answer",
    "in the answer's head",
    "after the answer's head",
    "after a word",
    "after [DONE]",
    "at the end",
]
Way = Literal["closes", "resets", "half closes"]
Kind = Literal["plain", "two answers", "new session", "old session", "key", "CozyChat"]
PLACES: Sequence[Place] = Place.__args__
WAYS: Sequence[Way] = Way.__args__
KINDS: Sequence[Kind] = Kind.__args__
STORED: Sequence[Kind] = ("new session", "old session", "CozyChat")
"""Whose words are kept as messages."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one client does; the same for a number whenever it is asked for."""

    number: int
    kind: Kind
    place: Place
    way: Way
    after: int
    """Words, or bytes of a head."""
    held: bool
    """The model says no more than the client waits for, and never ends; else it says everything at once."""
    again: bool
    """A client with a key comes back with it, and stays to the end."""

    @staticmethod
    def of(number: int, *, leaves: bool) -> Plan:
        dice = Random(f"stream {number}")
        return Plan(
            number=number,
            kind=dice.choice(KINDS),
            place=dice.choice(PLACES) if leaves else "at the end",
            way=dice.choice(WAYS) if leaves else "closes",
            after=dice.randrange(1, WORDS),
            held=leaves and dice.random() < 0.6,
            again=leaves and dice.random() < 0.5,
        )

    @property
    def sends_all(self) -> bool:
        return self.place not in ("before the request", "in the request's head", "in the request's body")


@dataclass(slots=True)
class Outcome:
    """What a client saw."""

    plan: Plan
    status: int | None = None
    heard: str = ""
    done: bool = False
    """It saw `[DONE]`."""


def words_of(number: int) -> list[str]:
    return [f"{number}.{n} " for n in range(1, WORDS + 1)]


def model_answer(received: Received, *, leaves: bool, back: Container[int]) -> Answer:
    """The model's part: the user's words tell it whom it speaks to; those who are `back` hear everything."""
    number = int(received.body["messages"][-1]["content"].removeprefix("stream "))
    plan = Plan.of(number, leaves=leaves)
    words = [sse(chunk(word)) for word in words_of(number)]
    if plan.held and number not in back:
        match plan.place:
            case "before the answer":
                return Answer((Hold(),))
            case "in the answer's head" | "after the answer's head" | "after a word":
                return Answer((*words[: plan.after], Hold()))
            case _:
                pass
    return Answer((*words, sse(chunk(finish="stop")), sse(usage_chunk()), sse("[DONE]")))


_EVENT = re.compile(rb"data: (\{.*\})\n")


def heard_in(raw: bytes) -> str:
    """The words of the first answer in what came over the wire; a chunk's frame never cuts an event."""
    said = ""
    for found in _EVENT.finditer(raw):
        for choice in json.loads(found[1]).get("choices", ()):
            if choice["index"] == 0:
                said += choice["delta"].get("content") or ""
    return said


@dataclass(slots=True)
class Client:
    """One who asks, and leaves as planned."""

    port: int
    key: str
    sessions: Sequence[str]
    back: set[int]
    """Those who ask a second time."""

    def asking(self, plan: Plan) -> bytes:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": f"stream {plan.number}"}],
            "stream": True,
        }
        session = self.sessions[plan.number % len(self.sessions)]
        match plan.kind:
            case "CozyChat":
                body |= {"personality_id": "mia", "session_id": session, "use_memory": True}
            case "new session":
                body |= {"model": "mia", "cozy": {"session_id": "new"}}
            case "old session":
                body |= {"model": "mia", "cozy": {"session_id": session}}
            case "two answers":
                body |= {"model": "mia", "n": 2}
            case _:
                body |= {"model": "mia"}
        headers = {"idempotency_key": f"key {plan.number}"} if plan.kind == "key" else {}
        return request("POST", CHAT, self.key, body, **headers)

    async def ask(self, plan: Plan) -> Outcome:
        outcome = Outcome(plan)
        async with wire_to(self.port) as talk:
            with anyio.fail_after(PATIENCE_S):
                await self._talk(plan, talk, outcome)
                if plan.way == "half closes":
                    talk.end()
                    await talk.closed(PATIENCE_S)
                elif plan.way == "resets":
                    talk.reset()
        if plan.again and plan.kind == "key":
            self.back.add(plan.number)
            whole = Plan(plan.number, plan.kind, "at the end", "closes", plan.after, held=False, again=False)
            again = await self.ask(whole)
            assert again.done, f"the second time, {plan} heard {again}"
            assert again.heard == "".join(words_of(plan.number))
        return outcome

    async def _talk(self, plan: Plan, talk: Wire, outcome: Outcome) -> None:
        sent = self.asking(plan)
        head = sent.index(b"\r\n\r\n") + 4
        match plan.place:
            case "before the request":
                return
            case "in the request's head":
                await talk.send(sent[: head * plan.after // WORDS])
                return
            case "in the request's body":
                await talk.send(sent[: head + (len(sent) - head) * plan.after // WORDS])
                return
            case "before the answer":
                await talk.send(sent)
                return
            case _:
                await talk.send(sent)
                raw = await self._hear(plan, talk)
        outcome.status = int(raw[9:12]) if len(raw) >= 12 else None
        outcome.heard, outcome.done = heard_in(raw), b"data: [DONE]" in raw

    async def _hear(self, plan: Plan, talk: Wire) -> bytes:
        enough: Mapping[Place, Callable[[bytes], bool]] = {
            "in the answer's head": lambda raw: len(raw) >= plan.after,
            "after the answer's head": lambda raw: b"\r\n\r\n" in raw,
            "after a word": lambda raw: len(heard_in(raw).split()) >= plan.after,
            "after [DONE]": lambda raw: b"data: [DONE]" in raw,
            "at the end": lambda raw: raw.endswith(b"\r\n0\r\n\r\n"),
        }
        most = plan.after if plan.place == "in the answer's head" else 65536
        raw = b""
        while not enough[plan.place](raw):
            raw += await talk.some(most)
        return raw
