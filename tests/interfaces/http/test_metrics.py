"""What `/metrics` counts, and that the runbook tells of all of it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

import cozy
from cozy.errors import StorageError
from cozy.interfaces.http.metrics import Metrics
from cozy.ports.outbox import OutboxFigures
from cozy.ports.store import Job, TurnRecord
from cozy.turn import TurnId, UserId
from tests.interfaces.http.conftest import TALK, UNLIMITED, personality
from tests.interfaces.http.serving import PASSWORD, Served, served
from tests.upstream import Answer, Hold, Upstream, calls, chunk, plain, says, sse, streams, upstream

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbooks" / "server.md"
TWO_MODELS = """\
stages:
  prompt:
    type: render_prompt
  think:
    type: llm
    model:
      name: house/small
    on_error: degrade
    ask: Think.
  answer:
    type: llm
    visible: true
  tools:
    type: tool_loop
"""
PERSONALITIES = {
    "mia": personality("mia", "tools:\n  - calculator\n"),
    "zoe": personality("zoe").replace("talk", "two"),
}


@pytest.fixture
async def model() -> AsyncIterator[Upstream]:
    async with upstream(default=says("Hi", " there")) as server:
        yield server


@pytest.fixture
async def house(tmp_path: Path, sqlite_url: str, model: Upstream) -> AsyncIterator[Served]:
    async with served(
        tmp_path,
        sqlite_url,
        upstream=model,
        personalities=PERSONALITIES,
        pipelines={"talk": TALK, "two": TWO_MODELS},
        server={"models": ["house/*"]},
        limits=UNLIMITED,
    ) as running:
        yield running


async def figures(house: Served) -> dict[str, float]:
    """`cozy_turns_total{outcome="finished",personality="mia"}` → its value."""
    async with house.http() as client:
        text = (await client.get("/metrics")).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def say(house: Served, to: str, **more: Any) -> int:
    """Have a turn; gives the status of the answer."""
    body = {"model": to, "messages": [{"role": "user", "content": "hello"}], **more}
    async with house.http(await house.key("ada")) as client:
        return (await client.post("/v1/chat/completions", json=body)).status_code


# -- the runbook -------------------------------------------------------------------------------------------


def rows() -> dict[str, tuple[str, frozenset[str]]]:
    """Figure → type and labels, as the runbook's table has them."""
    found = re.findall(r"^\| `(cozy_\w+)` \| (\w+) \|([^|]*)\|", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert len(found) == len({name for name, *_ in found})
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in found}


async def test_the_runbook_tells_of_every_figure(house: Served) -> None:
    async with house.http() as client:
        text = (await client.get("/metrics")).text
    told = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in text_string_to_metric_families(text)
    }
    assert told == {name: kind for name, (kind, _) in rows().items()}


def test_the_runbook_tells_of_every_label() -> None:
    metrics: list[Any] = [m for m in vars(Metrics()).values() if hasattr(m, "_labelnames")]
    declared = {m.describe()[0].name + "_total" * (m._type == "counter"): {*m._labelnames} for m in metrics}
    assert declared == {name: labels for name, (_, labels) in rows().items()}


# -- models and engines ------------------------------------------------------------------------------------


async def test_each_request_is_counted_under_its_own_model(house: Served, model: Upstream) -> None:
    assert await say(house, "zoe") == 200
    assert len(model.requests) == 2
    told = await figures(house)
    for name in ("house/small", "house/fake"):
        assert told[f'cozy_model_requests_total{{model="{name}"}}'] == 1
        assert told[f'cozy_tokens_total{{kind="prompt",model="{name}"}}'] == 9
        assert told[f'cozy_tokens_total{{kind="completion",model="{name}"}}'] == 4


async def test_models_that_only_clients_name_are_one(house: Served) -> None:
    for name in ("house/fake", *(f"house/made-up-{n}" for n in range(3))):
        assert await say(house, name, cozy={"personality_id": "mia"}) == 200
    told = await figures(house)
    assert {k: v for k, v in told.items() if k.startswith("cozy_model_requests_total")} == {
        'cozy_model_requests_total{model="house/fake"}': 1,
        'cozy_model_requests_total{model="other"}': 3,
    }
    assert not any("made-up" in name for name in told)


async def test_prompts_that_the_server_had_seen_are_counted(house: Served, model: Upstream) -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 64}}
    said = chunk("Hi"), chunk(finish="stop"), chunk(choices=[], usage=usage)
    model.then(streams(*said, usage=False, finish=None))
    assert await say(house, "mia") == 200
    told = await figures(house)
    assert told['cozy_cached_tokens_total{model="house/fake"}'] == 64
    assert told['cozy_tokens_total{kind="prompt",model="house/fake"}'] == 90


async def test_a_degraded_stage_and_what_its_engine_did_are_counted(house: Served, model: Upstream) -> None:
    model.then(plain({"error": {"message": "no", "type": "x"}}, 401))
    assert await say(house, "zoe") == 200
    told = await figures(house)
    assert told['cozy_stages_degraded_total{code="ENGINE_AUTH",personality="zoe",stage="think"}'] == 1
    assert told['cozy_engine_errors_total{code="ENGINE_AUTH",engine="house"}'] == 1
    assert told['cozy_turns_total{outcome="finished",personality="zoe"}'] == 1


async def test_a_turn_that_fails_is_counted_by_its_error(house: Served, model: Upstream) -> None:
    model.then(plain({"error": {"message": "no", "type": "x"}}, 401))
    assert await say(house, "mia") == 502
    told = await figures(house)
    assert told['cozy_turns_total{outcome="failed",personality="mia"}'] == 1
    assert told['cozy_turn_failures_total{code="ENGINE_AUTH"}'] == 1


# -- turns -------------------------------------------------------------------------------------------------


async def test_a_turn_whose_client_leaves_has_cost_something_all_the_same(
    house: Served, model: Upstream
) -> None:
    model.then(calls(("calculator", '{"expression": "1+1"}')), Answer((sse(chunk("Hi")), Hold("for ever"))))
    body = {"model": "mia", "messages": [{"role": "user", "content": "1+1?"}], "stream": True}
    async with (
        house.http(await house.key("ada")) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            if '"Hi"' in line:
                break
    await model.left(1)
    ended = 'cozy_turns_total{outcome="interrupted",personality="mia"}'
    with anyio.fail_after(30):
        while ended not in (told := await figures(house)):
            await anyio.sleep(0.05)
    assert told['cozy_tokens_total{kind="prompt",model="house/fake"}'] > 9
    assert told['cozy_tool_calls_total{outcome="ok",tool="calculator"}'] == 1
    assert told['cozy_first_word_seconds_count{personality="mia"}'] == 1


async def test_tools_are_counted_by_outcome_and_names_that_models_make_up_are_one(
    house: Served, model: Upstream
) -> None:
    said = [("calculator", '{"expression": "2*3"}'), ("calculator", "{"), ("clok", "{}"), ("klock", "{}")]
    model.then(calls(*said))
    assert await say(house, "mia") == 200
    told = {k: v for k, v in (await figures(house)).items() if k.startswith("cozy_tool_calls")}
    assert told == {
        'cozy_tool_calls_total{outcome="ok",tool="calculator"}': 1,
        'cozy_tool_calls_total{outcome="TOOL_FAILED",tool="calculator"}': 1,
        'cozy_tool_calls_total{outcome="TOOL_UNKNOWN",tool="other"}': 2,
    }


async def test_several_answers_to_one_request_have_one_first_word(house: Served) -> None:
    assert await say(house, "zoe", n=2) == 200
    told = await figures(house)
    assert told['cozy_first_word_seconds_count{personality="zoe"}'] == 1
    assert told['cozy_turns_total{outcome="finished",personality="zoe"}'] == 2


# -- limits and connections --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "auth", "expected"),
    [
        pytest.param({"per_address": 3}, {}, "address", id="of an address"),
        pytest.param({"per_user": 1}, {}, "user", id="of a user"),
        pytest.param({"per_key": 1}, {}, "key", id="of a key"),
        pytest.param({}, {"login_attempts": 1}, "login", id="of logins"),
    ],
)
async def test_what_is_refused_is_counted_by_its_limit(
    limits: dict[str, int],
    auth: dict[str, int],
    expected: str,
    tmp_path: Path,
    sqlite_url: str,
) -> None:
    async with served(
        tmp_path, sqlite_url, limits={**UNLIMITED, **limits}, **({"auth": auth} if auth else {})
    ) as house:
        key = await house.key("ada")
        async with house.http(key) as client:
            for _ in range(4):
                await client.get("/v1/models")
        async with house.http() as client:
            for _ in range(3 if auth else 0):
                wrong = {"username": "ada", "password": f"not {PASSWORD}"}
                await client.post("/v1/auth/login", json=wrong)
        told = {k: v for k, v in (await figures(house)).items() if k.startswith("cozy_refused")}
    assert list(told) == [f'cozy_refused_total{{limit="{expected}"}}']
    assert min(told.values()) >= 1


async def test_open_connections_are_counted_and_closed_ones_are_not(house: Served) -> None:
    before = (await figures(house))["cozy_connections_open"]
    streams = [await anyio.connect_tcp("127.0.0.1", house.port) for _ in range(5)]
    with anyio.fail_after(30):
        while (await figures(house))["cozy_connections_open"] < before + 5:
            await anyio.sleep(0.02)
    for stream in streams:
        await stream.aclose()
    with anyio.fail_after(30):
        while (await figures(house))["cozy_connections_open"] > before:
            await anyio.sleep(0.02)


# -- the installation --------------------------------------------------------------------------------------


async def test_the_version_is_told(house: Served) -> None:
    assert (await figures(house))[f'cozy_build_info{{version="{cozy.__version__}"}}'] == 1


async def test_a_reload_is_told_and_one_that_fails_leaves_the_time_of_the_last_good_one(
    house: Served, tmp_path: Path
) -> None:
    began = time.time()
    first = await figures(house)
    assert (first["cozy_reload_errors"], first['cozy_reloads_total{outcome="done"}']) == (0, 1)
    assert abs(first["cozy_reload_success_timestamp_seconds"] - began) < 60
    await house.service.reload()
    good = await figures(house)
    assert good["cozy_reload_success_timestamp_seconds"] > first["cozy_reload_success_timestamp_seconds"]
    (tmp_path / "personalities" / "tom.yaml").write_text("id: tom\nname: Tom\nprmpt: hi\n", "utf-8")
    await house.service.reload()
    bad = await figures(house)
    assert bad["cozy_reload_errors"] >= 1
    assert bad["cozy_reload_success_timestamp_seconds"] == good["cozy_reload_success_timestamp_seconds"]
    assert (bad['cozy_reloads_total{outcome="done"}'], bad['cozy_reloads_total{outcome="failed"}']) == (2, 1)


class Backlog:
    """An outbox that is asked, and fails on demand."""

    def __init__(self) -> None:
        self.asked, self.broken = 0, False

    async def figures(self) -> OutboxFigures:
        self.asked += 1
        if self.broken:
            raise StorageError("the database is away")
        return OutboxFigures(waiting=6, open=7, oldest_s=30.5, dead=2)


async def test_the_database_is_asked_once_for_scrapes_that_follow_one_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, outbox = Metrics(), Backlog()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(metrics.look_at, outbox)  # pyright: ignore[reportArgumentType]
    assert outbox.asked == 1
    assert b"cozy_outbox_jobs 7.0" in metrics.text()
    assert b"cozy_outbox_oldest_seconds 30.5" in metrics.text()
    assert b"cozy_outbox_dead 2.0" in metrics.text()
    monkeypatch.setattr("cozy.interfaces.http.metrics.FRESH_S", 0.0)
    metrics, outbox = Metrics(), Backlog()
    await metrics.look_at(outbox)  # pyright: ignore[reportArgumentType]
    outbox.broken = True
    await metrics.look_at(outbox)  # pyright: ignore[reportArgumentType]
    assert outbox.asked == 2
    assert b"cozy_outbox_jobs NaN" in metrics.text(), "an old figure would look like a quiet outbox"


async def test_jobs_that_wait_and_those_that_were_done_are_counted(house: Served) -> None:
    ada = UserId((await house.user("ada")).id)
    job = Job(uuid4(), "no such target", ada, {})
    await house.service.engine.ports.store.save_turn(
        TurnRecord(TurnId(uuid4()), ada, None, "mia", (), "complete", 0, {}, (job,))
    )
    assert math.isfinite((await figures(house))["cozy_outbox_jobs"])
    house.service.worker.wake()
    with anyio.fail_after(30):
        while 'cozy_jobs_total{outcome="given_up",target="other"}' not in await figures(house):
            await anyio.sleep(0.05)
