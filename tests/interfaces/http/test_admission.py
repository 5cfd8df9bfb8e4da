from __future__ import annotations

import asyncio

import anyio
import pytest

from cozy.errors import Overloaded
from cozy.interfaces.http.admission import Admission
from cozy.interfaces.http.metrics import Metrics
from cozy.settings import ServerSettings


def places(**settings: float) -> tuple[Admission, anyio.Event]:
    draining = anyio.Event()
    return Admission(ServerSettings.model_validate(settings), draining, set(), Metrics()), draining


class Guest:
    """Somebody who takes a place and keeps it until told to go."""

    def __init__(self, admission: Admission, order: list[str], name: str) -> None:
        self._admission, self._order, self._name = admission, order, name
        self.inside, self.go = anyio.Event(), anyio.Event()

    async def visit(self) -> None:
        async with self._admission.place():
            self._order.append(self._name)
            self.inside.set()
            await self.go.wait()


async def test_whoever_waits_is_served_in_the_order_of_coming() -> None:
    admission, _ = places(max_turns=1)
    order: list[str] = []
    guests = [Guest(admission, order, name) for name in "abc"]
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for guest in guests:
                tasks.start_soon(guest.visit)
                await anyio.wait_all_tasks_blocked()
            assert order == ["a"]
            for guest in guests:
                guest.go.set()
    assert order == ["a", "b", "c"]


async def test_more_than_may_wait_are_refused_at_once() -> None:
    admission, _ = places(max_turns=1, queue=1)
    first, second = (Guest(admission, [], name) for name in "ab")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.visit)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(second.visit)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="too many"):
            async with admission.place():
                pass
        first.go.set()
        second.go.set()


async def test_waiting_has_an_end() -> None:
    admission, _ = places(max_turns=1, queue_timeout_s=0.01)
    guest = Guest(admission, [], "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guest.visit)
        await guest.inside.wait()
        with pytest.raises(Overloaded, match="waited too long"):
            async with admission.place():
                pass
        guest.go.set()
    async with admission.place():  # and the place is there again
        pass


async def test_a_place_given_to_somebody_who_has_just_left_is_not_lost() -> None:
    admission, _ = places(max_turns=1, queue_timeout_s=1)
    gone = Guest(admission, [], "gone")
    async with admission.place():
        leaving = asyncio.create_task(gone.visit())  # cancelled natively, as servers do
        await anyio.wait_all_tasks_blocked()
    leaving.cancel()  # it has been given the place, and is told to leave before it wakes
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert not gone.inside.is_set()
    async with admission.place():
        pass


async def test_nobody_is_let_in_while_the_server_is_being_stopped() -> None:
    admission, draining = places()
    draining.set()
    with pytest.raises(Overloaded, match="being stopped"):
        async with admission.place():
            pass


async def test_who_is_under_way_or_waits_is_told_when_the_time_is_up() -> None:
    under_way = set[anyio.CancelScope]()
    admission = Admission(ServerSettings(max_turns=1), anyio.Event(), under_way, Metrics())
    told: list[str] = []

    async def visit(name: str) -> None:
        try:
            async with admission.place():
                told.append(name)
                await anyio.sleep_forever()
        except Overloaded as error:
            told.append(f"{name}: {error.message}")

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for name in ("a", "b"):
                tasks.start_soon(visit, name)
                await anyio.wait_all_tasks_blocked()
            for scope in tuple(under_way):
                scope.cancel()
    assert [told[0], *sorted(told[1:])] == ["a", *(f"{name}: the server is being stopped" for name in "ab")]
    assert not under_way
