from __future__ import annotations

import threading

import anyio
import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from tests.adapters.people import cheap_passwords

SLOW = {"time_cost": 2, "memory_kib": 16_384}


async def test_a_password_fits_its_hash_and_no_other_does() -> None:
    passwords = cheap_passwords()
    kept = await passwords.hash("open sesame")
    assert kept.startswith("$argon2id$")
    assert "sesame" not in kept
    assert kept != await passwords.hash("open sesame"), "each has a salt of its own"
    assert await passwords.verify(kept, "open sesame")
    for wrong in ("open sesam", "open sesame ", "Open sesame", "", None):
        assert not await passwords.verify(kept, wrong)


@pytest.mark.parametrize("kept", [None, "", "x", "$argon2id$v=19$m=64,t=1,p=1$!$!", "$2b$12$abc", "\ud800"])
async def test_nothing_fits_where_no_hash_is(kept: str | None) -> None:
    assert not await cheap_passwords().verify(kept, "open sesame")
    assert not await cheap_passwords().verify(kept, "")


async def test_one_letter_in_two_spellings_is_one_password() -> None:
    passwords = cheap_passwords()
    assert await passwords.verify(await passwords.hash("caf\u00e9 noir"), "cafe\u0301 noir")


async def test_a_hash_of_other_costs_fits_and_is_stale() -> None:
    before, now = cheap_passwords(), cheap_passwords(time_cost=2)
    kept = await before.hash("open sesame")
    assert await now.verify(kept, "open sesame")
    assert now.is_stale(kept)
    assert not before.is_stale(kept)
    assert not now.is_stale(await now.hash("open sesame"))


class Heard:
    """A hasher that works as the real one, and keeps at what cost it compared."""

    def __init__(self, inner: PasswordHasher) -> None:
        self.inner = inner
        self.costs: list[Parameters] = []

    def verify(self, kept: str, given: bytes) -> bool:
        self.costs.append(extract_parameters(kept))
        return self.inner.verify(kept, given)


async def test_saying_no_to_nobody_costs_as_much_as_to_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = cheap_passwords()
    kept = await passwords.hash("open sesame")
    heard = Heard(passwords._hasher)
    monkeypatch.setattr(passwords, "_hasher", heard)
    cases = ((kept, "wrong"), (None, "wrong"), (kept, None), (None, None))
    for stored, given in cases:
        assert not await passwords.verify(stored, given)
    assert heard.costs == [extract_parameters(kept)] * len(cases)


async def test_only_two_are_hashed_at_once_and_the_loop_goes_on() -> None:
    passwords = cheap_passwords(**SLOW)
    most = ticks = 0
    hashed = anyio.Event()
    before = threading.active_count()

    async def hash_some() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(passwords.hash, "open sesame")
        hashed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hash_some)
        while not hashed.is_set():
            ticks += 1
            most = max(most, passwords._limiter.borrowed_tokens)
            await anyio.sleep(0.001)
    assert most == 2
    assert ticks > 5
    assert threading.active_count() <= before + 2
