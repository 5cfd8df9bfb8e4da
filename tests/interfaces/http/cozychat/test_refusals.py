"""What is refused before anybody has read what it says is told to CozyChat's client as it can hear it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import pytest

from cozy.adapters.sql_identity import SqlIdentity
from tests.interfaces.http.cozychat.test_chat import Reader, body
from tests.interfaces.http.raw import CHAT, Answered, Wire, request, wire
from tests.interfaces.http.serving import Served, served

PAGE = {"origin": "https://chat.example"}
"""What a browser adds."""
LONG = body("长" * 2000)
"""6,000 bytes and more."""


@pytest.fixture
async def small_house(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Served]:
    server = {"max_body_bytes": 4000, "max_header_bytes": 3000, "body_timeout_s": 5}
    async with served(tmp_path, sqlite_url, server=server) as house:
        yield house


@pytest.fixture
async def talk(small_house: Served) -> AsyncIterator[Wire]:
    async with wire(small_house) as opened:
        yield opened


def is_apology(answer: Answered, words: str) -> None:
    assert answer.status == 200
    read = Reader(answer.body.decode())
    assert words in read.content
    assert (read.finish, read.done) == (["stop"], 1)


def is_threefold(answer: Answered, status: int, code: str) -> None:
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.error["message"].encode() in answer.body.split(b'"error"')[0]


def chunked(sent: bytes) -> bytes:
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (sent[:1000], sent[1000:])) + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("credential", ["login", "", "null"], ids=["logged in", "none", "none kept"])
async def test_a_body_announced_too_long_is_told_in_the_chat_when_all_of_it_was_sent(
    small_house: Served, talk: Wire, credential: str
) -> None:
    token = await small_house.token("ann") if credential == "login" else credential
    sent = request("POST", CHAT, token, LONG, **PAGE)
    await talk.send(sent[:-1000])
    with anyio.move_on_after(0.3):  # a browser would take an answer now for a broken connection
        await talk.head()
        pytest.fail("it was answered while the body was on its way")
    await talk.send(sent[-1000:])
    is_apology(await talk.answer(), "太长")


async def test_a_body_that_turns_out_too_long_is_told_in_the_chat(small_house: Served, talk: Wire) -> None:
    head, _, sent = request("POST", CHAT, await small_house.token("ann"), LONG, **PAGE).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    head = b"\r\n".join([*lines, b"transfer-encoding: chunked"])
    await talk.send(head + b"\r\n\r\n" + chunked(sent))
    is_apology(await talk.answer(), "太长")


async def test_whoever_sends_without_end_is_not_waited_for(small_house: Served, talk: Wire) -> None:
    token = await small_house.token("ann")
    await talk.send(request("POST", CHAT, token, b"x" * 20_000, length=10_000_000, **PAGE))
    is_apology(await talk.answer(), "太长")
    await talk.closed()


@pytest.mark.parametrize(
    ("credential", "headers"),
    [
        pytest.param("key", PAGE, id="a page with a key"),
        pytest.param("token", {}, id="a script with a login's token"),
        pytest.param("token", PAGE | {"x_stainless_lang": "js"}, id="OpenAI's client in a page"),
        pytest.param("key", {}, id="OpenAI's client"),
    ],
)
async def test_other_clients_get_true_statuses(
    small_house: Served, talk: Wire, credential: str, headers: Mapping[str, str]
) -> None:
    words = await (small_house.key if credential == "key" else small_house.token)("ann")
    await talk.send(request("POST", CHAT, words, LONG, **headers))
    answer = await talk.answer()
    assert (answer.status, answer.error["code"]) == (413, "VALIDATION_TOO_LARGE")


async def test_a_body_that_comes_too_slowly_is_told_in_the_chat(slow_house: Served) -> None:
    async with wire(slow_house) as talk:
        token = await slow_house.token("ann")
        await talk.send(request("POST", CHAT, token, b'{"mess', length=100, **PAGE))
        is_apology(await talk.answer(), "没有完整传到")
        await talk.closed()


async def test_headers_too_large_are_told_in_the_chat(small_house: Served, talk: Wire) -> None:
    token, big = await small_house.token("ann"), "y" * 3000
    await talk.send(request("POST", CHAT, token, body("hello"), **PAGE, x_big=big))
    is_apology(await talk.answer(), "the request's head")
    await talk.send(request("POST", CHAT, token, {"messages": []}, x_big=big))
    assert (await talk.answer()).status == 431


async def test_forms_find_the_words_of_what_the_gate_refuses(small_house: Served, talk: Wire) -> None:
    token = await small_house.token("ann")
    profile = "/v1/users/me/profile"
    await talk.send(request("GET", profile, token, x_big="y" * 3000))
    is_threefold(await talk.answer(), 431, "VALIDATION_HEADERS_TOO_LARGE")
    await talk.send(request("PUT", f"{profile}", token, {"bio": "x" * 5000}))
    is_threefold(await talk.answer(), 413, "VALIDATION_TOO_LARGE")


async def test_a_bug_is_told_as_each_client_hears_it(
    small_house: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("a bug")

    token = await small_house.token("ann")
    monkeypatch.setattr(SqlIdentity, "authenticate", broken)
    asks = {
        "chat": request("POST", CHAT, token, body("hello")),
        "form": request("GET", "/v1/users/me", token),
        "plain": request("POST", CHAT, token, {"messages": []}),
    }
    told: dict[str, Answered] = {}
    for name, sent in asks.items():
        async with wire(small_house) as talk:
            await talk.send(sent)
            told[name] = await talk.answer()
    is_apology(told["chat"], "went wrong")
    is_threefold(told["form"], 500, "INTERNAL_ERROR")
    assert (told["plain"].status, told["plain"].error["code"]) == (500, "INTERNAL_ERROR")
    assert b'"detail"' not in told["plain"].body
