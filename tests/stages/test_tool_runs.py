"""Whose calls are run, which are not, and which not a second time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from cozy.adapters.scripted_engines import ScriptedToolbox
from cozy.events import ToolFinished
from cozy.stages.base import NodeInfo
from cozy.stages.tool_arguments import compile_tools
from cozy.stages.tool_runs import ToolRuns
from cozy.stages.values import Generation
from cozy.turn import ClientTool, Message, ToolCall, TurnId, UserId
from tests.stages.seat import ADA, Seat, persona, ports, turn

EARLIER = TurnId(uuid4())


class Rounds:
    """A store of which only the rounds of an earlier turn are asked."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        self.asked: list[tuple[UserId, TurnId]] = []

    async def rounds(self, user_id: UserId, turn_id: TurnId) -> Sequence[Message]:
        self.asked.append((user_id, turn_id))
        return self.messages


def tools() -> ScriptedToolbox:
    return ScriptedToolbox(
        {
            "tools": [
                {"name": "book", "result": "Booked.", "side_effects": True},
                {"name": "clock", "result": "12:00"},
                {"name": "secret", "result": "?"},
            ]
        }
    )


def seat(box: ScriptedToolbox, store: Any = None, *, speaks: bool = True, **facts: Any) -> Seat:
    mia = persona(tools=compile_tools(box.specs()[:2]))
    node = NodeInfo("tools", speaks=speaks)
    return Seat(turn=turn(**facts), persona=mia, node=node, ports=ports(tools=box, store=store))


def call(name: str, arguments: str = "{}", id_: str = "c1") -> ToolCall:
    return ToolCall(id_, name, arguments)


async def ran(here: Seat, *made: ToolCall) -> list[str]:
    said = Generation("Let me see.", made, "tool_calls")
    return [m.content for m in await ToolRuns(here, None).round(said, made)]


def told(*made: tuple[ToolCall, str]) -> tuple[Message, ...]:
    """A round as it is stored."""
    asked = Message("assistant", tool_calls=tuple(one for one, _ in made))
    return (asked, *(Message("tool", text, tool_call_id=one.id) for one, text in made))


# -- whose ----------------------------------------------------------------------------------------------


def test_the_clients_calls_are_told_from_ours() -> None:
    runs = ToolRuns(seat(tools(), tools=(ClientTool("basket"), ClientTool("clock"))), None)
    made = (call("basket"), call("book"), call("clock"), call("nothing"))
    assert runs.parted(made) == ((made[1], made[3]), (made[0], made[2]))


def test_a_hidden_stage_has_no_client_to_run_its_calls() -> None:
    made = (call("basket"),)
    here = seat(tools(), speaks=False, tools=(ClientTool("basket"),))
    assert ToolRuns(here, None).parted(made) == (made, ())


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        pytest.param("clock", {"allowed_tools": ("book",)}, id="the turn does not allow it"),
        pytest.param("clock", {"denied_tools": ("cl*",)}, id="the user may not"),
        pytest.param("secret", {}, id="not one of the personality"),
    ],
)
async def test_a_tool_that_is_not_allowed_is_not_run_whatever_the_model_says(
    name: str, facts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    box = tools()
    with caplog.at_level(logging.WARNING):
        [content] = await ran(seat(box, **facts), call(name, '{"private": "words"}'))
    assert f"the tool `{name}` is not allowed here" in content
    assert box.calls == []
    [record] = caplog.records
    assert (record.getMessage(), record.__dict__["tool"]) == ("tool denied", name)
    assert "words" not in str(record.__dict__)


async def test_a_name_that_no_tool_has_is_answered_with_the_nearest_that_may_be_used() -> None:
    [content] = await ran(seat(tools(), denied_tools=("clock",)), call("clok"))
    assert "there is no tool `clok`" in content
    assert "clock" not in content.partition("hint")[2]


# -- kept -----------------------------------------------------------------------------------------------


async def test_calls_and_results_are_kept_as_they_come() -> None:
    here = seat(tools(), tools=(ClientTool("basket"),))
    made = (call("book", id_="c1"), call("clock", id_="c2"))
    said = Generation("Let me see.", (*made, call("basket", id_="c3")), "tool_calls")
    results = await ToolRuns(here, None).round(said, made)
    assert here.kept[0] == Message("assistant", "Let me see.", tool_calls=made)
    assert sorted(here.kept[1:], key=str) == sorted(results, key=str)


# -- not a second time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    ['{"at": "seven", "table": 4}', ' {"table":4,"at":"seven"} ', '{"table": 4, "at": "\\u0073even"}'],
)
async def test_what_a_turn_has_done_is_not_done_again_when_it_is_said_again(arguments: str) -> None:
    box, store = tools(), Rounds(*told((call("book", '{"table": 4, "at": "seven"}'), "Booked, number 7.")))
    here = seat(box, store, retry_of=EARLIER)
    assert await ran(here, call("book", arguments, "c9")) == ["Booked, number 7."]
    assert (box.calls, store.asked) == ([], [(ADA, EARLIER)])
    assert [e.content for e in here.events if isinstance(e, ToolFinished)] == ["Booked, number 7."]


async def test_other_arguments_are_another_call() -> None:
    box, store = tools(), Rounds(*told((call("book", '{"table": 4}'), "Booked, number 7.")))
    assert await ran(seat(box, store, retry_of=EARLIER), call("book", '{"table": 5}')) == ["Booked."]


async def test_of_two_attempts_the_later_result_stands() -> None:
    attempts = (*told((call("book"), "not known")), *told((call("book"), "Booked, number 7.")))
    assert await ran(seat(tools(), Rounds(*attempts), retry_of=EARLIER), call("book")) == [
        "Booked, number 7."
    ]


async def test_what_changes_nothing_is_run_again_and_nobody_looks_back_for_it() -> None:
    store = Rounds(*told((call("clock"), "11:00")))
    assert await ran(seat(tools(), store, retry_of=EARLIER), call("clock")) == ["12:00"]
    assert store.asked == []


async def test_a_turn_looks_back_once() -> None:
    store = Rounds()
    here = seat(tools(), store, retry_of=EARLIER)
    runs, made = ToolRuns(here, None), (call("book"),)
    for _ in range(2):
        await runs.round(Generation("", made, "tool_calls"), made)
    assert len(store.asked) == 1


async def test_a_turn_that_says_nothing_again_does_not_look_back() -> None:
    store = Rounds()
    assert await ran(seat(tools(), store), call("book")) == ["Booked."]
    assert store.asked == []


async def test_stored_calls_that_cannot_be_read_are_no_obstacle() -> None:
    store = Rounds(*told((call("book", "{"), "broken")), Message("tool", "of nothing", tool_call_id=None))
    assert await ran(seat(tools(), store, retry_of=EARLIER), call("book")) == ["Booked."]
