"""What operators see: health, figures, reload, the document, limits, the log."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import httpx2
import pytest

from cozy.cli.json_logs import JsonFormatter
from cozy.interfaces.http.health import overall
from cozy.ports.operations import DependencyHealth
from tests.interfaces.http.serving import MIA, PASSWORD, Served, served
from tests.upstream import Upstream, plain, says, upstream


@pytest.fixture
async def model() -> AsyncIterator[Upstream]:
    async with upstream(default=says("Hi", " there")) as server:
        yield server


@pytest.fixture
async def house(tmp_path: Path, sqlite_url: str, model: Upstream) -> AsyncIterator[Served]:
    async with served(tmp_path, sqlite_url, upstream=model) as running:
        yield running


HELLO = {"model": "mia", "messages": [{"role": "user", "content": "hello"}]}


async def test_a_healthy_server_says_so(house: Served) -> None:
    async with house.http() as client:
        assert (await client.get("/health/live")).json() == {"status": "ok"}
        assert (await client.get("/health/ready")).json() == {"status": "ready", "reasons": []}
        told = (await client.get("/health")).json()
    assert told["status"] == "ok"
    assert {d["name"] for d in told["dependencies"]} >= {"database", "personalities", "model/house"}
    assert all(d["latency_ms"] is not None for d in told["dependencies"])


async def test_a_server_that_is_being_stopped_is_not_ready_and_takes_no_turns(house: Served) -> None:
    key = await house.key("ada")
    house.service.draining.set()
    async with house.http(key) as client:
        ready = await client.get("/health/ready")
        turn = await client.post("/v1/chat/completions", json=HELLO)
        assert (await client.get("/health/live")).status_code == 200
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["draining"])
    assert (turn.status_code, turn.json()["error"]["code"]) == (503, "RATE_LIMIT_OVERLOADED")
    assert int(turn.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        pytest.param([], "ok", id="nothing to ask"),
        pytest.param([("ok", True), ("ok", False)], "ok", id="all well"),
        pytest.param([("ok", True), ("down", False)], "degraded", id="something that is not vital is down"),
        pytest.param([("degraded", True), ("ok", True)], "degraded", id="something vital is degraded"),
        pytest.param([("down", True), ("ok", True)], "down", id="something vital is down"),
    ],
)
def test_the_whole_is_as_well_as_what_it_cannot_do_without(found: list[tuple[str, bool]], whole: str) -> None:
    health = DependencyHealth("x", "ok")
    assert overall([replace(health, condition=c, vital=v) for c, v in found]) == whole  # pyright: ignore[reportArgumentType]


async def test_the_figures_count_turns_tokens_and_requests(house: Served) -> None:
    async with house.http(await house.key("ada")) as client:
        await client.post("/v1/chat/completions", json=HELLO)
        await client.get("/nowhere")
        await client.request("BREW", "/v1/models")
        text = (await client.get("/metrics")).text
    for line in (
        'cozy_turns_total{outcome="finished",personality="mia"} 1.0',
        'cozy_tokens_total{kind="completion",model="house/fake"} 4.0',
        'cozy_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0',
        'cozy_http_requests_total{method="GET",route="none",status="404"} 1.0',
        'cozy_http_requests_total{method="other",route="none",status="405"} 1.0',
        "cozy_turns_running 0.0",
    ):
        assert line in text


async def test_an_admin_reloads_and_a_broken_file_changes_nothing(house: Served, tmp_path: Path) -> None:
    file = tmp_path / "personalities" / "tom.yaml"
    file.write_text(MIA.replace("mia", "tom"), encoding="utf-8")
    async with house.http(await house.key("root", admin=True)) as admin:
        told = await admin.post("/v1/personalities/reload")
        assert (told.status_code, told.json()["reloaded"]) == (200, True)
        assert "tom" in told.json()["personalities"]
        file.write_text("id: tom\nname: Tom\nprmpt: hi\n", encoding="utf-8")
        told = await admin.post("/v1/personalities/reload")
        assert told.status_code == 422
        [problem] = told.json()["diagnostics"]
        assert (problem["place"]["line"], "prompt" in problem["hint"]) == (3, True)
        assert "tom" in told.json()["personalities"], "the last good one answers"
        health = (await admin.get("/health")).json()
    assert health["status"] == "degraded"
    [reason] = [d["reason"] for d in health["dependencies"] if d["name"] == "personalities"]
    assert "tom.yaml:3" in reason
    [event, _] = await audited(house, "admin.reload")
    assert event["reloaded"] is True


async def audited(house: Served, kind: str) -> list[dict[str, object]]:
    from sqlalchemy import select

    from cozy.storage.tables import audit_events

    statement = (
        select(audit_events.c.payload)
        .where(audit_events.c.event_type == kind)
        .order_by(audit_events.c.created_at)
    )
    database = house.service.engine.ports.audit.database  # pyright: ignore[reportAttributeAccessIssue]
    return list(await database.read(lambda connection: connection.execute(statement).scalars().all()))


async def test_only_admins_reload(house: Served) -> None:
    narrow = await house.key("root", "chat", admin=True)
    for credential, status in ((await house.key("ada"), 403), (narrow, 403), (None, 401), ("nonsense", 401)):
        async with house.http(credential) as client:
            assert (await client.post("/v1/personalities/reload")).status_code == status
    async with house.http(await house.token("boss", admin=True)) as client:
        assert (await client.post("/v1/personalities/reload")).status_code == 200


async def test_a_turn_under_way_ends_on_the_personality_it_began_with(
    house: Served, model: Upstream, tmp_path: Path
) -> None:
    from tests.upstream import Answer, Hold, chunk, sse

    end = sse(chunk(" there", finish="stop"), "[DONE]")
    model.then(Answer((sse(chunk("Hi")), Hold("half"), end)))
    async with house.http(await house.key("root", admin=True)) as client:
        async with anyio.create_task_group() as tasks:
            answers: list[httpx2.Response] = []

            async def ask() -> None:
                answers.append(await client.post("/v1/chat/completions", json=HELLO))

            tasks.start_soon(ask)
            await model.reached("half")
            (tmp_path / "personalities" / "mia.yaml").unlink()
            assert (await client.post("/v1/personalities/reload")).json()["reloaded"]
            gone = await client.post("/v1/chat/completions", json=HELLO)
            model.open("half")
        assert answers[0].json()["choices"][0]["message"]["content"] == "Hi there"
        assert gone.status_code == 404


async def test_the_documents_need_no_other_host(house: Served) -> None:
    async with house.http() as client:
        page = (await client.get("/docs")).text
    assert "/v1/chat/completions" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http(s)", "")
    assert "https://" not in page


async def test_limits_count_keys_and_users_and_tell_what_is_left(
    tmp_path: Path, sqlite_url: str, model: Upstream
) -> None:
    async with served(tmp_path, sqlite_url, upstream=model, limits={"per_key": 2, "per_user": 3}) as house:
        first, second = await house.key("ada"), await house.key("ada")
        other = await house.key("bob")

        async def status(key: str) -> httpx2.Response:
            async with house.http(key) as client:
                return await client.get("/v1/models")

        told = await status(first)
        assert told.headers["x-ratelimit-limit-requests"] == "2"
        assert told.headers["x-ratelimit-remaining-requests"] == "1"
        assert told.headers["ratelimit-policy"] == '"default";q=2;w=60'
        assert (await status(first)).status_code == 200
        refused = await status(first)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        # the refused one counted for the user, too: whoever hammers waits longer
        assert (await status(second)).status_code == 429
        assert (await status(other)).status_code == 200


async def test_an_address_has_a_limit_of_its_own_whoever_asks(
    tmp_path: Path, sqlite_url: str, model: Upstream
) -> None:
    limits = {"per_address": 2}
    async with (
        served(tmp_path, sqlite_url, upstream=model, limits=limits) as house,
        house.http() as client,
    ):
        told = [(await client.get("/v1/models")).status_code for _ in range(4)]
        assert (await client.get("/health/live")).status_code == 200, "whoever watches is not counted"
    assert told == [401, 401, 429, 429]


@pytest.mark.parametrize(
    ("proxies", "addresses", "third"),
    [
        pytest.param(["127.0.0.1"], ["2001:db8::1", "2001:db8::2:1", "2001:db8:0:0:9::"], 429, id="one /64"),
        pytest.param(["127.0.0.1"], ["2001:db8::1", "2001:db8::1", "2001:db8:0:1::1"], 401, id="another /64"),
        pytest.param(["127.0.0.1"], ["1.2.3.4", "::ffff:1.2.3.4", "::ffff:102:304"], 429, id="IPv4 as IPv6"),
        pytest.param(["127.0.0.1"], ["1.2.3.4", "::ffff:1.2.3.4", "::ffff:1.2.3.5"], 401, id="next to it"),
        pytest.param([], ["1.2.3.1", "1.2.3.2", "1.2.3.3"], 429, id="made up by the client"),
    ],
)
async def test_an_ipv6_client_is_counted_with_its_network(
    tmp_path: Path, sqlite_url: str, proxies: list[str], addresses: list[str], third: int
) -> None:
    server, limits = {"trusted_proxies": proxies}, {"per_address": 2}
    async with (
        served(tmp_path, sqlite_url, server=server, limits=limits) as house,
        house.http() as client,
    ):
        told = [
            (await client.get("/v1/models", headers={"x-forwarded-for": address})).status_code
            for address in addresses
        ]
    assert told == [401, 401, third]


ALLOWED = {
    "one route": ("/v1/chat/completions", "POST"),
    "several of one path": ("/v1/memories", "DELETE, GET, HEAD, POST"),
    "one that is fixed, one that fits": ("/v1/users/me/profile", "GET, HEAD, PUT"),
}


@pytest.mark.parametrize(("path", "methods"), ALLOWED.values(), ids=ALLOWED.keys())
async def test_who_asks_with_another_method_is_told_of_every_one_that_there_is(
    house: Served, path: str, methods: str
) -> None:
    async with house.http() as client:
        refused = await client.patch(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, methods)


async def test_pages_of_other_origins_may_call_and_read_errors_too(house: Served) -> None:
    origin = {"origin": "https://chat.example.org"}
    async with house.http(**origin) as client:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        preflight = await client.options("/v1/chat/completions", headers=asked)
        refused = await client.post("/v1/chat/completions", json=HELLO)
        lost = await client.get("/nowhere")
    assert (preflight.status_code, preflight.headers["access-control-allow-headers"]) == (
        200,
        "authorization",
    )
    for told, status in ((refused, 401), (lost, 404)):
        assert (told.status_code, told.headers["access-control-allow-origin"]) == (status, "*")


async def test_no_line_of_the_log_holds_a_secret_or_a_word_of_a_user(
    tmp_path: Path, sqlite_url: str, model: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    said, failing = "my diary says zebra", "PLANTED upstream zebra"
    formatter = JsonFormatter()
    async with served(tmp_path, sqlite_url, upstream=model) as house:
        caplog.set_level(logging.DEBUG)
        key, token = await house.key("ada"), await house.token("ada")
        async with house.http(key) as client:
            await client.post("/v1/chat/completions", json={**HELLO, "cozy": {"session_id": "new"}})
            model.then(plain({"error": {"message": failing}}, 400), plain(f"<html>{failing}</html>", 500))
            for _ in range(2):
                body = {"model": "mia", "messages": [{"role": "user", "content": said}]}
                await client.post("/v1/chat/completions", json=body)
            await client.post("/v1/chat/completions", content=said.encode())
        async with house.http(token) as client:
            await client.get("/v1/models")
        async with house.http(f"cozy_{said}"[:40].replace(" ", "")) as client:
            await client.get(f"/v1/models?password={PASSWORD.replace(' ', '+')}")
    lines = [formatter.format(record) for record in caplog.records if record.name.startswith("cozy")]
    assert any(json.loads(line)["message"] == "request" for line in lines)
    written = "\n".join(lines)
    for secret in (key, token, PASSWORD, "zebra", "PLANTED", "Hi there"):
        assert secret not in written
    one = next(json.loads(line) for line in lines if '"route":"/v1/chat/completions"' in line)
    assert {"timestamp", "level", "request_id", "user_id", "personality_id", "status", "latency_ms"} <= set(
        one
    )


async def test_a_turn_whose_client_leaves_is_counted_and_its_key_is_free_again(
    tmp_path: Path, sqlite_url: str, model: Upstream
) -> None:
    quick = "stages:\n  prompt:\n    type: render_prompt\n  answer:\n    type: llm\n"
    mia = "id: mia\nname: Mia\nprompt: Hi.\nmodel:\n  name: house/fake\npipeline: quick\n"
    from tests.upstream import Answer, Hold, chunk, sse

    async with served(
        tmp_path, sqlite_url, upstream=model, personalities={"mia": mia}, pipelines={"quick": quick}
    ) as house:
        model.then(Answer((sse(chunk("Hi")), Hold("for ever"))))
        key = {"idempotency-key": "k"}
        async with house.http(await house.key("ada")) as client:
            async with client.stream(
                "POST", "/v1/chat/completions", json={**HELLO, "stream": True}, headers=key
            ) as answer:
                async for _ in answer.aiter_lines():
                    break
            await model.left()
            with anyio.fail_after(15):  # a key that is held would be free in 20
                again = await client.post("/v1/chat/completions", json={**HELLO, "stream": True}, headers=key)
            assert "there" in again.text, "a pipeline that stores nothing does not hold the key"
            assert (
                'cozy_turns_total{outcome="interrupted",personality="mia"} 1.0'
                in (await client.get("/metrics")).text
            )
    assert len(model.requests) == 2
