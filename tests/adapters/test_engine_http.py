"""Whatever goes wrong on the way to an engine outside has a class, and words of our own."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import perf_counter
from uuid import uuid4

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from cozy.adapters.engine_http import Ask, engine_http, relevance
from cozy.adapters.engine_words import private_texts, shown
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInitError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
)
from cozy.settings import EngineSettings
from cozy.storage.database import open_database
from cozy.storage.schema import storable
from cozy.turn import UserId
from tests.engines import opened
from tests.engines.fake_cognee import FakeCognee
from tests.engines.fake_mem0 import STRANGERS_SECRET, FakeMem0, FakeMem0Platform
from tests.engines.fake_memobase import FakeMemobase
from tests.engines.server import FAULTS, RETRY_AFTER_S, FakeEngine, Fault, running
from tests.upstream import Answer, Script, plain, upstream

QUERY = "where did the user hide the 金子?"

EXPECTED: dict[Fault, tuple[type[EngineError], str]] = {
    "hanging": (EngineTimeout, "within 0.3 s"),
    "refused": (EngineUnavailable, "nothing listens at its address"),
    "401": (EngineAuthError, "refused our credentials"),
    "403": (EngineAuthError, "does not let us do this"),
    "429": (EngineRateLimited, f"asks us to slow down, for {RETRY_AFTER_S} s"),
    "500": (EngineUnavailable, "failed (500)"),
    "html": (EngineUnavailable, "answered with a web page"),
    "cut": (EngineUnavailable, "broke off in the middle of the answer"),
    "wrong_json": (EngineUnavailable, "answered with no JSON"),
    "wrong_shape": (EngineUnavailable, "answered"),
    "huge": (EngineUnavailable, "answered with more than 20000 bytes"),
    "another_user": (EngineUnavailable, "none of them is used"),
}


@dataclass
class Service:
    fake: FakeEngine
    read: Callable[[], Awaitable[object]]


@pytest.fixture(params=["cognee", "memobase", "mem0", "mem0_platform"])
async def service(request: pytest.FixtureRequest, sqlite_url: str) -> AsyncIterator[Service]:
    """What a turn asks of it."""
    user_id = UserId(uuid4())
    hangs = getattr(request.node, "callspec").params.get("fault") == "hanging"  # noqa: B009
    tight = {"timeout_s": 0.3 if hangs else 10, "max_answer_bytes": 20_000}
    async with open_database(sqlite_url) as database:
        if request.param == "cognee":
            async with running(FakeCognee()) as cognee, opened.cognee(cognee, database, **tight) as knowledge:
                cognee.put("plants", "map", "the gold is not here")
                yield Service(
                    cognee, lambda: knowledge.search(QUERY, user_id=user_id, datasets=["plants"], top_k=3)
                )
        elif request.param == "memobase":
            async with running(FakeMemobase()) as base, opened.memobase(base, database, **tight) as profiles:
                yield Service(base, lambda: profiles.facts(user_id))
        else:
            fake = FakeMem0() if request.param == "mem0" else FakeMem0Platform()
            async with running(fake), opened.mem0(fake, database, request.param, **tight) as memories:
                yield Service(fake, lambda: memories.search(QUERY, user_id=user_id, top_k=3))


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "slow"])
async def test_a_fault_is_of_its_class_and_over_when_the_engine_is_well_again(
    service: Service, fault: Fault
) -> None:
    if fault == "another_user" and isinstance(service.fake, FakeMemobase):
        with pytest.raises(ValueError, match="do not say whose"):
            await service.fake.be(fault)
        return
    kind, words = EXPECTED[fault]
    await service.fake.be(fault)
    with pytest.raises(kind) as caught:
        await service.read()
    assert type(caught.value) is kind
    assert caught.value.engine == opened.NAME
    assert words in caught.value.message
    told = f"{caught.value} {caught.value.details}"
    for secret in (*opened.ENVIRON.values(), STRANGERS_SECRET, "127.0.0.1", "金子", "sk-"):
        assert secret not in told
    await service.fake.be("well")
    if fault != "hanging":  # for that, it has little time
        await service.read()


async def test_a_slow_engine_is_waited_for(service: Service) -> None:
    service.fake.slow_s = 0.05
    await service.fake.be("slow")
    await service.read()


async def test_who_stops_waiting_leaves_the_engine_alone(service: Service) -> None:
    await service.fake.be("hanging")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.read)
            while not service.fake.requests:
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        await service.fake.left.wait()


async def test_connections_are_kept_and_no_more_than_allowed_are_made(service: Service) -> None:
    for _ in range(5):
        await service.read()
    assert service.fake.connections == 1


SECRET = "hunter-2-hunter-2"


@pytest.fixture
def settings() -> EngineSettings:
    return EngineSettings(kind="mem0", timeout_s=5, max_answer_bytes=2000, connections=3)


async def failure(script: Script, settings: EngineSettings, ask: Ask | None = None) -> EngineError:
    """What this answer, however often it is given, is told as."""
    async with upstream(default=script) as server, engine_http("house", settings, server.base_url) as http:
        with pytest.raises(EngineError) as caught:
            await http.value(ask or Ask("GET", "/x"))
        return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, EngineInitError),
        (400, EngineInvalidRequest),
        (402, EngineAuthError),
        (404, EngineInvalidRequest),
        (405, EngineInvalidRequest),
        (408, EngineTimeout),
        (409, EngineInvalidRequest),
        (413, EngineInvalidRequest),
        (422, EngineInvalidRequest),
        (425, EngineUnavailable),
        (502, EngineUnavailable),
        (503, EngineUnavailable),
        (504, EngineTimeout),
        (599, EngineUnavailable),
    ],
)
async def test_a_status_is_of_its_class(
    settings: EngineSettings, status: int, kind: type[EngineError]
) -> None:
    error = await failure(plain({"detail": "no, not this"}, status, location="http://evil/"), settings)
    assert type(error) is kind
    assert error.details["status"] == status
    assert "evil" not in str(error)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("3", 3, 3),
        ("2.5", 2.5, 2.5),
        (format_datetime(datetime.now(UTC) + timedelta(hours=1)), 3000, 3600),
        ("9" * 500, 86_400, 86_400),
        ("-1", None, None),
        ("soon", None, None),
        ("", None, None),
    ],
    ids=["seconds", "half a second", "a date", "for ever", "less than nothing", "a word", "nothing"],
)
async def test_the_time_to_wait_is_read(
    settings: EngineSettings, value: str, low: float | None, high: float | None
) -> None:
    error = await failure(plain({"error": "slow down"}, 429, retry_after=value), settings)
    assert isinstance(error, EngineRateLimited)
    if low is None:
        assert error.retry_after_s is None
    else:
        assert error.retry_after_s is not None
        assert low <= error.retry_after_s <= (high or 0)


@pytest.mark.parametrize(
    "said",
    [
        {"detail": f"cannot read 'I hid the gold under the bridge' with {SECRET} at http://10.0.0.7/v1"},
        {"error": {"message": f"hid the gold under the bri, {SECRET}, admin@example.org, 10.0.0.7:80"}},
        {"detail": "cannot connect to host db.internal:80, qdrant:6333, localhost:8080 or [fe80::1]:443"},
        {"detail": [{"loc": ["body", "text"], "msg": "bad", "input": "I hid the gold under the bridge"}]},
        {"details": {"message": "x" * 1900}},
        {"detail": [[[[[[[[{}]]]]]]]]},
        {"detail": 3},
        ["hid the gold"],
        r'{"detail": "\u0000\ud800 no"}',
        {"detail": "I hid the gold under the bridge " * 24 + f"I hid the gold under {SECRET}"},
    ],
    ids=["whole", "in part", "hosts", "as input", "long", "deep", "a number", "a list", "no text", "cut"],
)
async def test_what_a_server_says_is_told_without_keys_addresses_and_what_users_said(
    settings: EngineSettings, said: object
) -> None:
    ask = Ask(
        "POST", "/x", body={"messages": [{"role": "user", "content": "I hid the gold under the bridge"}]}
    )

    class Secretive:
        secrets = (SECRET,)

        async def headers(self) -> dict[str, str]:
            return {"x-api-key": SECRET}

        async def renew(self, refused: object) -> bool:
            return False

    async with upstream(plain(said, 422)) as server, engine_http("house", settings, server.base_url) as http:
        http.authenticate(Secretive())
        with pytest.raises(EngineInvalidRequest) as caught:
            await http.value(ask)
    told = str(caught.value)
    assert len(told) < 400
    assert told == storable(told)
    hosts = ("10.0.0.7", "example.org", "internal", "qdrant", "localhost", "fe80")
    for word in ("gold", "bridge", SECRET[:8], *hosts):
        assert word not in told


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (Answer((b"[" * 1900,), headers={}), "no JSON"),
        (Answer((b'{"a": NaN}',), headers={}), "no JSON"),
        (Answer((b'"\xff\xfe"',), headers={}), "no JSON"),
        (Answer((b"",), headers={}), "no JSON"),
        (Answer((b"\x1f\x8b",), headers={"content-encoding": "gzip"}), "encoding"),
        (Answer((b"x" * 1000,) * 3, headers={}), "more than 2000 bytes"),
        (Answer((b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{",), raw=True), "more than 2000 bytes"),
        (Answer((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",), raw=True), "broke off"),
        (Answer((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",), raw=True), "broke off"),
        (Answer((b"SSH-2.0-OpenSSH_9.6\r\n",), raw=True), "closed the connection"),
        (Answer((), raw=True), "closed the connection"),
    ],
    ids=[
        "deep",
        "not a number",
        "not UTF-8",
        "empty",
        "packed",
        "long",
        "said to be long",
        "a cut chunk",
        "no chunk",
        "not HTTP",
        "nothing",
    ],
)
async def test_an_answer_that_is_none_is_unavailable(
    settings: EngineSettings, script: Answer, words: str
) -> None:
    error = await failure(script, settings)
    assert type(error) is EngineUnavailable
    assert words in error.message


def test_a_secret_that_is_none_hides_nothing() -> None:
    assert shown("no  room", ("",), ("",)) == "no room"


def test_a_short_word_of_a_user_is_hidden_too() -> None:
    assert shown("cannot embed: 金子 here", (), ("金子",)) == "cannot embed: … here"


def test_what_a_fact_is_about_is_a_users_word_too() -> None:
    fact = {"content": "migraine", "attributes": {"topic": "health", "sub_topic": "illness"}}
    assert private_texts(fact) == ["migraine", "health", "illness"]


async def test_an_answer_without_a_body_that_says_so_is_a_good_one(settings: EngineSettings) -> None:
    script = Answer((b"HTTP/1.1 204 No Content\r\n\r\n",), raw=True)
    async with upstream(script) as server, engine_http("house", settings, server.base_url) as http:
        assert await http.value(Ask("DELETE", "/x")) is None


async def test_what_is_said_of_a_whole_book_is_not_told_and_costs_no_time(settings: EngineSettings) -> None:
    book = Ask("POST", "/x", body={"content": "I hid the gold under the bridge " * 100_000})
    began = perf_counter()
    error = await failure(plain({"detail": "the bridge I hid " * 40}, 422), settings, book)
    assert perf_counter() - began < 3
    assert error.message == "house: refused the request (422)"


async def test_a_host_that_nobody_knows_is_told_without_its_address(settings: EngineSettings) -> None:
    async with engine_http("house", settings, "http://nowhere.invalid:1") as http:
        with pytest.raises(EngineUnavailable, match="its host is not known") as caught:
            await http.value(Ask("GET", "/"))
    assert "nowhere" not in str(caught.value)


async def test_an_address_that_cannot_be_one_is_told_as_that(settings: EngineSettings) -> None:
    async with engine_http("house", settings, "http://☃.example") as http:
        with pytest.raises(EngineInitError, match="no address") as caught:
            await http.value(Ask("GET", "/"))
    assert "example" not in str(caught.value)


async def test_a_server_without_tls_is_told(settings: EngineSettings) -> None:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks, engine_http("house", settings, address) as http:
        tasks.start_soon(listener.serve, answer)
        with pytest.raises(EngineUnavailable, match="no safe connection"):
            await http.value(Ask("GET", "/"))
        tasks.cancel_scope.cancel()


async def test_a_connection_that_does_not_come_is_too_late(settings: EngineSettings) -> None:
    with socket.socket() as full:  # nobody accepts, and its queue is full
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.socket() as first, socket.socket() as second:
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex(("127.0.0.1", port))
            quick = settings.model_copy(update={"timeout_s": 2})
            async with engine_http("house", quick, f"http://127.0.0.1:{port}") as http:
                with pytest.raises(EngineTimeout, match="no connection within"):
                    await http.value(Ask("GET", "/"))


async def test_the_proxies_of_the_environment_are_not_for_this_machine(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    yes = plain({"ok": True})
    async with upstream(yes) as server, engine_http("house", settings, server.base_url) as http:
        assert await http.value(Ask("GET", "/")) == {"ok": True}


async def test_cookies_are_not_kept_and_redirects_not_followed(settings: EngineSettings) -> None:
    answers = (plain({}, set_cookie="auth_token=abc; Path=/"), plain({}, 307, location="/else"), plain({}))
    async with upstream(*answers) as server, engine_http("house", settings, server.base_url) as http:
        await http.value(Ask("GET", "/"))
        with pytest.raises(EngineInitError, match="another address"):
            await http.value(Ask("GET", "/"))
        await http.value(Ask("GET", "/"))
        assert [request.headers.get("cookie") for request in server.requests] == [None] * 3
        assert server.requests[0].headers["accept-encoding"] == "identity"


SILENCE = Answer((), raw=True)
"""As of a server that closes a connection which lay idle, just when it is used again."""


@pytest.mark.parametrize("ask", [Ask("GET", "/"), Ask("POST", "/search", body={}, reads=True)])
async def test_what_only_reads_is_asked_again_where_a_connection_was_closed_unanswered(
    settings: EngineSettings, ask: Ask
) -> None:
    script = [plain({}), SILENCE, plain({"a": 1}), SILENCE, SILENCE]
    async with upstream(*script) as server, engine_http("house", settings, server.base_url) as http:
        await http.value(ask)
        assert await http.value(ask) == {"a": 1}
        with pytest.raises(EngineUnavailable, match="closed the connection unanswered"):
            await http.value(ask)
        assert len(server.requests) == 5


async def test_a_connection_that_is_reset_before_an_answer_is_one_that_was_closed(
    settings: EngineSettings,
) -> None:
    connections = 0

    async def answer(stream: SocketStream) -> None:
        nonlocal connections
        connections += 1
        async with stream:
            await stream.receive()
            if connections == 1:
                raw = stream.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks, engine_http("house", settings, address) as http:
        tasks.start_soon(listener.serve, answer)
        assert await http.value(Ask("GET", "/")) == []
        tasks.cancel_scope.cancel()
    assert connections == 2


async def test_what_changes_something_is_sent_once(settings: EngineSettings) -> None:
    async with (
        upstream(plain({}), SILENCE, plain({})) as server,
        engine_http("house", settings, server.base_url) as http,
    ):
        await http.value(Ask("POST", "/memories", body={}))
        with pytest.raises(EngineUnavailable, match="closed the connection unanswered"):
            await http.value(Ask("POST", "/memories", body={}))
        assert len(server.requests) == 2


async def test_what_nobody_can_encode_is_sent_without_it(settings: EngineSettings) -> None:
    async with upstream(plain({})) as server, engine_http("house", settings, server.base_url) as http:
        await http.value(Ask("POST", "/", body={"query": "金\ud800子\x00"}))
        assert server.requests[0].body == {"query": "金\ufffd子\ufffd"}


async def test_no_more_connections_are_made_than_allowed(settings: EngineSettings) -> None:
    async with upstream(default=plain({})) as server, engine_http("house", settings, server.base_url) as http:

        async def ask() -> None:
            await http.value(Ask("GET", "/"))

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(ask)
        assert server.connections <= 3
        assert len(server.requests) == 30


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (0.4, 0.4),
        (1, 1.0),
        (1.7, 1.0),
        (-0.2, 0.0),
        (None, 0.0),
        ("0.5", 0.0),
        (True, 0.0),
        (float("nan"), 0.0),
        (float("inf"), 0.0),
        (10**400, 1.0),
        (-(10**400), 0.0),
    ],
)
def test_a_score_is_between_0_and_1(score: object, told: float) -> None:
    assert relevance(score) == told
