"""How the engines of the personal context did, as clients, the log and the figures are told."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from cozy.cli.json_logs import JsonFormatter, TextFormatter
from cozy.interfaces.http.openai_completion import Completion
from cozy.interfaces.http.problems import engine_reason
from tests.interfaces.http.conftest import TALK, UNLIMITED, personality
from tests.interfaces.http.serving import Served, served
from tests.upstream import Upstream

STAGE = """\
  {id}:
    type: fetch_context
    source: {source}
    on_error: degrade
"""
PERSONAL = "".join(STAGE.format(id=i, source=s) for i, s in (("recall", "memory"), ("who", "profile")))
KNOWING = TALK.replace("  budget:\n", f"{PERSONAL}  budget:\n")
FLEETING = KNOWING.partition("  save:")[0]
"""Stores nothing."""
WORDS = "no such table"
"""Of the database, when the table of memories is gone."""


@pytest.fixture
async def knowing(tmp_path: Path, sqlite_url: str, up: Upstream) -> AsyncIterator[Served]:
    mia = personality("mia").replace("pipeline: talk", "pipeline: knowing")
    async with served(
        tmp_path,
        sqlite_url,
        upstream=up,
        personalities={"mia": mia, "zoe": personality("zoe").replace("talk", "fleeting")},
        pipelines={"knowing": KNOWING, "fleeting": FLEETING},
        limits=UNLIMITED,
    ) as house:
        yield house


def break_memory(house: Served) -> None:
    """Take the embedded engine's table away."""
    file = house.service.settings.database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DROP TABLE memories")


async def asked(house: Served, name: str, *, admin: bool = False, **more: Any) -> str:
    """The body of the answer to a question."""
    body = {"model": "mia", "messages": [{"role": "user", "content": "tea?"}], **more}
    headers = {"idempotency-key": "k1"}
    async with house.http(await house.key(name, admin=admin)) as client:
        told = await client.post("/v1/chat/completions", json=body, headers=headers)
    assert told.status_code == 200, told.text
    return told.text


def by_stage(answer: str) -> dict[str, dict[str, Any]]:
    return {told["stage"]: told for told in json.loads(answer)["cozy"]["engines"]}


async def know(house: Served, name: str) -> None:
    """Let the memory hold something that the question is about."""
    await house.service.engine.ports.memories.add((await house.user(name)).id, "likes green tea?")


async def test_an_answer_tells_how_each_engine_did(knowing: Served) -> None:
    await know(knowing, "ada")
    answer = await asked(knowing, "ada")
    Completion.model_validate_json(answer, strict=True)
    told = by_stage(answer)
    assert told["recall"].pop("ms") > 0
    assert told["who"].pop("ms") > 0
    rest = {"provider": "embedded", "cache": "", "reason": ""}
    assert told == {
        "recall": {"stage": "recall", "engine": "memory", "outcome": "ok", "items": 1, **rest},
        "who": {"stage": "who", "engine": "profile", "outcome": "empty", "items": 0, **rest},
    }


@pytest.mark.parametrize("flat", [{}, {"use_memory": True}], ids=["openai", "cozychat"])
async def test_a_stream_tells_it_on_the_chunk_with_the_finish_reason(
    knowing: Served, flat: dict[str, Any]
) -> None:
    body = await asked(knowing, "ada", stream=True, **flat)
    chunks = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    [last] = [chunk for chunk in chunks if "cozy" in chunk]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert sorted(told["stage"] for told in last["cozy"]["engines"]) == ["recall", "who"]


async def test_what_an_engine_said_of_its_trouble_is_told_to_admins_alone(knowing: Served) -> None:
    break_memory(knowing)
    answer = await asked(knowing, "ada")
    told = by_stage(answer)["recall"]
    assert (told["outcome"], told["items"]) == ("ENGINE_UNAVAILABLE", 0)
    assert told["reason"] == "it cannot be reached, or failed"
    in_full = by_stage(await asked(knowing, "root", admin=True))["recall"]
    assert in_full["reason"].startswith("memory: ")
    assert in_full["reason"] not in answer


@pytest.mark.parametrize("model", ["mia", "zoe"], ids=["turns are stored", "turns are not stored"])
async def test_an_answer_that_is_told_again_tells_how_they_did_the_first_time(
    knowing: Served, model: str
) -> None:
    break_memory(knowing)
    first, again = [by_stage(await asked(knowing, "root", admin=True, model=model)) for _ in range(2)]
    assert again["recall"]["reason"] == "it cannot be reached, or failed", "what a server said is not kept"
    assert again == {name: told | {"reason": again[name]["reason"]} for name, told in first.items()}


@pytest.mark.parametrize(
    ("outcome", "reason", "in_full", "told"),
    [
        pytest.param("ok", "", True, "", id="all well"),
        pytest.param("empty", "", False, "", id="nothing there"),
        pytest.param("ENGINE_AUTH", "mem0: KEY at 10.0.0.7", True, "mem0: KEY at 10.0.0.7", id="admin"),
        pytest.param("ENGINE_AUTH", "x at 10.0.0.7", False, "it does not let this server in", id="client"),
        pytest.param("ENGINE_NEW", "x at 10.0.0.7", False, "it failed", id="a code without words"),
    ],
)
def test_a_reason_is_told_as_far_as_whoever_asks_may_know(
    outcome: str, reason: str, in_full: bool, told: str
) -> None:
    assert engine_reason(outcome, reason, in_full=in_full) == told


async def test_the_figures_count_each_question(knowing: Served) -> None:
    await know(knowing, "ada")
    await asked(knowing, "ada")
    break_memory(knowing)
    await asked(knowing, "bob")
    async with knowing.http() as client:
        text = (await client.get("/metrics")).text
    counted = {
        line.partition("{")[2].partition("}")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("cozy_engine_requests_total{")
    }
    by = 'cache="none",engine="{}",outcome="{}",provider="embedded"'.format
    assert counted == {
        by("memory", "ok"): 1,
        by("memory", "ENGINE_UNAVAILABLE"): 1,
        by("profile", "empty"): 2,
    }
    assert 'cozy_engine_seconds_count{engine="memory",provider="embedded"} 2.0' in text


async def test_the_log_line_of_a_request_has_them_without_their_words(
    knowing: Served, caplog: pytest.LogCaptureFixture
) -> None:
    break_memory(knowing)
    caplog.set_level(logging.INFO, "cozy")
    await asked(knowing, "ada")
    with anyio.fail_after(30):
        while not (lines := [r for r in caplog.records if r.getMessage() == "request"]):
            await anyio.sleep(0.01)  # it is written after the answer
    [record] = lines
    line = json.loads(JsonFormatter().format(record))
    told = {e["stage"]: e for e in line["engines"]}
    assert told["recall"].pop("ms") > 0
    assert told["recall"] == {
        "stage": "recall",
        "engine": "memory",
        "provider": "embedded",
        "outcome": "ENGINE_UNAVAILABLE",
        "items": 0,
    }
    assert told["who"]["outcome"] == "empty"
    assert "reason" not in line
    text = TextFormatter().format(record)
    assert "recall:memory:embedded:ENGINE_UNAVAILABLE:" in text
    assert "reason" not in text
    in_full = json.loads(JsonFormatter(content=True).format(record))["reason"]
    assert in_full.startswith("recall: memory: ")
