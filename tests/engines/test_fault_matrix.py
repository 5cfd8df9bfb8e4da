"""Whatever an engine does wrong: the turn answers in time, says what it missed, and shows nothing of others.

Each engine × each fault × {nothing kept, the answer kept, the breaker open}, through the standard pipeline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product

import pytest

from cozy.events import TurnFinished
from tests.engines.fake_cognee import STRANGERS_SECRET as STRANGERS_PASSAGE
from tests.engines.fake_mem0 import STRANGERS_SECRET
from tests.engines.house import PLACES, House, house_in, prompt_of, records
from tests.engines.server import FAULTS, Fault

OUTCOMES: dict[str, str] = {
    "slow": "ENGINE_TIMEOUT",
    "hanging": "ENGINE_TIMEOUT",
    "refused": "ENGINE_UNAVAILABLE",
    "401": "ENGINE_AUTH",
    "403": "ENGINE_AUTH",
    "429": "ENGINE_RATE_LIMITED",
    "500": "ENGINE_UNAVAILABLE",
    "html": "ENGINE_UNAVAILABLE",
    "cut": "ENGINE_UNAVAILABLE",
    "wrong_json": "ENGINE_UNAVAILABLE",
    "wrong_shape": "ENGINE_UNAVAILABLE",
    "huge": "ENGINE_UNAVAILABLE",
    "another_user": "ENGINE_UNAVAILABLE",
}
ASKED = "How hot is the water for tea?"
KNOWN = {
    "knowledge": "Green tea wants water at 80 degrees.",
    "profile": "Ada likes tea",
    "memory": "Ada likes tea",
}
CELLS = [
    (victim, fault)
    for victim, fault in product((*PLACES, "hosted"), FAULTS)
    if not (victim == "profile" and fault == "another_user")  # its items do not say whose they are
]
SLOW_S = 5.0
"""Of an engine that is too slow for a stage in a hurry (100 ms)."""


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house_in(tmp_path_factory.mktemp("house")) as house:
        for engine in house.engines.values():
            engine.slow_s = SLOW_S
        yield house


@pytest.fixture
async def house(shared: House) -> AsyncIterator[House]:
    yield shared
    for engine in shared.engines.values():
        await engine.be("well")
    shared.reset()


def patient(victim: str) -> str:
    """A personality that waits for its engines, this one among them."""
    return "mia_hosted" if victim == "hosted" else "mia"


def hurried(victim: str, fault: Fault) -> str:
    """One that does not wait long for an engine that would never come."""
    if fault not in ("slow", "hanging"):
        return patient(victim)
    return "mia_in_the_cloud" if victim == "hosted" else f"mia_{victim}"


def place_of(victim: str) -> str:
    return "memory" if victim == "hosted" else victim


def is_right(done: TurnFinished, place: str, outcome: str) -> None:
    """One engine is missed, for this reason; the others are there, and nothing of a stranger's is."""
    trace, found = done.trace, records(done.trace)
    assert found[place].outcome == outcome
    assert found[place].items == 0
    assert found[place].reason
    stage = next(s for s in trace.stages if s.id == place)
    assert (stage.outcome, stage.facts["code"]) == ("degraded", outcome)
    for other in set(PLACES) - {place}:
        assert found[other].outcome == "ok", found[other]
    prompt = prompt_of(trace)
    # memory and profile say the same here, and what is said twice is folded
    for other in set(PLACES) - {place}:
        assert KNOWN[other] in prompt
    assert STRANGERS_SECRET not in prompt
    assert STRANGERS_PASSAGE not in prompt


def in_time(done: TurnFinished, place: str, fault: Fault) -> None:
    """The deadline is 100 ms; the machine may be busy with other things."""
    stage = next(s for s in done.trace.stages if s.id == place)
    if fault in ("slow", "hanging"):
        assert stage.seconds < SLOW_S


@pytest.mark.parametrize(("victim", "fault"), CELLS, ids=lambda value: value)
async def test_with_nothing_kept_the_turn_goes_on_without(house: House, victim: str, fault: Fault) -> None:
    ada = await house.user()
    await house.engines[victim].be(fault)
    done = await house.say(ASKED, ada, hurried(victim, fault))
    is_right(done, place_of(victim), OUTCOMES[fault])
    in_time(done, place_of(victim), fault)


@pytest.mark.parametrize(("victim", "fault"), CELLS, ids=lambda value: value)
async def test_what_is_kept_is_used_and_nothing_is_missed(house: House, victim: str, fault: Fault) -> None:
    ada, place = await house.user(), place_of(victim)
    await house.say(ASKED, ada, patient(victim))
    await house.engines[victim].be(fault)
    done = await house.say(ASKED, ada, hurried(victim, fault))
    found = records(done.trace)
    assert (found[place].outcome, found[place].cache) == ("ok", "l1")
    assert not [s for s in done.trace.stages if s.outcome == "degraded"]
    assert KNOWN[place] in prompt_of(done.trace)


@pytest.mark.parametrize(("victim", "fault"), CELLS, ids=lambda value: value)
async def test_while_the_breaker_is_open_it_is_not_asked(house: House, victim: str, fault: Fault) -> None:
    ada, engine = await house.user(), house.engines[victim]
    await engine.be(fault)
    breaker = house.guard(victim).breaker
    while (ticket := breaker.enter()) is not None:
        breaker.failed(ticket)
    before = len(engine.requests)
    done = await house.say(ASKED, ada, hurried(victim, fault))
    is_right(done, place_of(victim), "ENGINE_CIRCUIT_OPEN")
    assert len(engine.requests) == before


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "another_user"])
async def test_all_three_at_once(house: House, fault: Fault) -> None:
    ada = await house.user()
    for engine in house.engines.values():
        await engine.be(fault)
    done = await house.say(ASKED, ada, "mia_all" if fault in ("slow", "hanging") else "mia")
    found = records(done.trace)
    assert {place: found[place].outcome for place in PLACES} == dict.fromkeys(PLACES, OUTCOMES[fault])
    assert not any(words in prompt_of(done.trace) for words in KNOWN.values())
    for place in PLACES:
        in_time(done, place, fault)
