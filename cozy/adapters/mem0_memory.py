"""Memories in Mem0, on a server of one's own (`Mem0Memories`) or on the hosted platform
(`Mem0PlatformMemories`). They differ in paths, and in when what was sent can be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast
from uuid import UUID

import anyio

from cozy.adapters.engine_http import Answer, Ask, EngineHttp, relevance
from cozy.adapters.engine_values import exchange_messages, moment, records, text_of
from cozy.adapters.extraction import LONGEST_FACT
from cozy.adapters.sql_engine import required
from cozy.adapters.sql_engine_writes import SqlEngineWrites, Write
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
    NotFound,
)
from cozy.ports.memory import Exchange, MemoryItem
from cozy.storage.schema import utc_now
from cozy.turn import UserId
from cozy.writing import fingerprint

MOST_ITEMS = 1000
"""What a listing on a server of one's own gives at most."""
PAGE, MOST_PAGES = 100, 100
THRESHOLD = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
TURN = "cozy_turn"
"""Under this in its metadata a memory names the turn that taught it."""


class Wire(Protocol):
    """How the two are asked."""

    def check(self) -> Ask: ...

    def search(self, user: str, query: str, top_k: int) -> Ask: ...

    def add(self, body: Mapping[str, Any], timeout_s: float) -> Ask: ...

    def item(self, method: str, item_id: str, body: Any = None) -> Ask: ...

    def forget_all(self, user: str) -> Ask: ...


class SelfHosted:
    """Fills `Wire`: no slash at the end of a path; ids beside `filters` too, where old builds look."""

    def check(self) -> Ask:
        return Ask("GET", "/auth/setup-status")

    def search(self, user: str, query: str, top_k: int) -> Ask:
        body = {"query": query, "filters": {"user_id": user}, "user_id": user}
        return Ask("POST", "/search", body=body | {"top_k": top_k, "threshold": THRESHOLD}, reads=True)

    def add(self, body: Mapping[str, Any], timeout_s: float) -> Ask:
        return Ask("POST", "/memories", body=body, timeout_s=timeout_s)

    def item(self, method: str, item_id: str, body: Any = None) -> Ask:
        return Ask(method, f"/memories/{item_id}", body=body)

    def forget_all(self, user: str) -> Ask:
        return Ask("DELETE", "/memories", query={"user_id": user})


class Platform:
    """Fills `Wire`: a slash at the end of each path; ids in `filters` alone."""

    def check(self) -> Ask:
        return Ask("GET", "/v1/ping/")

    def search(self, user: str, query: str, top_k: int) -> Ask:
        body = {"query": query, "filters": {"user_id": user}, "top_k": top_k}
        body |= {"threshold": THRESHOLD, "rerank": False}
        return Ask("POST", "/v3/memories/search/", body=body, reads=True)

    def add(self, body: Mapping[str, Any], timeout_s: float) -> Ask:
        return Ask("POST", "/v3/memories/add/", body=body, timeout_s=timeout_s)

    def item(self, method: str, item_id: str, body: Any = None) -> Ask:
        return Ask(method, f"/v1/memories/{item_id}/", body=body)

    def forget_all(self, user: str) -> Ask:
        return Ask("DELETE", "/v1/memories/", query={"user_id": user})


class _Memories:
    """What both share."""

    wire: Wire

    def __init__(self, http: EngineHttp, writes: SqlEngineWrites) -> None:
        http.explain = _explain
        self._http = http
        self._writes = writes

    async def check(self) -> None:
        """Raises EngineError where it is not up."""
        await self._http.value(self.wire.check())

    async def search(self, query: str, *, user_id: UserId, top_k: int) -> Sequence[MemoryItem]:
        """Its scores blend several signals: what is a good one changes with its version."""
        if top_k <= 0:
            return []
        if not query.strip():
            return list(await self.items(user_id))[:top_k]
        found = await self._http.value(self.wire.search(str(user_id), query, top_k))
        items = [self._item(record, scored=True) for record in self._own(found, user_id)]
        return sorted(items, key=lambda item: -(item.score or 0.0))[:top_k]

    async def items(self, user_id: UserId) -> Sequence[MemoryItem]:
        items = [self._item(record) for record in await self._listing(user_id)]
        return sorted(items, key=lambda item: item.created_at, reverse=True)

    async def learn(self, exchange: Exchange) -> int:
        """Send the exchange once: of one whose end is not known, it is asked what came of it."""
        messages = exchange_messages(exchange)
        if not messages:
            return 0
        timeout_s = self._http.settings.learn_timeout_s

        async def send(write: Write) -> int:
            if not write.is_new and await self._has_come(exchange, write):
                return 0
            body = self._lesson(exchange.user_id, messages, infer=True)
            body["metadata"] = {TURN: str(exchange.turn_id)}
            return await self._teach(self.wire.add(body, timeout_s), exchange)

        return await self._writes.once(exchange, send, timeout_s)

    async def add(self, user_id: UserId, text: str) -> MemoryItem:
        text = required(self._http.name, "the memory", text, LONGEST_FACT)
        mark = fingerprint(text)
        if not mark:
            raise EngineInvalidRequest(self._http.name, "the memory has no word in it")
        for item in await self.items(user_id):
            if fingerprint(item.text) == mark:
                return item
        body = self._lesson(user_id, [{"role": "user", "content": text}], infer=False)
        told = await self._http.value(self.wire.add(body, self._http.settings.learn_timeout_s))
        await self._settled(told)
        results = records(self._http, told, "results")
        if not results:
            self._http.nonsense("took a memory and did not say which it became")
        return MemoryItem(text_of(self._http, results[0], "id"), text, utc_now())

    async def edit(self, user_id: UserId, item_id: str, text: str) -> None:
        """Raises NotFound for another user's item too."""
        text = required(self._http.name, "the memory", text, LONGEST_FACT)
        key = await self._own_id(user_id, item_id)
        await self._http.value(self.wire.item("PUT", key, {"text": text}))

    async def forget(self, user_id: UserId, item_id: str | None = None) -> int:
        """One item (NotFound where there is none, or it is another user's), or everything."""
        if item_id is not None:
            key = await self._own_id(user_id, item_id)
            answer = await self._http.answer(self.wire.item("DELETE", key))
            if answer.status == 404:
                raise NotFound("memory", item_id)
            self._http.read(answer)
            return 1
        known = await self.items(user_id)
        answer = await self._http.answer(self.wire.forget_all(str(user_id)))
        if answer.status == 403:  # all at once only for admins
            for item in known:
                await self._http.answer(self.wire.item("DELETE", str(UUID(item.id))))
            left = await self.items(user_id)
            if left:
                raise self._http.error(answer)
            return len(known)
        await self._settled(self._http.read(answer))
        return len(known)

    async def _listing(self, user_id: UserId) -> list[dict[str, Any]]:
        """All that is known of the user, and of nobody else."""
        raise NotImplementedError

    async def _teach(self, ask: Ask, exchange: Exchange) -> int:
        """Have it taken in; gives how many memories are new."""
        raise NotImplementedError

    async def _has_come(self, exchange: Exchange, write: Write) -> bool:
        """Whether an earlier attempt has been taken in."""
        del write
        turn = str(exchange.turn_id)
        metadata = [record.get("metadata") for record in await self._listing(exchange.user_id)]
        return any(
            isinstance(data, dict) and cast("dict[str, Any]", data).get(TURN) == turn for data in metadata
        )

    async def _settled(self, told: Any) -> None:
        """Wait until what was asked for has been done."""

    @staticmethod
    def _lesson(user_id: UserId, messages: Sequence[Mapping[str, str]], *, infer: bool) -> dict[str, Any]:
        return {"messages": messages, "user_id": str(user_id), "infer": infer}

    async def _own_id(self, user_id: UserId, item_id: str) -> str:
        """The id, if it is one of the user's. Raises NotFound."""
        try:
            key = str(UUID(item_id))
        except ValueError:
            raise NotFound("memory", item_id) from None
        answer = await self._http.answer(self.wire.item("GET", key))
        record = None if answer.status == 404 else self._http.read(answer)
        if not isinstance(record, dict) or cast("dict[str, Any]", record).get("user_id") != str(user_id):
            raise NotFound("memory", item_id)
        return key

    def _own(self, found: Any, user_id: UserId) -> list[dict[str, Any]]:
        """The memories in an answer. With one of somebody else among them the whole answer is refused."""
        items = records(self._http, found, "results")
        if any(item.get("user_id") != str(user_id) for item in items):
            raise EngineUnavailable(
                self._http.name,
                "answered with memories that are not this user's: none of them is used",
                hint="does something between here and there keep answers, or is it another version?",
            )
        return items

    def _item(self, record: Mapping[str, Any], *, scored: bool = False) -> MemoryItem:
        return MemoryItem(
            text_of(self._http, record, "id"),
            text_of(self._http, record, "memory"),
            moment(record.get("created_at")),
            relevance(record.get("score")) if scored else None,
        )

    def _added(self, told: Any) -> int:
        return sum(result.get("event") == "ADD" for result in records(self._http, told, "results"))


class Mem0Memories(_Memories):
    """Fills `Memories` with a server of one's own."""

    wire = SelfHosted()

    async def check(self) -> None:
        answer = await self._http.answer(self.wire.check(), authenticated=False)
        if answer.status == 404 and "detail" in answer.fields():
            return  # an old build, without accounts
        self._http.read(answer)

    async def _listing(self, user_id: UserId) -> list[dict[str, Any]]:
        query: dict[str, str | int] = {"user_id": str(user_id), "top_k": MOST_ITEMS}
        return self._own(await self._http.value(Ask("GET", "/memories", query=query)), user_id)

    async def _teach(self, ask: Ask, exchange: Exchange) -> int:
        del exchange
        return self._added(await self._http.value(ask))


class Mem0PlatformMemories(_Memories):
    """Fills `Memories` with the hosted platform, where what is sent waits in a queue first."""

    wire = Platform()

    def __init__(self, http: EngineHttp, writes: SqlEngineWrites) -> None:
        super().__init__(http, writes)
        http.explain = _explain_hosted

    async def _listing(self, user_id: UserId) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            query: dict[str, str | int] = {"page": page, "page_size": PAGE}
            body = {"filters": {"user_id": str(user_id)}}
            told = await self._http.value(Ask("POST", "/v3/memories/", body=body, query=query, reads=True))
            found += self._own(told, user_id)
            if not isinstance(told, dict) or not cast("dict[str, Any]", told).get("next"):
                break
        return found

    async def _teach(self, ask: Ask, exchange: Exchange) -> int:
        told = await self._http.value(ask)
        event = _event(told)
        if event is None:
            self._http.nonsense("took a turn and did not say when it will be known")
        await self._writes.note(exchange.turn_id, event)
        return await self._wait_for(event, exchange)

    async def _has_come(self, exchange: Exchange, write: Write) -> bool:
        if write.receipt is None:
            return await super()._has_come(exchange, write)
        await self._wait_for(write.receipt, exchange)
        return True

    async def _settled(self, told: Any) -> None:
        timeout_s = self._http.settings.learn_timeout_s
        with anyio.move_on_after(timeout_s) as waiting:
            if (event := _event(told)) is not None:
                await self._wait_for(event)
        if waiting.cancelled_caught:
            raise EngineTimeout(self._http.name, f"did not get it done within {timeout_s:g} s")

    async def _wait_for(self, event: str, exchange: Exchange | None = None) -> int:
        """Until it has been done; gives how many memories are new. Raises EngineUnavailable if it failed."""
        pause_s = FIRST_PAUSE_S
        while True:
            answer = await self._http.answer(Ask("GET", f"/v1/event/{event}/"))
            told = {"status": "forgotten"} if answer.status == 404 else self._http.read(answer)
            status = text_of(self._http, told, "status")
            if status == "SUCCEEDED":
                return self._added({"results": [], **_without_nulls(told)})
            if status not in ("PENDING", "RUNNING"):
                if exchange is not None:  # it will not become more: another attempt sends it anew
                    await self._writes.note(exchange.turn_id, None)
                raise EngineUnavailable(self._http.name, f"took it and did not get it done ({status[:20]})")
            await anyio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)


def _without_nulls(told: Any) -> dict[str, Any]:
    return {name: value for name, value in cast("dict[str, Any]", told).items() if value is not None}


def _event(told: Any) -> str | None:
    """The ticket of what waits in the queue."""
    event = cast("dict[str, Any]", told).get("event_id") if isinstance(told, dict) else None
    try:
        return str(UUID(event))
    except (TypeError, ValueError, AttributeError):
        return None


def _explain_hosted(name: str, answer: Answer, said: str) -> EngineError | None:
    """413 is a quota there, and nothing of what was sent."""
    if answer.status == 413:
        hint = "wait until it is filled again, or raise it"
        return EngineAuthError(name, "its quota is used up", hint=hint)
    return _explain(name, answer, said)


def _explain(name: str, answer: Answer, said: str) -> EngineError | None:
    """A 502 says what failed behind the server."""
    code = answer.fields().get("code")
    if answer.status != 502 or not isinstance(code, str):
        return None
    match code:
        case "provider_rate_limited":
            return EngineRateLimited(name, "the model behind it asks to slow down")
        case "provider_timeout":
            return EngineTimeout(name, "the model behind it did not answer in time")
        case "provider_auth_failed":
            hint = "the key of its own model has to be set right, on its side"
            return EngineUnavailable(name, "the model behind it refuses its key", hint=hint)
        case "provider_bad_request":
            return EngineInvalidRequest(name, "the model behind it refused the request")
        case "datastore_unavailable" | "vector_store_unavailable" | "provider_unavailable":
            return EngineUnavailable(name, f"something behind it is away ({code})")
        case _:
            return EngineUnavailable(name, f"something behind it failed: {said}")
