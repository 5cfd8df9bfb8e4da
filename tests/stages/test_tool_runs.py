"""Whose calls are run, which are not, and which not a second time."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio
import pytest

from cozy.adapters.scripted_engines import ScriptedToolbox
from cozy.errors import StorageError
from cozy.events import ToolFinished
from cozy.ports.effects import Effect
from cozy.stages.base import NodeInfo
from cozy.stages.conversation import NOT_KNOWN
from cozy.stages.tool_arguments import compile_tools
from cozy.stages.tool_runs import ToolRuns
from cozy.stages.values import Generation
from cozy.turn import ClientTool, Message, RequestMark, ToolCall, TurnId
from tests.stages.seat import ADA, FIRST, MAIN, Known, Seat, Trail, persona, ports, turn

EARLIER = TurnId(uuid4())


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


def seat(
    box: Any, effects: Known | None = None, *, speaks: bool = True, trail: Trail | None = None, **facts: Any
) -> Seat:
    mia = persona(tools=compile_tools(box.specs()[:2]))
    node = NodeInfo("tools", speaks=speaks)
    given = ports(tools=box, effects=effects or Known(), audit=trail or Trail())
    return Seat(turn=turn(**facts), persona=mia, node=node, ports=given)


def call(name: str, arguments: str = "{}", id_: str = "c1") -> ToolCall:
    return ToolCall(id_, name, arguments)


async def ran(here: Seat, *made: ToolCall) -> list[str]:
    said = Generation("Let me see.", made, "tool_calls")
    return [m.content for m in await ToolRuns(here, None).round(said, made)]


def booked(arguments: str = "{}", result: str | None = "Booked, number 7.") -> Effect:
    return Effect("book", arguments, result)


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
    box, known = tools(), Known(booked('{"at": "seven", "table": 4}'))
    here = seat(box, known, retry_of=EARLIER)
    assert await ran(here, call("book", arguments, "c9")) == ["Booked, number 7."]
    assert (box.calls, known.asked, known.begun) == ([], [here.turn], [])
    assert [e.content for e in here.events if isinstance(e, ToolFinished)] == ["Booked, number 7."]


async def test_a_request_that_is_repeated_looks_back_as_well() -> None:
    box, mark = tools(), RequestMark("k", "b", repeated=True)
    assert await ran(seat(box, Known(booked()), request=mark), call("book")) == ["Booked, number 7."]
    assert box.calls == []


async def test_what_may_have_been_done_is_not_done_again() -> None:
    box = tools()
    here = seat(box, Known(booked(result=None)), retry_of=EARLIER)
    assert await ran(here, call("book")) == [NOT_KNOWN]
    assert box.calls == []


async def test_other_arguments_are_another_call() -> None:
    box, known = tools(), Known(booked('{"table": 4}'))
    assert await ran(seat(box, known, retry_of=EARLIER), call("book", '{"table": 5}')) == ["Booked."]


async def test_of_two_attempts_the_later_result_stands() -> None:
    known = Known(booked(result=None), booked())
    assert await ran(seat(tools(), known, retry_of=EARLIER), call("book")) == ["Booked, number 7."]


async def test_what_changes_nothing_is_run_again_and_nobody_looks_back_for_it() -> None:
    known = Known(Effect("clock", "{}", "11:00"))
    assert await ran(seat(tools(), known, retry_of=EARLIER), call("clock")) == ["12:00"]
    assert (known.asked, known.begun) == ([], [])


async def test_a_turn_looks_back_once() -> None:
    known = Known()
    runs, made = ToolRuns(seat(tools(), known, retry_of=EARLIER), None), (call("book"),)
    for _ in range(2):
        await runs.round(Generation("", made, "tool_calls"), made)
    assert len(known.asked) == 1


async def test_a_turn_that_says_nothing_again_does_not_look_back() -> None:
    known = Known(booked())
    assert await ran(seat(tools(), known), call("book")) == ["Booked."]
    assert known.asked == []


async def test_a_call_that_changes_something_is_kept_before_it_is_made_and_after() -> None:
    box, known = tools(), Known()
    await ran(seat(box, known), call("book", '{"table": 4}'))
    [begun], [ended] = known.begun, known.ended
    assert begun == Effect("book", '{"table": 4}', None, begun.id)
    assert ended == replace(begun, result="Booked.")


async def test_a_call_that_cannot_be_kept_is_not_made() -> None:
    box = tools()
    [content] = await ran(seat(box, Known(broken=["begin"])), call("book"))
    assert "the disk is full" in content
    assert box.calls == []


async def test_a_call_that_was_made_is_told_though_its_result_cannot_be_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await ran(seat(tools(), Known(broken=["end"])), call("book")) == ["Booked."]
    assert [r.getMessage() for r in caplog.records] == ["effect not kept"]


@pytest.mark.parametrize(
    ("came", "is_forgotten"),
    [
        pytest.param({"fault": {"kind": "ToolError"}}, True, id="it fails"),
        pytest.param({"content": "no table is free", "is_error": True}, True, id="it says that it failed"),
        pytest.param({"fault": {"kind": "stall"}}, False, id="it says nothing in its time"),
        pytest.param({"fault": {"kind": "cut"}}, False, id="its connection broke"),
    ],
)
async def test_a_call_that_failed_may_be_tried_again_and_one_of_which_nobody_knows_may_not(
    came: dict[str, Any], is_forgotten: bool
) -> None:
    book = {"name": "book", "side_effects": True, "timeout_s": 0.1, "results": [came]}
    known = Known()
    await ran(seat(ScriptedToolbox({"tools": [book]}), known), call("book"))
    [begun] = known.begun
    assert known.ended == ([begun] if is_forgotten else [])


# -- on record ------------------------------------------------------------------------------------------


async def test_every_call_is_on_record_and_never_what_it_was_called_with() -> None:
    trail, mark = Trail(), RequestMark("k", "b", repeated=True)
    here = seat(tools(), Known(booked()), trail=trail, request=mark, request_id="req_1")
    await ran(here, call("clock"), call("book", id_="c2"), call("secret", '{"private": "words"}', "c3"))
    await ran(here, call("clock", "{", "c4"), call("clok", id_="c5"), call("private words", id_="c6"))
    assert sorted((e.type, e.payload["tool"], e.payload["outcome"]) for e in trail.events) == [
        ("tool.denied", "clok", "TOOL_UNKNOWN"),
        ("tool.denied", "secret", "TOOL_DENIED"),
        ("tool.denied", "…", "TOOL_UNKNOWN"),
        ("tool.executed", "book", "not_run_again"),
        ("tool.executed", "clock", "TOOL_FAILED"),
        ("tool.executed", "clock", "ok"),
    ]
    for event in trail.events:
        assert (event.user_id, event.session_id, event.personality_id, event.request_id) == (
            ADA,
            MAIN,
            "mia",
            "req_1",
        )
        assert event.payload["turn_id"] == str(FIRST)
    assert "words" not in str(trail.events)
    # names that models make up have no end
    assert sorted(here.calls) == [
        ("", "TOOL_UNKNOWN"),
        ("", "TOOL_UNKNOWN"),
        ("book", "not_run_again"),
        ("clock", "TOOL_FAILED"),
        ("clock", "ok"),
        ("secret", "TOOL_DENIED"),
    ]


async def test_a_call_that_is_cut_off_is_on_record() -> None:
    slow = {"name": "book", "results": [{"fault": {"kind": "stall"}}]}
    trail = Trail()
    here = seat(ScriptedToolbox({"tools": [slow]}), trail=trail)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ran, here, call("book"))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert [e.payload["outcome"] for e in trail.events] == ["interrupted"]


async def test_a_turn_goes_on_though_its_calls_cannot_be_put_on_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trail = Trail(StorageError("the disk is full"))
    assert await ran(seat(tools(), trail=trail), call("clock")) == ["12:00"]
    assert [r.getMessage() for r in caplog.records] == ["tools not audited"]
