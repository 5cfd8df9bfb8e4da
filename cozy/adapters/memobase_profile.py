"""Profiles in Memobase.

It answers most of what goes wrong with HTTP 200 and an `errno`; an unknown user's profile is an empty one.
What it is taught waits in a buffer that has to be flushed, and a batch that fails there is not tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID, uuid5

import anyio

from cozy.adapters.engine_http import Answer, Ask, EngineHttp
from cozy.adapters.engine_values import exchange_messages, list_of, moment, records, text_of
from cozy.adapters.engine_words import error_of
from cozy.adapters.extraction import LONGEST_FACT
from cozy.adapters.sql_engine import required
from cozy.adapters.sql_engine_writes import SqlEngineWrites, Write
from cozy.adapters.sql_profile import most_telling_first
from cozy.errors import EngineAuthError, EngineError, NotFound
from cozy.ports.memory import Exchange
from cozy.ports.profile import ProfileFact
from cozy.turn import UserId

NAMESPACE = UUID("d1e68aac-76ca-4bfb-900f-2646a6be13af")
"""Memobase takes ids of version 4 or 5 only: a user's is made from ours, in this namespace."""
API = "/api/v1"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
STATES = ("idle", "processing", "failed", "done")
"""Of what is in a user's buffer, in the order in which it goes through them."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """How much of a user's is in each state; the ids that the server gives are none that it gave before."""

    idle: int
    processing: int
    failed: int
    done: int

    @property
    def total(self) -> int:
        return self.idle + self.processing + self.failed + self.done

    def receipt(self) -> str:
        return f"{self.idle},{self.processing},{self.failed},{self.done}"

    @staticmethod
    def of(receipt: str) -> Buffer:
        return Buffer(*map(int, receipt.split(",")))


class MemobaseProfiles:
    """Fills `Profiles`."""

    def __init__(self, http: EngineHttp, writes: SqlEngineWrites) -> None:
        http.explain = _explain
        self._http = http
        self._writes = writes

    async def check(self) -> None:
        """Raises EngineError where it is not up."""
        await self._data(Ask("GET", f"{API}/healthcheck"), authenticated=False)

    async def facts(self, user_id: UserId, *, max_tokens: int | None = None) -> Sequence[ProfileFact]:
        if max_tokens is not None and max_tokens <= 0:
            return []
        query = {} if max_tokens is None else {"max_token_size": max_tokens}
        data = await self._data(Ask("GET", f"{API}/users/profile/{_uid(user_id)}", query=query))
        profiles = records(self._http, data, "profiles")
        return most_telling_first([self._fact(profile) for profile in profiles])

    async def learn(self, exchange: Exchange) -> int:
        """Send the exchange, and have it taken in. What is known of an earlier attempt is not sent again."""
        messages = exchange_messages(exchange)
        if not messages:
            return 0

        async def send(write: Write) -> int:
            if write.receipt is None or not await self._has_come(exchange, Buffer.of(write.receipt)):
                await self._send(exchange, messages)
            return await self._flush(exchange)

        return await self._writes.once(exchange, send, self._http.settings.learn_timeout_s)

    async def edit(self, user_id: UserId, fact_id: str, content: str) -> None:
        content = required(self._http.name, "the fact", content, LONGEST_FACT)
        fact = await self._own(user_id, fact_id)
        attributes = {"topic": fact.topic, "sub_topic": fact.sub_topic}
        path = f"{API}/users/profile/{_uid(user_id)}/{quote(fact.id, safe='')}"
        await self._data(Ask("PUT", path, body={"content": content, "attributes": attributes}))

    async def forget(self, user_id: UserId, fact_id: str | None = None) -> int:
        """One fact (NotFound where there is none, or it is another user's), or the user with everything."""
        if fact_id is not None:
            fact = await self._own(user_id, fact_id)
            await self._data(Ask("DELETE", f"{API}/users/profile/{_uid(user_id)}/{quote(fact.id, safe='')}"))
            return 1
        known = len(await self.facts(user_id))
        await self._data(Ask("DELETE", f"{API}/users/{_uid(user_id)}"), absent=404)
        return known

    async def _own(self, user_id: UserId, fact_id: str) -> ProfileFact:
        """The user's fact of this id. Raises NotFound."""
        for fact in await self.facts(user_id):
            if fact.id == fact_id:
                return fact
        raise NotFound("fact", fact_id)

    async def _has_come(self, exchange: Exchange, before: Buffer) -> bool:
        """Whether what was sent after the buffer was like this has come there, and has not failed.

        The jobs of one user run one after the other: whatever is new since then is this turn's.
        """
        for turn in count():
            now = await self._buffer(exchange.user_id)
            if now.idle or now.processing <= before.processing:
                return now.total > before.total and now.failed <= before.failed
            await anyio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**turn))
        raise AssertionError  # the count has no end

    async def _send(self, exchange: Exchange, messages: list[dict[str, str]]) -> None:
        """Put the exchange into the user's buffer, with a note of how it was before."""
        before = await self._buffer(exchange.user_id)
        await self._writes.note(exchange.turn_id, before.receipt())
        uid = _uid(exchange.user_id)
        blob = {"blob_type": "chat", "blob_data": {"messages": messages}, "fields": None}
        ask = Ask("POST", f"{API}/blobs/insert/{uid}", body=blob, query={"wait_process": "false"})
        answer = await self._http.answer(ask)
        if _violates(answer, "ForeignKeyViolation"):  # the user is not known there yet
            created = await self._http.answer(Ask("POST", f"{API}/users", body={"id": uid, "data": {}}))
            if not _violates(created, "UniqueViolation"):  # somebody else was quicker
                self._read(created)
            answer = await self._http.answer(ask)
        self._read(answer)

    async def _flush(self, exchange: Exchange) -> int:
        """Have what is in the buffer taken in; gives how many facts are new or changed."""
        path = f"{API}/users/buffer/{_uid(exchange.user_id)}/chat"
        ask = Ask(
            "POST",
            path,
            query={"wait_process": "true"},
            timeout_s=self._http.settings.learn_timeout_s,
            private=[message.content for message in exchange.messages],
        )
        batches = await self._data(ask)
        return sum(
            len(list_of(self._http, batch, name))
            for batch in records(self._http, batches or [])
            for name in ("add_profiles", "update_profiles")
        )

    async def _buffer(self, user_id: UserId) -> Buffer:
        counts: dict[str, int] = {}
        for state in STATES:  # in their order: what goes on meanwhile is counted twice, but never missed
            path = f"{API}/users/buffer/capacity/{_uid(user_id)}/chat"
            data = await self._data(Ask("GET", path, query={"status": state}))
            counts[state] = len(list_of(self._http, data, "ids"))
        return Buffer(**counts)

    def _fact(self, profile: dict[str, Any]) -> ProfileFact:
        attributes = profile.get("attributes")
        return ProfileFact(
            text_of(self._http, profile, "id"),
            text_of(self._http, attributes, "topic"),
            text_of(self._http, attributes, "sub_topic"),
            text_of(self._http, profile, "content"),
            moment(profile.get("updated_at")),
        )

    async def _data(self, ask: Ask, *, absent: int | None = None, authenticated: bool = True) -> Any:
        return self._read(await self._http.answer(ask, authenticated=authenticated), absent=absent)

    def _read(self, answer: Answer, *, absent: int | None = None) -> Any:
        """What is in the envelope. Raises EngineError by its `errno`, but for `absent`."""
        envelope = self._http.read(answer)
        if not isinstance(envelope, dict) or "errno" not in envelope:
            self._http.nonsense("answered without an `errno`")
        fields = cast("dict[str, Any]", envelope)
        errno = fields["errno"]
        if errno == 0 or (absent is not None and errno == absent):
            return fields.get("data")
        raise self._http.error(answer)


def _explain(name: str, answer: Answer, said: str) -> EngineError | None:
    """An error that came with HTTP 200."""
    errno = answer.fields().get("errno")
    if not answer.is_good or not isinstance(errno, int):
        return None
    if errno == 503 and "token limit" in said:
        return EngineAuthError(
            name, "its quota of tokens is used up", hint="wait until it is filled again, or raise it"
        )
    return error_of(name, errno if 400 <= errno < 600 else 500, said)


def _violates(answer: Answer, constraint: str) -> bool:
    """Whether the server's database refused it for this."""
    fields = answer.fields()
    return bool(fields.get("errno")) and constraint in str(fields.get("errmsg"))


def _uid(user_id: UserId) -> str:
    return str(uuid5(NAMESPACE, str(user_id)))
