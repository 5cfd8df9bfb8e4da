"""A key or an account: one login for all who wait, and none too many."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import pytest

from cozy.adapters import engine_logins
from cozy.errors import EngineAuthError, EngineError, EngineInitError, EngineRateLimited, EngineUnavailable
from cozy.storage.database import Database, open_database
from cozy.turn import UserId
from tests.engines import opened
from tests.engines.fake_cognee import FakeCognee, fake_cognee
from tests.engines.fake_mem0 import FakeMem0, fake_mem0

ADA = UserId(uuid4())
MANY = 20


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        yield database


@pytest.fixture
async def mem0() -> AsyncIterator[FakeMem0]:
    async with fake_mem0() as fake:
        yield fake


@pytest.fixture
async def cognee() -> AsyncIterator[FakeCognee]:
    async with fake_cognee() as fake:
        fake.put("plants", "ferns", "Ferns want water")
        yield fake


async def test_all_who_wait_share_one_login(mem0: FakeMem0, database: Database) -> None:
    async with opened.mem0(mem0, database, **opened.ACCOUNT) as memories:
        for logins in (1, 1):
            async with anyio.create_task_group() as tasks:
                for _ in range(MANY):
                    tasks.start_soon(memories.items, ADA)
            assert mem0.asked["POST /auth/login"] == logins
        assert mem0.asked["GET /memories"] == 2 * MANY


async def test_a_token_that_has_expired_is_renewed_once_with_the_refresh_token(
    mem0: FakeMem0, database: Database
) -> None:
    async with opened.mem0(mem0, database, **opened.ACCOUNT) as memories:
        await memories.items(ADA)
        for renewals in (1, 2):
            mem0.expire()
            async with anyio.create_task_group() as tasks:
                for _ in range(MANY):
                    tasks.start_soon(memories.items, ADA)
            assert mem0.asked["POST /auth/refresh"] == renewals
        assert mem0.asked["POST /auth/login"] == 1
        mem0.expire()
        mem0.refreshes.clear()  # used by somebody, or too old: the password is still there
        await memories.items(ADA)
        assert mem0.asked["POST /auth/login"] == 2


async def test_while_nobody_may_log_in_an_expired_token_is_not_sent(
    mem0: FakeMem0, database: Database
) -> None:
    async with opened.mem0(mem0, database, **opened.ACCOUNT) as memories:
        await memories.items(ADA)
        mem0.expire()
        mem0.refreshes.clear()
        mem0.login_limit = 1
        with pytest.raises(EngineRateLimited):
            await memories.items(ADA)
        before = len(mem0.requests)
        with pytest.raises(EngineRateLimited):
            await memories.items(ADA)
        assert len(mem0.requests) == before


async def test_cognee_logs_in_with_a_form_and_again_when_its_token_has_expired(
    cognee: FakeCognee, database: Database
) -> None:
    async with opened.cognee(cognee, database, **opened.ACCOUNT) as knowledge:
        for logins in (1, 2):
            async with anyio.create_task_group() as tasks:
                for _ in range(MANY):
                    tasks.start_soon(lambda: knowledge.search("water", user_id=ADA, datasets=[], top_k=1))
            assert cognee.asked["POST /api/v1/auth/login"] == logins
            cognee.expire()
        assert all("cookie" not in request.headers for request in cognee.requests)


@pytest.mark.parametrize("kind", ["mem0", "cognee"])
async def test_a_wrong_password_is_tried_once_and_told_to_all(
    mem0: FakeMem0, cognee: FakeCognee, database: Database, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(opened.ENVIRON, "PASSWORD", "a wrong one")
    errors: list[EngineError] = []

    async with (
        opened.mem0(mem0, database, **opened.ACCOUNT) as memories,
        opened.cognee(cognee, database, **opened.ACCOUNT) as knowledge,
    ):

        async def ask() -> None:
            try:
                await (memories.items(ADA) if kind == "mem0" else knowledge.datasets())
            except EngineError as error:
                errors.append(error)

        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(MANY):
                    tasks.start_soon(ask)
        fake = mem0 if kind == "mem0" else cognee
        assert len(fake.requests) == 1
        assert {type(error) for error in errors} == {EngineAuthError}
        assert len(errors) == len(set(map(id, errors))) == 2 * MANY
        assert "refused the account's name or password" in errors[0].message
        assert "a wrong one" not in str(errors[0])
        monkeypatch.setattr(engine_logins, "PAUSE_S", 0.0)
        await ask()
        assert len(fake.requests) == 2


async def test_a_login_goes_on_though_who_needed_it_has_no_more_time(
    mem0: FakeMem0, database: Database
) -> None:
    mem0.logins = ()
    mem0.slow_s = 0.1
    await mem0.be("slow", only="/auth/login")
    async with opened.mem0(mem0, database, **opened.ACCOUNT) as memories:
        with anyio.move_on_after(0.02) as scope:
            await memories.items(ADA)
        assert scope.cancelled_caught
        await memories.items(ADA)
        assert mem0.asked["POST /auth/login"] == 1


async def test_white_space_around_a_key_is_none_of_it(
    mem0: FakeMem0, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(opened.ENVIRON, "MEM0_KEY", f" {opened.ENVIRON['MEM0_KEY']}\n")
    async with opened.mem0(mem0, database) as memories:
        assert await memories.items(ADA) == []


@pytest.mark.parametrize("key", ["two\nlines", "a\x00b", "钥匙-key"], ids=["lines", "NUL", "Chinese"])
async def test_a_key_that_no_request_can_carry_is_told_as_that(
    mem0: FakeMem0, database: Database, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setitem(opened.ENVIRON, "MEM0_KEY", key)
    async with opened.mem0(mem0, database) as memories:
        with pytest.raises(EngineInitError, match="cannot be sent") as caught:
            await memories.items(ADA)
    assert "engines.house" in (caught.value.hint or "")
    assert caught.value.__cause__ is caught.value.__context__ is None, "they would hold the key"


async def test_a_login_that_fails_as_no_engine_should_fails_alone(mem0: FakeMem0, database: Database) -> None:
    async def login(tokens: engine_logins.Tokens | None) -> engine_logins.Tokens:
        if tokens is None and not failures:
            failures.append(ValueError("a word of a user"))
            raise failures[0]
        return engine_logins.Tokens("new")

    failures: list[ValueError] = []
    async with anyio.create_task_group() as tasks:
        account = engine_logins.Account("house", tasks, "password", login)
        with pytest.raises(EngineUnavailable, match="failed with ValueError"):
            await account.headers()
        with pytest.raises(EngineUnavailable):
            await account.headers()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine_logins, "PAUSE_S", 0.0)
            assert await account.headers() == {"authorization": "Bearer new"}


async def test_a_login_that_is_limited_is_not_tried_by_everybody(mem0: FakeMem0, database: Database) -> None:
    mem0.login_limit = 0
    async with opened.mem0(mem0, database, **opened.ACCOUNT) as memories:
        for _ in range(3):
            with pytest.raises(EngineRateLimited):
                await memories.items(ADA)
        assert mem0.asked["POST /auth/login"] == 1


async def test_a_wrong_key_is_not_tried_twice(mem0: FakeMem0, database: Database) -> None:
    async with opened.mem0(mem0, database, api_key_env="PASSWORD") as memories:
        with pytest.raises(EngineAuthError, match="Invalid API key"):
            await memories.items(ADA)
        assert len(mem0.requests) == 1


async def test_a_server_that_is_open_needs_neither(mem0: FakeMem0, database: Database) -> None:
    mem0.is_open = True
    async with opened.mem0(mem0, database, api_key_env=None) as memories:
        assert await memories.items(ADA) == []
