"""Calls and their results in the order that servers take."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.stages.conversation import answered
from cozy.turn import Message, ToolCall

HELLO, BYE = Message("user", "hello"), Message("user", "bye")


def calls(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tool_calls=tuple(ToolCall(id_, "clock", "{}") for id_ in ids))


def result(id_: str | None, text: str = "12:00") -> Message:
    return Message("tool", text, tool_call_id=id_)


NONE = "none given"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([HELLO, BYE], [HELLO, BYE], id="no calls"),
        pytest.param([HELLO, calls("1"), result("1")], [HELLO, calls("1"), result("1")], id="whole"),
        pytest.param(
            [HELLO, calls("1", "2"), result("2"), BYE],
            [HELLO, calls("1", "2"), result("1", NONE), result("2"), BYE],
            id="the client never came back with one",
        ),
        pytest.param([HELLO, calls("1")], [HELLO, calls("1"), result("1", NONE)], id="cut at the end"),
        pytest.param(
            [calls("1", "2"), result("2", "b"), result("1", "a")],
            [calls("1", "2"), result("1", "a"), result("2", "b")],
            id="in another order",
        ),
        pytest.param([HELLO, result("1"), BYE], [HELLO, BYE], id="a result without its call"),
        pytest.param(
            [calls("1"), result("1", "a"), result("1", "b")], [calls("1"), result("1", "a")], id="twice"
        ),
        pytest.param(
            [calls("1"), BYE, result("1")],
            [calls("1"), result("1", NONE), BYE],
            id="a result that comes too late",
        ),
        pytest.param(
            [calls("1", "1"), result("1", "a"), result("1", "b")],
            [calls("1", "1"), result("1", "a"), result("1", "b")],
            id="two calls of one id",
        ),
    ],
)
def test_each_call_is_answered_right_behind_it(messages: list[Message], expected: list[Message]) -> None:
    assert list(answered(messages, NONE)) == expected


_IDS = st.sampled_from(["a", "b", "c"])
_MESSAGES = st.one_of(
    st.just(HELLO),
    st.just(Message("assistant", "words")),
    st.lists(_IDS, max_size=3).map(lambda ids: calls(*ids)),
    st.builds(result, st.one_of(st.none(), _IDS)),
)


@example([calls("a", "a"), result("a"), calls("a"), result(None), result("b")])
@given(st.lists(_MESSAGES, max_size=12))
def test_any_messages_become_a_conversation_that_servers_take(messages: list[Message]) -> None:
    mended = answered(messages, NONE)
    place = 0
    while place < len(mended):
        message = mended[place]
        assert message.role != "tool", "a result behind no call"
        ids = [call.id for call in message.tool_calls]
        results = mended[place + 1 : place + 1 + len(ids)]
        assert [(m.role, m.tool_call_id) for m in results] == [("tool", id_) for id_ in ids]
        place += 1 + len(ids)
    assert [m for m in mended if m.role != "tool"] == [m for m in messages if m.role != "tool"]
    assert answered(mended, "other") == mended
