"""A whole day of a real server at its most talkative: no secret and no word of anybody in what it writes."""

from __future__ import annotations

import json
import re
import secrets
import signal
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import anyio
import anyio.to_thread
import httpx2
import pyotp
import pytest

from tests.cli.serving import Running, running
from tests.cli.terminal import cozy
from tests.interfaces.http.raw import CHAT, request
from tests.upstream import JSON, Answer, Cut, Received, Upstream, calls, chunk, plain, says, sse, upstream

SERVE = ["-m", "cozy", "serve", "--port", "0", "--workers", "2"]
ACCESS = {"timestamp", "level", "request_id", "method", "route", "status", "latency_ms"}
PIECE = 8


@dataclass
class Planted:
    """What must not be written; every word of it is this run's own."""

    words: dict[str, str] = field(default_factory=dict[str, str])
    keys: dict[str, str] = field(default_factory=dict[str, str])

    def word(self, name: str) -> str:
        """A text of somebody's, a Chinese one: escaped it is another."""
        made = f"斑马{name}{secrets.token_hex(6)}"
        self.words[name] = made
        return made

    def key(self, name: str, given: str | None = None) -> str:
        """A secret, of which no piece may be written either."""
        made = given or f"sk-{secrets.token_urlsafe(24)}"
        self.keys[name] = made
        return made

    def found_in(self, text: str) -> list[str]:
        """Names of what stands there, in whatever form."""
        pieces = {text[n : n + PIECE] for n in range(len(text))}
        found = [name for name, key in self.keys.items() if any(p in pieces for p in _pieces(key))]
        both = {**self.words, **self.keys}
        return [*found, *(name for name, said in both.items() if any(form in text for form in _forms(said)))]


def _pieces(key: str) -> Iterator[str]:
    """Those of a secret that are nobody else's: names of kinds and the head of every JWT are."""
    own = re.sub(r"^(cozy_|sk-|eyJ[^.]*\.)", "", key)
    return (own[n : n + PIECE] for n in range(len(own) - PIECE + 1))


def _forms(said: str) -> Iterator[str]:
    yield from (said, quote(said), quote_plus(said), json.dumps(said)[1:-1], repr(said.encode())[2:-1])
    # a part of a longer text that was encoded: its borders depend on what stands before it
    for before in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            whole = encode(b"\0" * before + said.encode()).decode().rstrip("=")
            yield whole[[0, 2, 3][before] : -2]


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
async def model(planted: Planted) -> AsyncIterator[Upstream]:
    """A model's server that fails in the way that the last message asks for, and tells all it knows of it."""

    def answer(received: Received) -> Answer:
        messages = received.body["messages"]
        last = str(messages[-1]["content"])
        gossip = f"{last} {received.headers['authorization']} {planted.words['the upstream']}"
        if messages[-1]["role"] != "user":
            return says(planted.words["the reply"])
        if "fail:400" in last:
            return plain({"error": {"message": gossip, "code": gossip, "type": "invalid_request_error"}}, 400)
        if "fail:401" in last:
            return plain({"error": {"message": gossip}}, 401)
        if "fail:500" in last:
            return plain(f"<html>{gossip}</html>", 500)
        if "fail:cut" in last:
            return Answer((sse(chunk(planted.words["the reply"])), Cut()))
        if "fail:nonsense" in last:
            return Answer((f"data: {gossip}\n\n".encode(),))
        if "fail:json" in last:
            return Answer((gossip.encode(),), headers=JSON)
        if "call:calculator" in last:
            return calls(("calculator", json.dumps({"expression": planted.words["an argument"]})))
        if "call:client" in last:
            return calls(("look_up", json.dumps({"what": planted.words["an argument"]})))
        return says(planted.words["the reply"])

    async with upstream(default=answer) as server:
        yield server


def installed(folder: Path, model: Upstream) -> None:
    (folder / "personalities").mkdir()
    (folder / "personalities" / "mia.yaml").write_text(
        "id: mia\nname: Mia\nprompt: You are Mia.\nmodel:\n  name: house/fake\ntools:\n  - calculator\n"
    )
    (folder / "cozy.toml").write_text(
        "[server]\nlog_level = 'debug'\nlog_format = 'json'\nmax_body_bytes = 50000\n"
        f"[providers.house]\nbase_url = '{model.base_url}'\napi_key_env = 'HOUSE_KEY'\n"
        "[providers.house.headers]\nX-Team = '${TEAM}'\n"
    )


@dataclass
class Day:
    """A user's day, and an operator's."""

    planted: Planted
    port: int
    folder: Path
    client: httpx2.AsyncClient
    statuses: list[int] = field(default_factory=list[int])

    async def ask(self, method: str, path: str, status: int, by: str = "", **sent: Any) -> Any:
        """One request, whose answer is as expected; gives its JSON."""
        headers = {"user-agent": self.planted.words["the agent"], **sent.pop("headers", {})}
        headers |= {"authorization": f"Bearer {by}"} if by else {}
        answer = await self.client.request(method, path, headers=headers, **sent)
        assert answer.status_code == status, (method, path, answer.text)
        self.statuses.append(status)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.json() if is_json else answer.text

    async def account(self) -> tuple[str, str]:
        """Register, log in and out and in again; gives a token and a key."""
        plant, ask = self.planted, self.ask
        old, new = plant.key("the password"), plant.key("the new password")
        name, email = f"u{secrets.token_hex(8)}", f"m{secrets.token_hex(8)}@example.org"
        plant.words |= {"the name": name, "the address": email}
        made = await ask(
            "POST",
            "/v1/users/register",
            201,
            json={"username": name, "email": email, "password": old},
        )
        wrong = plant.key("the wrong password")
        await ask("POST", "/v1/auth/login", 401, json={"username": name, "password": wrong})
        used = {"refresh_token": made["refresh_token"]}
        renewed = await ask("POST", "/v1/auth/refresh", 200, json=used)
        await ask("POST", "/v1/auth/refresh", 401, json=used)
        again = await ask("POST", "/v1/auth/login", 200, json={"username": email, "password": old})
        change = {"old_password": old, "new_password": new}
        await ask("PUT", "/v1/users/me/password", 200, again["access_token"], json=change)
        last = await ask("POST", "/v1/auth/login", 200, json={"username": name, "password": new})
        for number, tokens in enumerate((made, renewed, again, last)):
            plant.key(f"access {number}", tokens["access_token"])
            plant.key(f"refresh {number}", tokens["refresh_token"])
        token = last["access_token"]
        await self.second_factor(token, name, new)
        key = await ask("POST", "/v1/users/me/keys", 201, token, json={"name": plant.word("the key's name")})
        return token, plant.key("the API key", key["key"])

    async def second_factor(self, token: str, name: str, password: str) -> None:
        ask = self.ask
        offer = await ask("POST", "/v1/users/me/second-factor", 200, token)
        secret = self.planted.key("the second factor", offer["secret"])
        code = {"code": pyotp.TOTP(secret).now()}
        await ask("POST", "/v1/users/me/second-factor/confirm", 200, token, json=code)
        await ask("POST", "/v1/auth/login", 401, json={"username": name, "password": password})
        await ask("DELETE", "/v1/users/me/second-factor", 200, token, json={"password": password})

    async def talk(self, key: str) -> None:
        """Through OpenAI's API: answers, tools, and every way in which a model fails."""
        plant, ask = self.planted, self.ask

        def says(what: str, **more: Any) -> dict[str, Any]:
            content = f"{plant.words['what is said']} {what}"
            return {"model": "mia", "messages": [{"role": "user", "content": content}], **more}

        for stream in (False, True):
            await ask("POST", CHAT, 200, key, json=says("hello", stream=stream))
            await ask("POST", CHAT, 200, key, json=says("call:calculator", stream=stream))
        look_up = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
        await ask("POST", CHAT, 200, key, json=says("call:client", tools=[look_up]))
        await ask("POST", CHAT, 400, key, json=says("fail:400"))
        for how in ("401", "500", "nonsense", "json"):
            await ask("POST", CHAT, 502, key, json=says(f"fail:{how}"))
        await ask("POST", CHAT, 200, key, json=says("fail:cut", stream=True))
        odd = {plant.words["a field"]: plant.words["a value"]}
        await ask("POST", CHAT, 400, key, json=says("hello", **odd))
        again = {"idempotency-key": plant.words["a field"]}
        await ask("POST", CHAT, 200, key, json=says("hello"), headers=again)
        await ask("POST", CHAT, 400, key, content=f"{{{plant.words['what is said']}".encode())
        await ask("POST", CHAT, 413, key, content=plant.words["what is said"].encode() * 5000)
        await ask("POST", CHAT, 401, plant.key("a wrong key"), json=says("hello"))
        await ask("POST", CHAT, 404, key, json={**says("hello"), "model": plant.words["a value"]})
        await ask("GET", f"/{plant.words['a value']}?key={plant.key('a key in an address')}", 404)

    async def chat(self, token: str) -> str:
        """Through CozyChat's API; gives the session."""
        plant, ask = self.planted, self.ask
        title = {"personality_id": "mia", "title": plant.words["a title"]}
        session = (await ask("POST", "/v1/sessions", 201, token, json=title))["session_id"]
        said = {"messages": [{"role": "user", "content": plant.words["what is said"]}], "stream": True}
        await ask("POST", CHAT, 200, token, json={**said, "personality_id": "mia", "session_id": session})
        failing = [{"role": "user", "content": f"{plant.words['what is said']} fail:500"}]
        await ask("POST", CHAT, 200, token, json={**said, "messages": failing, "personality_id": "mia"})
        memory = plant.words["a memory"]
        await ask("POST", "/v1/memories", 201, token, json={"content": memory})
        await ask("POST", "/v1/memories/search", 200, token, json={"query": memory})
        await ask("GET", f"/v1/memories?search={quote(memory)}", 200, token)
        await ask("PUT", "/v1/users/me", 200, token, json={"bio": plant.words["a profile"]})
        executed = {"tool_name": "calculator", "parameters": {"expression": plant.words["an argument"]}}
        await ask("POST", "/v1/tools/execute", 400, token, json=executed)
        await ask("PUT", "/v1/users/me", 422, token, json={"bio": [plant.words["a profile"]]})
        return session

    async def operate(self, admin: str) -> None:
        """A reload that fails of a file with a key in it."""
        broken = f"id: tom\nname: Tom\nprmpt: {self.planted.word('a prompt')}\n"
        broken += f"model:\n  name: {self.planted.key('a key in a file')}\n"
        (self.folder / "personalities" / "tom.yaml").write_text(broken)
        await self.ask("POST", "/v1/personalities/reload", 422, admin)

    async def shake_hands(self, key: str) -> None:
        with anyio.fail_after(30):
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                asks = {"connection": "upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
                path = f"/{quote(self.planted.words['a value'])}?key={key}"
                nonce = "dGhlIHNhbXBsZSBub25jZQ=="
                await stream.send(request("GET", path, key, sec_websocket_key=nonce, **asks))
                assert b" 404 " in await stream.receive()
        self.statuses.append(404)

    async def crash(self, token: str, session: str) -> None:
        """What is stored is damaged, so that a handler stumbles over it."""
        with closing(sqlite3.connect(self.folder / "data" / "cozy.db", timeout=10)) as database, database:
            damaged = json.dumps(self.planted.words["a title"], ensure_ascii=False)[:-1]
            database.execute("UPDATE messages SET metadata = ?", (damaged,))
        await self.ask("GET", f"/v1/sessions/{session}/messages", 500, token)


async def test_nothing_that_is_said_and_no_secret_is_written_by_a_server_at_its_most_talkative(
    tmp_path: Path, planted: Planted, model: Upstream
) -> None:
    for name in (
        "the upstream",
        "the reply",
        "the agent",
        "an argument",
        "what is said",
        "a field",
        "a value",
        "a title",
        "a memory",
        "a profile",
    ):
        planted.word(name)
    planted.words["the agent"] = f"agent{secrets.token_hex(8)}"  # headers are ASCII
    planted.words["a field"] = f"field{secrets.token_hex(8)}"
    environ = {
        "HOUSE_KEY": planted.key("the model server's key"),
        "TEAM": planted.key("a header of the model server's"),
        "COZY_JWT_KEYS": f"one={planted.key('the signing key', secrets.token_urlsafe(48))}",
    }
    installed(tmp_path, model)
    with running(SERVE, tmp_path, **environ) as server:
        port = await anyio.to_thread.run_sync(lambda: server.port)
        admin = server.said("export OPENAI_API_KEY=").strip().partition("=")[2]
        planted.key("the admin's key", admin)
        base = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=base, timeout=60) as client:
            day = Day(planted, port, tmp_path, client)
            token, key = await day.account()
            await day.talk(key)
            session = await day.chat(token)
            await day.operate(admin)
            await day.shake_hands(key)
            await day.crash(token, session)
            keys = await day.ask("GET", "/v1/users/me/keys", 200, token)
            await day.ask("DELETE", f"/v1/users/me/keys/{keys['keys'][0]['id']}", 200, token)
            await day.ask("GET", "/v1/models", 401, key)
            await day.ask("POST", "/v1/auth/logout", 200, token)
        server.tell(signal.SIGTERM)
        assert await anyio.to_thread.run_sync(server.end) == 0
    assert planted.found_in(without_the_first_words(server, admin)) == []
    assert planted.found_in("".join(server.out)) == []
    lines = [json.loads(line) for line in server.out]
    assert all({"timestamp", "level", "message"} <= set(line) for line in lines)
    access = [line for line in lines if line["message"] == "request"]
    assert sorted(line["status"] for line in access) == sorted(day.statuses)
    check_fields(access)
    told = {line["message"] for line in lines}
    assert {"request failed", "personalities have errors: the last good ones stay"} <= told


def without_the_first_words(server: Running, admin: str) -> str:
    """What stands on stderr: the admin's key is told there, once; beside it nothing but talk."""
    text = "".join(server.err)
    first = re.search(r"\n    This installation has no admin yet.*?ends one\.\n", text, re.DOTALL)
    assert first
    assert first[0].count(admin) == 2
    rest = text.replace(first[0], "")
    assert {line.partition(" ")[0] for line in rest.splitlines() if line} <= {"warning:", "listening"}
    return rest


def check_fields(access: list[dict[str, Any]]) -> None:
    """Every line of a request says what it was, whose, and how it went."""
    assert all(set(line) >= ACCESS for line in access)
    turns = [line for line in access if "turn_id" in line]
    assert len(turns) >= 12
    assert all(set(line) >= {"user_id", "personality_id", "engine", "model"} for line in turns)
    assert any("session_id" in line for line in turns)
    failed = [line for line in access if line["status"] >= 400]
    assert [line for line in failed if "code" not in line] == []
    broken = [line for line in turns if line["status"] == 502]
    assert len(broken) == 4
    assert all((line["engine"], line["stage"]) == ("house", "answer") for line in broken)


def test_a_server_that_does_not_start_writes_no_secret(tmp_path: Path, planted: Planted) -> None:
    password = planted.key("the database's password", secrets.token_urlsafe(24))
    redis = planted.key("the password of Redis", secrets.token_urlsafe(24))
    file_key = planted.key("a key in the file")
    (tmp_path / "cozy.toml").write_text(
        f"[server]\nport = 99999\n[providers.house]\nbase_url = 'http://h/v1'\napi_key = '{file_key}'\n"
    )
    ended = cozy(
        tmp_path,
        "serve",
        COZY_DATABASE_URL=f"postgresql://ada:{password}@127.0.0.1:1/cozy",
        COZY_REDIS_URL=f"redis://:{redis}@127.0.0.1:port/0",
        COZY_JWT_KEYS=f"one={planted.key('a short key', 'hunter2hunter2')}",
    )
    assert (ended.code, ended.out) == (1, "")
    for words in ("`server.port`", "`providers.house.api_key`", "the database is away", "COZY_JWT_KEYS"):
        assert words in ended.err
    assert planted.found_in(ended.err) == []
