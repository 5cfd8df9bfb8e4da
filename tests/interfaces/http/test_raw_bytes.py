"""What clients hide: bytes on a socket, from clients who do not care, or care to harm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import pytest

from tests.interfaces.http.raw import CHAT, LIVE, Wire, asks, request, wire
from tests.interfaces.http.serving import Served
from tests.upstream import Answer, Upstream, chunk, says, sse


@pytest.fixture
async def talk(house: Served) -> AsyncIterator[Wire]:
    async with wire(house) as talk:
        yield talk


@pytest.fixture(autouse=True)
async def _the_server_goes_on(house: Served, ada: str) -> AsyncIterator[None]:
    """Whatever a test did: the next client is answered."""
    yield
    async with wire(house) as talk:
        await talk.send(request("GET", "/health/live"))
        assert (await talk.answer()).status == 200


# -- bodies --------------------------------------------------------------------------------------------

DEEP = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
USER = b'{"model": "plain", "messages": [{"role": "user", "content": "%b"}]}'
UNREADABLE = {
    "nothing": b"",
    "blanks": b"  \n",
    "no JSON": b"messages=hi",
    "cut off": b'{"messages": [',
    "two values": b"{} {}",
    "a list": b"[]",
    "a word": b'"hi"',
    "null": b"null",
    "NaN": b'{"messages": [], "temperature": NaN}',
    "infinity": b'{"messages": [], "temperature": -Infinity}',
    "a number beyond any": b'{"messages": [], "temperature": 1e999}',
    "a whole number of 5,000 digits": b'{"messages": [], "seed": ' + b"9" * 5000 + b"}",
    "UTF-16": '{"messages": []}'.encode("utf-16"),
    "Latin-1": USER % "café".encode("latin-1"),
    "half a character": USER % "猫".encode()[:2],
    "a lone surrogate, raw": USER % b"\xed\xa0\x80",
    "very deep": DEEP,
    "zero bytes": b"\x00" * 64,
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_body_that_cannot_be_read_is_400(talk: Wire, ada: str, up: Upstream, body: bytes) -> None:
    await talk.send(request("POST", CHAT, ada, body, length=len(body)))
    answer = await talk.answer()
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.error["code"].startswith("VALIDATION_")
    assert answer.error["request_id"] == answer.headers["x-request-id"]
    assert up.requests == []


ODD_BUT_READABLE = {
    "a byte order mark": b"\xef\xbb\xbf" + USER % b"tea?",
    "escapes": USER % b"\\ud83d\\ude3a",
    "emoji": USER % "🐈".encode(),
    "the last of two keys counts": b'{"messages": 1, ' + (USER % b"tea?")[1:],
    "a zero character": USER % b"a\\u0000b",
}


@pytest.mark.parametrize("body", ODD_BUT_READABLE.values(), ids=ODD_BUT_READABLE.keys())
async def test_a_body_that_is_merely_odd_is_answered(talk: Wire, ada: str, up: Upstream, body: bytes) -> None:
    await talk.send(request("POST", CHAT, ada, body))
    answer = await talk.answer()
    assert answer.status == 200, answer.body
    sent = json.dumps(up.requests[0].body, ensure_ascii=False)
    assert sent.encode()  # whole characters: a lone surrogate would not be encoded


async def test_a_body_of_another_type_is_read_all_the_same(talk: Wire, ada: str, up: Upstream) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""):
        await talk.send(request("POST", CHAT, ada, USER % b"tea?", content_type=kind))
        assert (await talk.answer()).status == 200, kind


async def test_a_body_announced_too_long_is_refused_at_once(talk: Wire, ada: str) -> None:
    await talk.send(request("POST", CHAT, ada, length=100_000_000))
    answer = await talk.answer()
    assert (answer.status, answer.error["code"]) == (413, "VALIDATION_TOO_LARGE")
    assert answer.headers["connection"] == "close"
    await talk.closed()


async def test_a_body_that_turns_out_too_long_is_not_read_to_its_end(talk: Wire, ada: str) -> None:
    piece = b"%x\r\n%b\r\n" % (1 << 16, b"x" * (1 << 16))
    sent = 0

    async def flood() -> None:
        nonlocal sent
        await talk.send(request("POST", CHAT, ada, transfer_encoding="chunked"))
        try:
            while sent < 100_000_000:
                await talk.send(piece)
                sent += 1 << 16
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flood)
        answer = await talk.answer()
        assert (answer.status, answer.error["code"]) == (413, "VALIDATION_TOO_LARGE")
        await talk.closed()
        tasks.cancel_scope.cancel()
    assert sent < 60_000_000, "20 MB are taken; the rest stands in buffers, or was never sent"


async def test_many_small_pieces_that_nobody_reads_do_not_hold_the_connection(
    house: Served, ada: str, talk: Wire
) -> None:
    """Hypercorn keeps ten pieces for the application, and waits there for ever with the eleventh."""
    await talk.send(
        request("POST", "/v1/personalities/reload", transfer_encoding="chunked") + b"1\r\nx\r\n" * 50
    )
    assert (await talk.answer()).status == 401
    await talk.closed()


async def test_a_body_that_comes_too_slowly_is_408(
    tmp_path_factory: pytest.TempPathFactory, slow_house: Served
) -> None:
    key = await slow_house.key("ada")
    async with wire(slow_house) as talk:
        await talk.send(request("POST", CHAT, key, b'{"mess', length=100))
        answer = await talk.answer()
        assert (answer.status, answer.error["code"]) == (408, "VALIDATION_TIMEOUT")
        await talk.closed()


async def test_a_body_that_is_cut_off_is_nobodys_request(house: Served, ada: str, up: Upstream) -> None:
    async with wire(house) as talk:
        await talk.send(request("POST", CHAT, ada, b'{"mess', length=100))
    async with wire(house) as talk:
        await talk.send(request("POST", CHAT, ada, b'{"mess', length=100))
        talk.end()
        await talk.closed()
    assert up.requests == []


# -- heads ---------------------------------------------------------------------------------------------


HUGE = {
    "one header": request("GET", "/health/live", x_big="y" * 40_000),
    "one header, longer than is read at once": request("GET", "/health/live", x_big="y" * 400_000),
    "many headers": request("GET", "/health/live", **{f"x{n}": "y" for n in range(5_000)}),
    "many headers without a value": request("GET", "/health/live", **{f"x{n}": "" for n in range(6_000)}),
    "a path": request("GET", "/" + "y" * 40_000),
    "a head without an end": request("GET", "/health/live", x_big="y" * 40_000)[:-4],
}


@pytest.mark.parametrize("ahead", [b"", LIVE], ids=["first", "sent ahead"])
@pytest.mark.parametrize("sent", HUGE.values(), ids=HUGE.keys())
async def test_a_huge_head_is_431(talk: Wire, sent: bytes, ahead: bytes) -> None:
    with suppress(anyio.BrokenResourceError):  # the answer may come before all is sent
        await talk.send(ahead + sent)
    if ahead:
        assert (await talk.answer()).status == 200
    assert (await talk.head())[0] == 431


async def test_headers_just_below_the_limit_are_taken(talk: Wire) -> None:
    await talk.send(request("GET", "/health/live", x_big="y" * 32_000))
    assert (await talk.answer()).status == 200


PATHS = {
    "another route": ("GET", "/v1/nothing", 404),
    "a zero byte": ("GET", "/v1/models/%00", 404),
    "up and out": ("GET", "/v1/models/../../../etc/passwd", 404),
    "up and out, hidden": ("GET", "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404),
    "no UTF-8": ("GET", "/v1/models/%ff%fe", 404),
    "a bad escape": ("GET", "/v1/models/%zz", 404),
    "characters": ("GET", "/v1/models/%E7%8C%AB", 404),
    "two slashes": ("GET", "//v1/models", 404),
    "a slash too many": ("GET", "/v1/models/", 404),
    "another host's": ("GET", "http://evil.example/v1/models", 404),
    "an address to connect to": ("CONNECT", "evil.example:443", 404),
    "the server itself": ("OPTIONS", "*", 404),
    "another method": ("DELETE", "/v1/models", 405),
    "a method nobody knows": ("BREW", "/v1/models", 405),
    "a chat that is got": ("GET", CHAT, 405),
}


@pytest.mark.parametrize(("method", "path", "status"), PATHS.values(), ids=PATHS.keys())
async def test_an_odd_path_or_method_is_answered_in_our_shape(
    talk: Wire, ada: str, method: str, path: str, status: int
) -> None:
    await talk.send(request(method, path, ada))
    answer = await talk.answer()
    assert answer.status == status
    assert answer.error["request_id"] == answer.headers["x-request-id"]


MALFORMED = {
    "a path with bare bytes": b"GET /v1/mod\xc3\xa9ls HTTP/1.1\r\nhost: x\r\n\r\n",
    "no version": b"GET /v1/models\r\n\r\n",
    "another protocol": b"EHLO cozy\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "two lengths": b"POST /v1/models HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
    "a negative length": b"POST /v1/models HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    "an odd coding": b"POST /v1/models HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
    "a zero in a header": b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_http_is_refused_and_closed(talk: Wire, sent: bytes) -> None:
    await talk.send(sent)
    said = await talk.closed()
    assert said == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), said[:100]


async def test_a_length_and_chunks_at_once_smuggle_no_second_request(
    talk: Wire, ada: str, up: Upstream
) -> None:
    hidden = asks(ada, "smuggled")
    await talk.send(request("POST", CHAT, ada, b"0\r\n\r\n" + hidden, length=4, transfer_encoding="chunked"))
    await talk.closed()
    assert up.requests == []


async def test_an_old_client_is_answered_and_let_go(talk: Wire, ada: str, up: Upstream) -> None:
    body = USER % b"tea?"
    await talk.send(
        b"POST %b HTTP/1.0\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
        % (CHAT.encode(), ada.encode(), len(body), body)
    )
    said = await talk.closed()
    assert said.startswith(b"HTTP/1.1 200")
    assert b'"Hi there"' in said


async def test_a_strange_host_changes_nothing(talk: Wire, ada: str) -> None:
    for host in ("evil.example", "127.0.0.1:1", "[::1]", "x" * 2000, ""):
        await talk.send(request("GET", "/v1/models", ada, host=host))
        answer = await talk.answer()
        assert answer.status == 200
        assert host == "" or host.encode() not in answer.body


CREDENTIALS = {
    "none": "",
    "another scheme": "Basic YWRhOnB3",
    "no credential": "Bearer",
    "blanks": "Bearer    ",
    "two words": "Bearer a b",
    "a very long one": "Bearer " + "k" * 20_000,
    "not ASCII": "Bearer café猫",
    "a token of nobody": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
}


@pytest.mark.parametrize("sent", CREDENTIALS.values(), ids=CREDENTIALS.keys())
async def test_a_credential_that_is_none_is_401(talk: Wire, sent: str) -> None:
    await talk.send(request("POST", CHAT, None, {"messages": []}, authorization=sent))
    answer = await talk.answer()
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_session_id_of_ten_megabytes_is_a_400_that_does_not_repeat_it(
    talk: Wire, ada: str, up: Upstream
) -> None:
    for name in (
        "x" * 10_000_000,
        "../../etc/passwd",
        "\x00",
        "new ",
        "0" * 31 + "g",
    ):
        await talk.send(asks(ada, cozy={"session_id": name}))
        answer = await talk.answer()
        assert (answer.status, answer.error["param"]) == (400, "cozy.session_id")
        assert len(answer.body) < 2000
    for name in ("x" * 10_000_000, "\x00", "a" * 250):
        await talk.send(asks(ada, model=name))
        answer = await talk.answer()
        assert answer.status in (400, 404)
        assert len(answer.body) < 3000
    assert up.requests == []


# -- connections ---------------------------------------------------------------------------------------


async def test_requests_sent_ahead_are_answered_in_order(talk: Wire, ada: str, up: Upstream) -> None:
    up.then(says("one"), says("two"), says("three"))
    await talk.send(asks(ada) + asks(ada, stream=True) + request("GET", "/health/live") + asks(ada))
    first, second, third, fourth = [await talk.answer() for _ in range(4)]
    assert b'"one"' in first.body
    assert second.events[-1] == "[DONE]"
    assert third.status == 200
    assert b'"three"' in fourth.body


async def test_one_connection_serves_one_request_after_another(talk: Wire, ada: str, up: Upstream) -> None:
    for _ in range(5):
        await talk.send(asks(ada))
        assert (await talk.answer()).status == 200
        await talk.send(request("POST", CHAT, ada, b"{"))
        assert (await talk.answer()).status == 400


async def test_characters_that_the_model_cuts_in_two_arrive_whole(talk: Wire, ada: str, up: Upstream) -> None:
    whole = sse(chunk("猫🐈é")) + sse(chunk(finish="stop")) + sse("[DONE]")
    up.then(Answer(tuple(whole[i : i + 1] for i in range(len(whole)))))
    await talk.send(asks(ada, stream=True))
    status, headers = await talk.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    said = ""
    while piece := await talk.piece():
        said += piece.decode()  # each piece by itself: no character is cut by us
    assert "猫🐈é" in said
