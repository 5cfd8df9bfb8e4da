"""Which tools a turn may use, and which of them a stage offers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cozy.ports.tools import ToolSpec
from cozy.stages.base import NodeInfo
from cozy.stages.offer import Offer, is_allowed, offer_of, tools_text
from cozy.stages.tool_arguments import compile_tools
from cozy.turn import ClientTool
from tests.stages.seat import persona, turn

CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object"})
RAIN = ToolSpec("mcp/weather/rain", "Tells whether it rains.", {"type": "object"})
MIA = persona(tools=compile_tools([CLOCK, RAIN]), tools_text=tools_text([CLOCK, RAIN]))
BASKET = ClientTool("basket", "Shows it.", {"type": "object"}, strict=True)


def offer(**facts: Any) -> Offer:
    return offer_of(MIA, turn(**facts))


def named(specs: tuple[ToolSpec, ...]) -> list[str]:
    return [spec.name for spec in specs]


def test_a_plain_turn_has_the_personalitys_tools() -> None:
    plain = offer()
    assert (plain.ours, plain.clients, plain.text) == (MIA.tools, (), MIA.tools_text)
    assert plain.specs == (CLOCK, RAIN)


def test_a_clients_tools_stand_behind_ours_as_the_client_names_them() -> None:
    both = offer(tools=(BASKET,))
    assert named(both.specs) == ["clock", "mcp/weather/rain", "basket"]
    assert both.clients == (ToolSpec("basket", "Shows it.", {"type": "object"}, strict=True),)
    assert [told["name"] for told in json.loads(both.text)] == named(both.specs)


def test_a_clients_tool_takes_the_place_of_ours_of_that_name() -> None:
    assert named(offer(tools=(ClientTool("clock"),)).specs) == ["mcp/weather/rain", "clock"]


@pytest.mark.parametrize(
    ("allowed", "denied", "left"),
    [
        pytest.param(None, (), ["clock", "mcp/weather/rain"], id="all"),
        pytest.param((), (), [], id="none"),
        pytest.param(("clock",), (), ["clock"], id="one"),
        pytest.param(("mcp/*",), (), ["mcp/weather/rain"], id="a pattern"),
        pytest.param(None, ("mcp/*",), ["clock"], id="all but a pattern"),
        pytest.param(("*",), ("*",), [], id="what is denied is denied"),
        pytest.param(("calculator",), (), [], id="nothing that the personality has"),
    ],
)
def test_a_turn_uses_what_is_allowed_and_not_denied(
    allowed: tuple[str, ...] | None, denied: tuple[str, ...], left: list[str]
) -> None:
    narrow = offer(allowed_tools=allowed, denied_tools=denied)
    assert named(narrow.specs) == left
    assert bool(narrow.text) == bool(left)


def test_a_name_with_brackets_allows_itself() -> None:
    assert is_allowed("mcp/a[1]/x", turn(allowed_tools=("mcp/a[1]/x",)))


@pytest.mark.parametrize(
    ("speaks", "loops", "offered"),
    [
        (True, True, ["clock", "mcp/weather/rain", "basket"]),
        (True, False, ["basket"]),
        (False, True, ["clock", "mcp/weather/rain"]),
        (False, False, []),
    ],
)
def test_a_stage_offers_ours_where_a_loop_follows_and_the_clients_where_it_speaks(
    speaks: bool, loops: bool, offered: list[str]
) -> None:
    both = offer(tools=(BASKET,))
    specs = both.to(NodeInfo("answer", speaks, loops))
    assert named(specs) == offered
    assert both.text_of(specs) == tools_text(specs)
