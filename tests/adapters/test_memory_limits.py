"""Rate limits within one process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.memory_limits import MemoryLimits
from cozy.ports.limits import Rate

RATE = Rate(count=60, per_s=60, burst=3)
"""One a second, three at once."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> MemoryLimits:
    return MemoryLimits(clock=clock)


async def test_the_burst_may_be_taken_at_once_and_then_one_by_one(limits: MemoryLimits, clock: Clock) -> None:
    taken = [await limits.take("ada", RATE) for _ in range(4)]
    assert [a.allowed for a in taken] == [True, True, True, False]
    assert [a.remaining for a in taken] == [2, 1, 0, 0]
    assert [a.reset_s for a in taken] == [1, 2, 3, 3]
    assert {a.limit for a in taken} == {3}
    assert taken[3].retry_after_s == 1
    clock.now += 1
    assert (await limits.take("ada", RATE)).allowed
    assert not (await limits.take("ada", RATE)).allowed
    clock.now += 100
    assert (await limits.take("ada", RATE)).remaining == 2, "it fills up to the burst and no further"


async def test_keys_do_not_know_of_each_other(limits: MemoryLimits) -> None:
    for _ in range(3):
        await limits.take("ada", RATE)
    assert (await limits.take("bob", RATE)).remaining == 2


async def test_what_is_refused_costs_nothing(limits: MemoryLimits, clock: Clock) -> None:
    await limits.take("ada", RATE, cost=3)
    for _ in range(50):
        assert not (await limits.take("ada", RATE, cost=2)).allowed
    refused = await limits.take("ada", RATE, cost=2)
    assert refused.retry_after_s == 2
    clock.now += 2
    assert (await limits.take("ada", RATE, cost=2)).allowed


async def test_what_came_to_nothing_is_given_back(limits: MemoryLimits) -> None:
    for _ in range(3):
        await limits.take("ada", RATE)
    await limits.give_back("ada", RATE)
    assert (await limits.take("ada", RATE)).allowed
    for _ in range(10):
        await limits.give_back("ada", RATE)
    assert (await limits.take("ada", RATE)).remaining == 2, "never more than the burst"


async def test_more_than_the_bucket_holds_is_refused_with_a_finite_wait(limits: MemoryLimits) -> None:
    refused = await limits.take("ada", RATE, cost=4)
    assert (refused.allowed, refused.retry_after_s, refused.remaining) == (False, 0, 3)
    await limits.take("ada", RATE)
    assert (await limits.take("ada", RATE, cost=4)).retry_after_s == 1


async def test_a_changed_rate_holds_from_the_next_request_on(limits: MemoryLimits, clock: Clock) -> None:
    for _ in range(3):
        await limits.take("ada", Rate(1, 3600, 3))
    refused = await limits.take("ada", RATE)
    assert (refused.allowed, refused.retry_after_s) == (False, 1)
    clock.now += 1
    assert (await limits.take("ada", RATE)).allowed


async def test_full_buckets_are_forgotten(limits: MemoryLimits, clock: Clock) -> None:
    for i in range(1000):
        await limits.take(f"address {i}", RATE)
        clock.now += 0.1
    assert len(limits) <= 20


async def test_memory_is_bounded_when_none_is_full(clock: Clock) -> None:
    limits = MemoryLimits(most_keys=100, clock=clock)
    for i in range(1000):
        await limits.take(f"address {i}", RATE)
    assert len(limits) == 100
    assert (await limits.take("address 999", RATE)).remaining == 1, "the newest are kept"


@given(
    count=st.floats(0.1, 1000),
    per_s=st.sampled_from([1.0, 60.0, 3600.0]),
    burst=st.integers(1, 50),
    waits=st.lists(st.floats(0, 30), max_size=60),
)
async def test_never_more_than_the_burst_and_what_has_refilled(
    count: float, per_s: float, burst: int, waits: list[float]
) -> None:
    clock = Clock()
    limits, rate, taken = MemoryLimits(clock=clock), Rate(count, per_s, burst), 0
    began = clock.now
    for wait in waits:
        clock.now += wait
        answer = await limits.take("ada", rate)
        taken += answer.allowed
        assert taken <= burst + (clock.now - began) * count / per_s + 1e-3
        assert 0 <= answer.remaining <= burst
        if not answer.allowed:  # who waits as told is let in
            clock.now += answer.retry_after_s
            assert (await limits.take("ada", rate)).allowed
            taken += 1
