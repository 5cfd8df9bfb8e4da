"""Bytes → events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.adapters import sse
from cozy.adapters.sse import ServerSentEvent, SSEOverflow, SSEParser


def events(*pieces: bytes) -> list[ServerSentEvent]:
    parser = SSEParser()
    found = [event for piece in pieces for event in parser.feed(piece)]
    return [*found, *parser.end()]


def datas(*pieces: bytes) -> list[str]:
    return [event.data for event in events(*pieces)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param("data: a\n\ndata: b\n\n", ["a", "b"], id="two events"),
        pytest.param("data:a\n\n", ["a"], id="no space after the colon"),
        pytest.param("data:  a\n\n", [" a"], id="only one space is dropped"),
        pytest.param("data: a\ndata: b\n\n", ["a\nb"], id="several data lines"),
        pytest.param("data\n\n", [""], id="a bare field name"),
        pytest.param("data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"], id="CRLF"),
        pytest.param("data: a\r\rdata: b\r\r", ["a", "b"], id="CR"),
        pytest.param("data: a\r\n\ndata: b\n\r", ["a", "b"], id="all line ends at once"),
        pytest.param(": ping\n\ndata: a\n\n: ping\n\n", ["a"], id="comments"),
        pytest.param("data: a\n: ping\ndata: b\n\n", ["a\nb"], id="a comment within an event"),
        pytest.param("\ufeffdata: a\n\n", ["a"], id="a byte order mark"),
        pytest.param("data: \ufeffa\n\n", ["\ufeffa"], id="no mark beyond the start"),
        pytest.param("id: 7\nretry: 10\nfoo: x\ndata: a\n\n", ["a"], id="other fields"),
        pytest.param("event: x\n\n", [], id="an event without data"),
        pytest.param("data: a\u2028b\x85c\n\n", ["a\u2028b\x85c"], id="Unicode line ends are text"),
        pytest.param("data: 你好\n\n", ["你好"], id="Chinese"),
        pytest.param("data: a", ["a"], id="an end without a line end"),
        pytest.param("data: a\n", ["a"], id="an end without a blank line"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream: str, expected: list[str]) -> None:
    assert datas(stream.encode()) == expected


def test_an_event_has_a_name_for_itself_only() -> None:
    found = events(b"event: error\ndata: a\n\ndata: b\n\n")
    assert found == [ServerSentEvent("a", "error"), ServerSentEvent("b", "message")]


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert datas(b"data: a\xff\n\ndata: \xe4\xbd\n\n") == ["a\ufffd", "\ufffd"]


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [ServerSentEvent("a")]


@pytest.mark.parametrize(
    "piece", [b"x" * 50, b"data: " + b"x" * 44 + b"\n"], ids=["one line", "one event of many lines"]
)
def test_an_event_without_an_end_does_not_fill_the_memory(
    piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_CHARS", 1000)
    with pytest.raises(SSEOverflow):
        events(*[piece] * 100)


LINES = st.lists(
    st.sampled_from(
        ["data: 你好", "data:x", "data", ": ping", "event: e", "", "", "id: 1", "\ufeffdata: y", "data: 😀 é"]
    ),
    max_size=12,
)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    stream = "".join(line + draw(ends) for line in draw(LINES)).encode()
    return stream, sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))


@given(cut_streams())
@example(("data: 你\r\n\r\ndata: b\n\n".encode(), [7, 10, 12]))
@example((b"data: a\r\ndata: b\r\n\r\n", [8, 18]))
@example(("\ufeffdata: a\n\n".encode(), [1, 2]))
def test_events_do_not_depend_on_where_the_bytes_were_cut(case: tuple[bytes, list[int]]) -> None:
    stream, cuts = case
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    assert events(*pieces) == events(stream)


@given(st.lists(st.binary(max_size=20)))
def test_any_bytes_at_all_are_read_alike_however_they_are_cut(pieces: list[bytes]) -> None:
    assert events(*pieces) == events(b"".join(pieces))
