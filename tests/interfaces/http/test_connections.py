"""How long connections live: slow heads, idle clients, clients who leave, readers who take nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress

import anyio
import pytest

from tests.clock import LoopClock
from tests.interfaces.http.conftest import KEEP_ALIVE_S, MOST_CONNECTIONS
from tests.interfaces.http.raw import LIVE, Wire, asks, connections_of, request, until, wire
from tests.interfaces.http.serving import Served
from tests.upstream import Answer, Hold, Upstream, chunk, sse


@pytest.fixture(autouse=True)
async def _the_server_goes_on(house: Served) -> AsyncIterator[None]:
    """Whatever a test did: the next client is answered, and nobody's connection stays."""
    yield
    async with wire(house) as talk:
        await talk.send(LIVE)
        assert (await talk.answer()).status == 200
    await until(lambda: connections_of(house) == 0)


# -- slow heads, and none ----------------------------------------------------------------------------


async def drip(talk: Wire, sent: bytes) -> None:
    """Send byte by byte, for as long as the server listens, at a pace at which it would take minutes."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        for i in range(len(sent)):
            await talk.send(sent[i : i + 1])
            await anyio.sleep(0.05)


SLOW = {
    "the first": (b"", b""),
    "the second": (LIVE, b""),
    "the second, begun with the first": (LIVE, LIVE[:20]),
}


@pytest.mark.parametrize(("before", "begun"), SLOW.values(), ids=SLOW.keys())
async def test_a_head_that_comes_too_slowly_is_408(slow_house: Served, before: bytes, begun: bytes) -> None:
    began = anyio.current_time()
    async with wire(slow_house) as talk, anyio.create_task_group() as tasks:
        if before:
            await talk.send(before + begun)
            assert (await talk.answer()).status == 200
        tasks.start_soon(drip, talk, LIVE[len(begun) :] * 100)
        answer = await talk.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await talk.closed() == b""
        assert 0.2 < anyio.current_time() - began < KEEP_ALIVE_S / 2, "the keep-alive's time has not passed"
        tasks.cancel_scope.cancel()
    await until(lambda: connections_of(slow_house) == 0)


async def test_a_head_in_pieces_that_comes_in_time_is_answered(
    slow_house: Served, loop_clock: LoopClock
) -> None:
    loop_clock.stop()
    async with wire(slow_house) as talk:
        for _ in range(3):
            for piece in (LIVE[:7], LIVE[7:30], LIVE[30:]):
                await talk.send(piece)
                await loop_clock.pass_by(0.1)
            assert (await talk.answer()).status == 200


async def test_a_connection_that_never_asks_is_closed_without_a_word(slow_house: Served) -> None:
    async with wire(slow_house) as talk:
        began = anyio.current_time()
        assert await talk.closed() == b""
        assert anyio.current_time() - began < KEEP_ALIVE_S / 2


async def test_between_requests_a_connection_may_be_idle_for_longer_than_a_head_may_take(
    slow_house: Served, loop_clock: LoopClock
) -> None:
    loop_clock.stop()
    async with wire(slow_house) as talk:
        for _ in range(2):
            await talk.send(LIVE)
            assert (await talk.answer()).status == 200
            await loop_clock.pass_by(0.9 * KEEP_ALIVE_S)
        await loop_clock.pass_by(0.2 * KEEP_ALIVE_S)
        assert await talk.closed() == b""


async def test_an_answer_may_take_longer_than_a_head(
    slow_house: Served, up: Upstream, loop_clock: LoopClock
) -> None:
    up.then(Answer((Hold("words"), sse(chunk("Hi")), sse(chunk(finish="stop")), sse("[DONE]"))))
    key = await slow_house.key("ada")
    loop_clock.stop()
    async with wire(slow_house) as talk:
        await talk.send(asks(key) + LIVE[:20])
        await up.reached("words")
        await loop_clock.pass_by(0.7)
        up.open("words")
        assert (await talk.answer()).status == 200
        await talk.send(LIVE[20:])
        assert (await talk.answer()).status == 200


async def test_http_2_that_is_begun_and_then_not_spoken_is_closed(
    slow_house: Served, loop_clock: LoopClock
) -> None:
    async with wire(slow_house) as talk:
        await talk.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        await talk.some(1)  # its own settings
        await loop_clock.pass_by(KEEP_ALIVE_S)
        await talk.closed()
    await until(lambda: connections_of(slow_house) == 0)


async def test_one_connection_too_many_is_503_and_the_others_go_on(
    slow_house: Served, loop_clock: LoopClock
) -> None:
    await until(lambda: connections_of(slow_house) == 0)
    loop_clock.stop()  # none is let go because the others take long to come
    async with AsyncExitStack() as stack:
        taken = [await stack.enter_async_context(wire(slow_house)) for _ in range(MOST_CONNECTIONS)]
        for talk in taken:
            await talk.send(LIVE)
            assert (await talk.answer()).status == 200
        async with wire(slow_house) as one_more:
            await one_more.send(LIVE)
            answer = await one_more.answer()
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            await one_more.closed()
        await taken[0].send(LIVE)
        assert (await taken[0].answer()).status == 200
    loop_clock.go_on()
    await until(lambda: connections_of(slow_house) == 0)
    async with wire(slow_house) as talk:
        await talk.send(LIVE)
        assert (await talk.answer()).status == 200


# -- clients who leave ---------------------------------------------------------------------------------

LEAVINGS = ("closed", "reset", "half closed")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("how", LEAVINGS)
async def test_a_client_that_leaves_leaves_the_model_too(
    house: Served, ada: str, up: Upstream, how: str, stream: bool
) -> None:
    up.then(Answer((sse(chunk("Hi")), Hold("words"), Hold())))
    async with wire(house) as talk:
        await talk.send(asks(ada, stream=stream))
        await up.reached("words")
        if stream:
            await talk.head()
        if how == "half closed":
            talk.end()
            await up.left()
        elif how == "reset":
            talk.reset()
    await up.left()


@pytest.mark.parametrize("asked", [False, True], ids=["without a word", "after an answer"])
@pytest.mark.parametrize("how", LEAVINGS)
async def test_an_idle_connection_ends_with_its_client(house: Served, how: str, asked: bool) -> None:
    await until(lambda: connections_of(house) == 0)
    async with wire(house) as talk:
        if asked:
            await talk.send(request("GET", "/health/live"))
            assert (await talk.answer()).status == 200
        await until(lambda: connections_of(house) == 1)
        if how == "half closed":
            talk.end()
            await talk.closed()
        elif how == "reset":
            talk.reset()
    await until(lambda: connections_of(house) == 0)


async def test_a_client_that_says_that_it_asks_no_more_is_answered_and_let_go(house: Served) -> None:
    async with wire(house) as talk:
        await talk.send(request("GET", "/health"))
        talk.end()
        assert (await talk.closed()).startswith(b"HTTP/1.1 200")
    await until(lambda: connections_of(house) == 0)


async def test_a_client_that_leaves_while_another_request_waits_behind_leaves_the_model_too(
    house: Served, ada: str, up: Upstream
) -> None:
    up.then(Answer((sse(chunk("Hi")), Hold("words"), Hold())))
    async with wire(house) as talk:
        await talk.send(asks(ada, stream=True) + request("GET", "/health/live"))
        await up.reached("words")
    await up.left()


# -- slow readers --------------------------------------------------------------------------------------

BIG = "x" * 64_000


@pytest.mark.parametrize("n", [1, 2], ids=["one answer", "two answers"])
async def test_a_reader_who_takes_nothing_is_cut_off_and_the_model_is_left(
    slow_house: Served, up: Upstream, n: int
) -> None:
    endless = Answer((sse(chunk(BIG)),) * 2000)
    up.then(*[endless] * n)
    key = await slow_house.key("ada")
    async with wire(slow_house, receive_buffer=4096) as talk:
        await talk.send(asks(key, stream=True, n=n))
        await until(lambda: len(up.requests) == n)
        for request_ in range(n):
            await up.left(request_)
        # also the connection is given up, though its last words can never be delivered
        await until(lambda: connections_of(slow_house) == 0)


async def test_a_slow_reader_slows_the_model_and_memory_stays_flat(
    house: Served, ada: str, up: Upstream
) -> None:
    """128 MB are to be said; what nobody has read yet waits in the model's server, not here."""
    said = 0

    def endless() -> Iterator[bytes]:
        nonlocal said
        for _ in range(2000):
            said += len(BIG)
            yield sse(chunk(BIG))

    up.then(Answer(endless()))
    async with wire(house, receive_buffer=4096) as talk:
        await talk.send(asks(ada, stream=True))
        await talk.head()
        before = -1
        while before != said:  # until nothing moves any more
            before = said
            await anyio.sleep(0.3)
        assert 0 < said < 40_000_000
        assert BIG in (await talk.piece()).decode() + (await talk.piece()).decode()
    await up.left()


async def test_a_reader_who_takes_nothing_of_an_answer_that_has_ended_is_let_go(slow_house: Served) -> None:
    """A few bytes that cannot be sent would otherwise keep the connection for as long as the client lives."""
    async with wire(slow_house, receive_buffer=4096) as talk:
        with anyio.move_on_after(0.5):
            await talk.send(request("GET", "/docs") * 300)
        await until(lambda: connections_of(slow_house) == 0)


async def test_a_client_that_leaves_a_row_of_answers_is_no_fault_of_the_server(
    house: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with wire(house, receive_buffer=4096) as talk:
        with anyio.move_on_after(0.5):
            await talk.send(request("GET", "/docs") * 300)
    await until(lambda: connections_of(house) == 0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
