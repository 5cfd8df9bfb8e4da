"""A circuit breaker, on a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.breaker import Breaker, BreakerRules, Ticket

RULES = BreakerRules(failures=3, window_s=30, open_s=5, longest_s=60)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(RULES, clock=clock, jitter=lambda: 1.0)


def ticket(breaker: Breaker) -> Ticket:
    given = breaker.enter()
    assert given is not None
    return given


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(ticket(breaker))


def test_so_many_failures_open_it(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.state == "closed"
    assert breaker.failed(ticket(breaker))
    assert breaker.state == "open"
    assert breaker.enter() is None
    assert breaker.open_s == 5


def test_failures_among_many_successes_do_not(breaker: Breaker) -> None:
    for _ in range(100):
        breaker.succeeded(ticket(breaker))
        breaker.succeeded(ticket(breaker))
        fail(breaker)
    assert breaker.state == "closed"


def test_when_half_of_all_fail_it_opens(breaker: Breaker) -> None:
    breaker.succeeded(ticket(breaker))
    breaker.succeeded(ticket(breaker))
    fail(breaker, 2)
    breaker.succeeded(ticket(breaker))
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_twice_as_many_in_a_row_open_it_whatever_was_before(breaker: Breaker) -> None:
    for _ in range(1000):
        breaker.succeeded(ticket(breaker))
    fail(breaker, 5)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_old_failures_are_forgotten(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 2)
    clock.now += 31
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_failures_that_come_slowly_within_the_window_add_up(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += 14
    fail(breaker)
    clock.now += 14
    fail(breaker)
    assert breaker.state == "open"


def test_after_a_while_exactly_one_may_try(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 4.9
    assert breaker.enter() is None
    clock.now += 0.2
    assert breaker.enter() is not None
    assert breaker.state == "half_open"
    assert [breaker.enter() for _ in range(100)] == [None] * 100


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 6
    assert breaker.succeeded(ticket(breaker))
    assert breaker.state == "closed"
    fail(breaker, 2)
    assert breaker.state == "closed", "what was before is forgotten"


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    pauses = [breaker.open_s]
    for _ in range(5):
        clock.now += breaker.open_s
        fail(breaker)
        pauses.append(breaker.open_s)
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_an_engine_that_is_away_for_days_is_still_tried(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    for _ in range(1100):  # twice as long so often is more than a float holds
        clock.now += breaker.open_s
        fail(breaker)
    assert breaker.open_s == 60


def test_a_success_makes_the_pause_short_again(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 5
    fail(breaker)
    clock.now += 10
    breaker.succeeded(ticket(breaker))
    fail(breaker, 3)
    assert breaker.open_s == 5


def test_the_pause_is_not_the_same_everywhere(clock: Clock) -> None:
    breakers = [Breaker(RULES, clock=clock) for _ in range(20)]
    for each in breakers:
        fail(each, 3)
    assert len({each.open_s for each in breakers}) > 1
    assert all(4 <= each.open_s <= 6 for each in breakers)


def test_a_probe_that_is_cancelled_lets_the_next_one_try(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 6
    breaker.cancelled(ticket(breaker))
    assert breaker.enter() is not None


def test_a_pause_of_nothing_is_none(breaker: Breaker, clock: Clock) -> None:
    assert not breaker.failed(ticket(breaker), retry_after_s=0.0)
    assert breaker.state == "closed"
    fail(breaker, 2)
    clock.now += 5
    breaker.failed(ticket(breaker), retry_after_s=0.0)
    assert breaker.open_s == 10


def test_what_is_cancelled_while_it_is_closed_counts_for_nothing(breaker: Breaker) -> None:
    for _ in range(100):
        breaker.cancelled(ticket(breaker))
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_what_was_asked_before_it_opened_does_not_close_it(breaker: Breaker, clock: Clock) -> None:
    early = ticket(breaker)
    fail(breaker, 3)
    clock.now += 6
    probe = ticket(breaker)
    assert not breaker.succeeded(early)
    assert breaker.state == "half_open"
    assert not breaker.failed(early)
    assert breaker.succeeded(probe)


def test_an_engine_that_says_when_to_come_back_is_left_alone_until_then(
    breaker: Breaker, clock: Clock
) -> None:
    assert breaker.failed(ticket(breaker), retry_after_s=17)
    assert breaker.open_s == 17
    clock.now += 17
    assert breaker.enter() is not None


def test_nobody_is_left_alone_longer_than_the_longest(breaker: Breaker) -> None:
    breaker.failed(ticket(breaker), retry_after_s=1e9)
    assert breaker.open_s == 60


@given(st.lists(st.sampled_from(["ok", "fail", "cancel", "wait"]), max_size=200))
def test_there_is_never_more_than_one_probe_and_it_never_stays_shut(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(RULES, clock=clock, jitter=lambda: 1.0)
    for step in steps:
        given = breaker.enter()
        if given is None:
            assert breaker.state == "open"
            clock.now += 1
            continue
        if breaker.state == "half_open":
            assert breaker.enter() is None
        {"ok": breaker.succeeded, "fail": breaker.failed, "cancel": breaker.cancelled}.get(
            step, breaker.cancelled
        )(given)
        clock.now += 20 if step == "wait" else 0.1
    clock.now += RULES.longest_s
    assert breaker.enter() is not None
