"""Erasing a user over HTTP: for admins alone, told until it is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import anyio
import pytest

from cozy.storage.database import open_database
from cozy.storage.migrate import model_metadata
from tests.interfaces.http.serving import Served, served
from tests.upstream import Answer, Hold, chunk, says, sse, upstream

SAID = {"model": "mia", "messages": [{"role": "user", "content": "hello"}], "cozy": {"session_id": "new"}}


@pytest.fixture
async def house(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr("cozy.engine.worker.POLL_S", 60.0)  # it is told, and need not look by itself
    async with (
        upstream(default=says("[]")) as model,
        served(tmp_path, sqlite_url, upstream=model) as running,
    ):
        yield running


async def test_an_admin_erases_a_user_who_goes_on_using_cozy(house: Served) -> None:
    key, ada = await house.key("ada"), (await house.user("ada")).id
    route = f"/v1/admin/users/{ada}/erasure"
    async with house.http(key) as talking, house.http(await house.key("root", admin=True)) as admin:
        session = (await talking.post("/v1/chat/completions", json=SAID)).json()["cozy"]["session_id"]
        never = (await admin.get(route)).json()
        assert (never["erased_at"], never["done"]) == (None, False)
        with anyio.fail_after(10):
            while await house.service.outbox.depth() or house.service.worker.busy:
                await anyio.sleep(0.02)
        erased = await admin.post(route)
        assert erased.status_code == 202
        assert erased.json()["user_id"] == str(ada)
        assert erased.json()["removed"]["messages"] == 2
        assert {one["target"] for one in erased.json()["waiting"]} == {"memory/embedded", "profile/embedded"}
        assert (await talking.get(f"/v1/sessions/{session}")).status_code == 404
        with anyio.fail_after(30):
            while not (told := (await admin.get(route)).json())["done"]:
                await anyio.sleep(0.02)
        assert (told["waiting"], told["removed"]) == ([], {})
        assert told["erased_at"] is not None
        assert (await talking.post("/v1/chat/completions", json=SAID)).status_code == 200


@pytest.mark.parametrize(("session", "status"), [("new", 404), (None, 200)], ids=["session", "alone"])
async def test_of_a_turn_that_is_answered_meanwhile_nothing_is_in_any_table(
    tmp_path: Path, sqlite_url: str, session: str | None, status: int
) -> None:
    word = "Uhrwerk-Orange"
    said = {"model": "mia", "messages": [{"role": "user", "content": f"I like {word}"}]}
    said |= {"cozy": {"session_id": session}} if session else {}
    answers: list[int] = []
    async with (
        upstream(default=says("[]")) as model,
        served(tmp_path, sqlite_url, upstream=model) as house,
        house.http(await house.key("ada")) as talking,
        house.http(await house.key("root", admin=True)) as admin,
    ):
        model.then(Answer((sse(chunk(word)), Hold("erased"), sse(chunk(finish="stop"), "[DONE]"))))

        async def say() -> None:
            answer = await talking.post(
                "/v1/chat/completions", json=said, headers={"idempotency-key": f"about-{word}"}
            )
            answers.append(answer.status_code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await model.reached("erased")
            await admin.post(f"/v1/admin/users/{(await house.user('ada')).id}/erasure")
            model.open("erased")
    assert answers == [status]
    async with open_database(sqlite_url) as database:
        for table in model_metadata().sorted_tables:
            rows = await database.read(lambda c, t=table: c.execute(t.select()).all())
            assert word not in repr(rows), table.name


@pytest.mark.parametrize(
    "whose",
    [str(UUID(int=9)), "nobody", "%00", "x" * 3000],
    ids=["id", "name", "nul", "long"],
)
async def test_an_unknown_user_is_not_found(house: Served, whose: str) -> None:
    async with house.http(await house.key("root", admin=True)) as admin:
        for method in ("GET", "POST"):
            answer = await admin.request(method, f"/v1/admin/users/{whose}/erasure")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")


async def test_nobody_else_may(house: Served) -> None:
    ada = (await house.user("ada")).id
    admins_chat_key = await house.key("root", "chat", "account", admin=True)
    for credential, status in ((None, 401), (await house.key("ada"), 403), (admins_chat_key, 403)):
        async with house.http(credential) as client:
            for method in ("GET", "POST"):
                answer = await client.request(method, f"/v1/admin/users/{ada}/erasure")
                assert answer.status_code == status
    assert (await house.service.erasures.state(ada)).erased_at is None
