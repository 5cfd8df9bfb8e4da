"""A server whose outbox is full: turns are refused before a model is asked, or slowed, or learn nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import func, insert, select

from cozy.ports.store import Job
from cozy.storage.database import open_database
from cozy.storage.schema import utc_now
from cozy.storage.tables import messages, sessions
from cozy.storage.tables import outbox as table
from tests.interfaces.http.serving import Served, served
from tests.upstream import says, upstream

SAID = {"model": "mia", "messages": [{"role": "user", "content": "我叫小明"}], "cozy": {"session_id": "new"}}
IN_STEP = """\
id: mia
name: Mia
prompt: You are Mia.
model:
  name: house/fake
stages:
  remember:
    mode: sync
    targets:
      - memory
    timeout: 5s
    on_error: degrade
"""


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cozy.engine.backlog.LOOK_S", 0.05)


async def fill(house: Served) -> None:
    """Leave a job that is not due for an hour, and wait until the server has seen it."""
    outbox: Any = house.service.outbox
    now = utc_now()
    row = {
        "id": uuid4(),
        "user_id": (await house.user("bob")).id,
        "target": "memory/embedded",
        "payload": {},
        "state": "queued",
        "attempts": 1,
        "due_at": now + timedelta(hours=1),
        "created_at": now,
    }
    await outbox.database.write(lambda connection: connection.execute(insert(table), row))
    with anyio.fail_after(30):
        while not house.service.backlog.is_full:
            await anyio.sleep(0.02)


async def count_of(url: str, table: Any) -> int:
    async with open_database(url) as database:
        return await database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())


async def test_turns_are_refused_before_a_model_is_asked(tmp_path: Path, sqlite_url: str) -> None:
    async with (
        upstream(default=says("Hi")) as model,
        served(tmp_path, sqlite_url, upstream=model, outbox={"max_jobs": 1, "on_full": "reject"}) as house,
    ):
        await fill(house)
        async with house.http(await house.key("ada")) as client:
            refused = await client.post("/v1/chat/completions", json=SAID)
            again = await client.post("/v1/chat/completions", json=SAID, headers={"idempotency-key": "one"})
            impersonal = {**SAID, "cozy": {"session_id": "new", "use_personalization": False}}
            answered = await client.post("/v1/chat/completions", json=impersonal)
            figures = (await client.get("/metrics")).text
        assert refused.status_code == again.status_code == 503
        assert refused.json()["error"]["code"] == "RATE_LIMIT_OVERLOADED"
        assert int(refused.headers["retry-after"]) > 0
        assert answered.status_code == 200, "it would leave no jobs"
        assert len(model.requests) == 1
        assert 'cozy_outbox_full_total{policy="reject"} 2.0' in figures
        # and the key is free for another try
        house.service.backlog._bounds = house.service.backlog._bounds.model_copy(update={"max_jobs": 100})
        async with house.http(await house.key("ada")) as client:
            freed = await client.post("/v1/chat/completions", json=SAID, headers={"idempotency-key": "one"})
        assert freed.status_code == 200
    assert await count_of(sqlite_url, sessions) == 2, "a turn that is refused makes no session"


@pytest.mark.parametrize("policy", ["slow", "drop_oldest", "drop_new"])
async def test_turns_are_answered_and_kept_whatever_becomes_of_their_jobs(
    tmp_path: Path, sqlite_url: str, policy: str
) -> None:
    bounds = {"max_jobs": 1, "on_full": policy, "slow_s": 0.05}
    async with (
        upstream(default=says("Hi")) as model,
        served(tmp_path, sqlite_url, upstream=model, outbox=bounds) as house,
    ):
        await fill(house)
        async with house.http(await house.key("ada")) as client:
            answer = await client.post("/v1/chat/completions", json=SAID)
        assert answer.status_code == 200
    assert await count_of(sqlite_url, messages) == 2


async def test_in_step_an_answer_comes_when_it_is_learned(tmp_path: Path, sqlite_url: str) -> None:
    async with (
        upstream(default=says("[]")) as model,
        served(tmp_path, sqlite_url, upstream=model, personalities={"mia": IN_STEP}) as house,
        house.http(await house.key("ada")) as client,
    ):
        answer = await client.post("/v1/chat/completions", json=SAID)
        assert answer.json()["cozy"]["degraded"] is False
        assert (await house.service.outbox.figures()).open == 0
        house.service.worker._handlers = {"memory/embedded": _fails}
        late = await client.post("/v1/chat/completions", json=SAID)
    [reason] = late.json()["cozy"]["degrade_reasons"]
    assert (late.status_code, reason["stage"], reason["code"]) == (200, "remember", "ENGINE_UNAVAILABLE")


async def _fails(_job: Job) -> None:
    raise OSError("gone")
