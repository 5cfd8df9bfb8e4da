"""Two servers on one database and one Redis are one installation: they count, revoke, reload, remember and
forget together, and what one leaves when it dies is done by the other."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from uuid import UUID

import anyio
import httpx2
import pytest

from cozy.adapters.caller_cache import FRESH_S
from tests.adapters.people import PASSWORD
from tests.cli.replicas import PER_USER, Person, Replicas, chat, repeats, replicas
from tests.cli.serving import PATIENCE_S
from tests.databases import PostgresServer
from tests.upstream import Answer, Hold, chunk, sse

CHAT, ME = "/v1/chat/completions", "/v1/users/me"
ASKED = "Do I like oolong?"
SECRET = "I like oolong from Alishan"
TRIES = 10
"""Of what a busy machine may be too late for."""
VICTIM = 2
TOLD = 40
"""So many clients have seen the end of their turn when a server is killed."""
WHOLE = [("user", "complete"), ("assistant", "complete")]


@pytest.fixture(scope="module")
async def house(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replicas]:
    with postgres.database() as url:
        async with replicas(tmp_path_factory.mktemp("replicas"), url, count=2, homes=3) as house:
            yield house


async def asked(client: httpx2.AsyncClient, text: str, personality: str = "forgetful") -> tuple[str, int]:
    """Where the answer of the memory came from, and how many items it had."""
    answer = await client.post(CHAT, json=chat(text, personality))
    assert answer.status_code == 200, answer.text
    [record] = answer.json()["cozy"]["engines"]
    return record["cache"], record["items"]


async def shared(one: httpx2.AsyncClient, other: httpx2.AsyncClient) -> str:
    """A question that one server has asked the engine, and whose answer the other has from Redis.

    Not always the first: on a busy machine Redis may be later than a question waits for it.
    """
    for number in count():
        question = f"Do I like oolong? {number}"
        assert (await asked(one, question))[0] == ""
        if (await asked(other, question))[0] == "l2":
            return question
        assert number < 20, "nothing is shared"
        await anyio.sleep(0.1)
    raise AssertionError


# -- starting ----------------------------------------------------------------------------------------------


async def test_servers_that_start_at_once_on_an_empty_installation_make_one_first_admin(
    house: Replicas,
) -> None:
    told = "".join(line for server in house.servers for line in server.err)
    assert told.count("export OPENAI_API_KEY=") == 1


# -- who may ask, and how often ----------------------------------------------------------------------------


async def test_a_rate_limit_is_counted_once_over_all(house: Replicas) -> None:
    for _ in range(TRIES):
        alone = house.alone()
        allowed, most = await used_up(house)
        if house.alone() == alone:
            break
    assert PER_USER <= allowed <= most


async def used_up(house: Replicas) -> tuple[int, float]:
    """How many requests of one user two servers have allowed, and how many they may."""
    ada = await house.person()
    answered: list[int] = []

    async def ask(client: httpx2.AsyncClient) -> None:
        for _ in range(PER_USER):
            answered.append((await client.get("/v1/models")).status_code)

    began = time.monotonic()
    async with (
        house.client(0, ada.key) as first,
        house.client(1, ada.key) as second,
        anyio.create_task_group() as tasks,
    ):
        for client in (first, second):
            tasks.start_soon(ask, client)
    refilled = (time.monotonic() - began) * PER_USER / 60
    assert set(answered) == {200, 429}
    return answered.count(200), PER_USER + refilled + 1


async def revocations(house: Replicas) -> list[float]:
    """Seconds from when the second server looked at a credential to when it sees what the first was told
    since: of a login that is ended, a key that is revoked, a password that is changed."""
    took: list[float] = []

    async def revoke(order: str) -> None:
        ada = await house.person()
        token = (await house.identity.login(ada.name, PASSWORD)).access
        credential = ada.key if order == "key" else token
        async with house.client(0, token) as first, house.client(1, credential) as second:
            looked = time.monotonic()
            assert (await second.get(ME)).status_code == 200
            if order == "login":
                done = await first.post("/v1/users/logout")
            elif order == "key":
                [key] = await house.identity.keys(ada.id)
                done = await first.delete(f"{ME}/keys/{key.id}")
            else:
                changed = {"old_password": PASSWORD, "new_password": "a longer sesame"}
                done = await first.put(f"{ME}/password", json=changed)
            assert done.status_code < 300, done.text
            with anyio.fail_after(PATIENCE_S):
                while (await second.get(ME)).status_code != 401:
                    await anyio.sleep(0.1)
            took.append(time.monotonic() - looked)

    async with anyio.create_task_group() as tasks:
        for order in ("login", "key", "password"):
            tasks.start_soon(revoke, order)
    return took


async def listen_to_each_other(house: Replicas) -> None:
    """One refuses, sooner than it would look again by itself, what the other has revoked; on a busy machine
    maybe not the first."""
    for _ in range(TRIES):
        if min(await revocations(house)) < FRESH_S:
            return
    raise AssertionError("what is revoked is found in the database, not told through Redis")


async def test_what_one_revokes_is_refused_by_the_other_at_once(house: Replicas) -> None:
    await listen_to_each_other(house)


async def test_a_command_that_takes_a_key_or_a_role_away_is_followed_by_all(house: Replicas) -> None:
    ada, bob = await house.person(admin=True), await house.person(admin=True)
    desk = f"/v1/admin/users/{ada.id}/erasure"

    async def until(number: int, person: Person, status: int) -> None:
        async with house.client(number, person.key) as client:
            assert (await client.get(desk)).status_code == 200
            known.append(number)
            with anyio.fail_after(PATIENCE_S):
                while (await client.get(desk)).status_code != status:
                    await anyio.sleep(0.2)

    known: list[int] = []
    async with anyio.create_task_group() as tasks:
        for number in (0, 1):
            tasks.start_soon(until, number, ada, 403)
            tasks.start_soon(until, number, bob, 401)
        while len(known) < 4:
            await anyio.sleep(0.01)
        await house.identity.set_role(ada.id, "user")
        [key] = await house.identity.keys(bob.id)
        await house.identity.revoke_key(bob.id, key.id)


# -- personalities -----------------------------------------------------------------------------------------


async def test_a_reload_at_one_is_followed_by_all(house: Replicas) -> None:
    root = await house.person(admin=True)
    async with house.client(0, root.key) as first, house.client(1, root.key) as second:

        async def until(*conditions: str) -> None:
            with anyio.fail_after(PATIENCE_S):
                while [(await house.health(n))["personalities"] for n in (0, 1)] != list(conditions):
                    await anyio.sleep(0.1)

        async def known() -> list[bool]:
            told = [(await client.get("/v1/models")).text for client in (first, second)]
            return ['"nova"' in text for text in told]

        house.write("nova", "pipelin: x\n")
        assert (await second.post("/v1/personalities/reload")).status_code == 422
        await until("degraded", "degraded")
        assert await known() == [False, False], "the last good ones are in use"
        house.write("nova")
        assert (await first.post("/v1/personalities/reload")).status_code == 200
        await until("ok", "ok")
        assert await known() == [True, True]


# -- what is kept of engines' answers ----------------------------------------------------------------------


async def test_what_one_was_answered_serves_the_other_and_what_one_forgets_is_forgotten_by_both(
    house: Replicas,
) -> None:
    ada = await house.person()
    async with house.client(0, ada.key) as first, house.client(1, ada.key) as second:
        made = await first.post("/v1/memories", json={"content": SECRET})
        question = await shared(first, second)
        for client in (first, second):
            assert await asked(client, question) == ("l1", 1)
            assert SECRET in house.prompt()
        # what the other one writes is not forgotten in this one's own cache only
        assert (await second.delete(f"/v1/memories/{made.json()['memory_id']}")).status_code == 200
        for client in (first, second):
            assert (await asked(client, question))[1] == 0
            assert SECRET not in house.prompt()
        # and it was kept that there is nothing
        assert (await second.post("/v1/memories", json={"content": SECRET})).status_code == 201
        assert await asked(first, question) == ("", 1)


async def test_nobody_is_given_what_is_kept_of_another(house: Replicas) -> None:
    ada, bob = await house.person(), await house.person()
    async with house.client(0, ada.key) as first, house.client(1, bob.key) as second:
        await first.post("/v1/memories", json={"content": SECRET})
        assert await asked(first, ASKED) == ("", 1)
        assert await asked(second, ASKED) == ("", 0)


# -- Redis -------------------------------------------------------------------------------------------------


async def test_without_redis_all_go_on_and_forget_and_with_it_they_come_back(house: Replicas) -> None:
    ada = await house.person()
    async with house.client(0, ada.key) as first, house.client(1, ada.key) as second:
        made = await first.post("/v1/memories", json={"content": SECRET})
        for client in (first, second):
            assert (await asked(client, ASKED))[1] == 1
        house.redis.stop()
        try:
            assert await asked(first, ASKED) == ("l1", 1)
            for number in (0, 1):
                told = await house.health(number)
                assert (told[""], told["redis"]) == ("degraded", "down")
            assert (await first.delete(f"/v1/memories/{made.json()['memory_id']}")).status_code == 200
            for client in (second, first):
                assert await asked(client, ASKED) == ("", 0)
                assert SECRET not in house.prompt()
            await revocations(house)  # found in the database
        finally:
            house.redis.start()
        with anyio.fail_after(PATIENCE_S):
            while [(await house.health(number))["redis"] for number in (0, 1)] != ["ok", "ok"]:
                for client in (first, second):
                    await client.get(ME)
                await anyio.sleep(0.2)
        await shared(first, second)
        await listen_to_each_other(house)
    for server in house.servers:
        server.said("redis does not answer")
        server.said("redis answers again")


# -- turns -------------------------------------------------------------------------------------------------


async def test_a_request_that_is_repeated_at_another_server_is_one_turn(house: Replicas) -> None:
    ada = await house.person()
    house.model.then(Answer((sse(chunk("Hi")), Hold("repeated"), sse(chunk(finish="stop"), "[DONE]"))))
    before = len(house.model.requests)
    answers: list[httpx2.Response] = []

    async def ask(client: httpx2.AsyncClient) -> None:
        headers = {"idempotency-key": f"once-{ada.name}"}
        answers.append(await client.post(CHAT, json=chat("tea?"), headers=headers))

    async with (
        house.client(0, ada.key) as first,
        house.client(1, ada.key) as second,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ask, first)
        await house.model.reached("repeated")
        tasks.start_soon(ask, second)
        await anyio.sleep(0.2)  # it finds that the first one is at it
        assert not answers
        house.model.open("repeated")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["cozy"]["turn_id"] for answer in answers}) == 1
    assert len(house.model.requests) == before + 1


async def test_turns_of_one_session_at_two_servers_do_not_mingle(house: Replicas) -> None:
    ada = await house.person()
    known = set(await house.stored())
    async with house.client(0, ada.key) as first, house.client(1, ada.key) as second:
        began = await first.post(CHAT, json=chat("turn 0", "forgetful"))
        session = {"cozy": {"session_id": began.json()["cozy"]["session_id"]}}

        async def ask(number: int) -> None:
            client = (first, second)[number % 2]
            answer = await client.post(CHAT, json=chat(f"turn {number}", "forgetful", **session))
            assert answer.status_code == 200, answer.text

        async with anyio.create_task_group() as tasks:
            for number in range(1, 9):
                tasks.start_soon(ask, number)
    stored = {turn: lines for turn, lines in (await house.stored()).items() if turn not in known}
    assert sorted(lines[0][2] for lines in stored.values()) == [f"turn {number}" for number in range(9)]
    assert all([line[:2] for line in lines] == WHOLE for lines in stored.values())
    positions = await house.positions(UUID(session["cozy"]["session_id"]))
    assert [role for role, _ in positions] == ["user", "assistant"] * 9
    assert len({turn for _, turn in positions}) == 9
    assert all(positions[i][1] == positions[i + 1][1] for i in range(0, 18, 2)), "pairs stay together"


# -- what turns teach --------------------------------------------------------------------------------------


async def test_every_exchange_is_taught_once_and_in_order_whoever_stored_it(house: Replicas) -> None:
    people = [await house.person() for _ in range(6)]
    said: dict[Person, list[str]] = {person: [] for person in people}
    turns: list[UUID] = []
    before = [await house.jobs_done(number) for number in (0, 1)]
    sent = len(house.taught())

    async def talk(person: Person) -> None:
        async with house.client(0, person.key) as first, house.client(1, person.key) as second:
            for number in range(10):
                said[person].append(f"I own {number} teapots")
                answer = await (first, second)[number % 2].post(CHAT, json=chat(said[person][-1]))
                assert answer.status_code == 200, answer.text
                turns.append(UUID(answer.json()["cozy"]["turn_id"]))

    await house.diary.be("slow", only="/memories")  # so that jobs wait for each other
    async with anyio.create_task_group() as tasks:
        for person in people:
            tasks.start_soon(talk, person)
    await house.diary.be("well")
    await house.drained()
    assert sorted(house.taught()[sent:]) == sorted(turns)
    for person in people:
        assert [memory.text for memory in house.diary.of(str(person.id))] == said[person]
    done = [await house.jobs_done(number) - before[number] for number in (0, 1)]
    assert sum(done) == len(turns)
    assert min(done) > 0, "both did some"


async def test_a_server_that_is_killed_loses_nothing_that_it_said_was_finished_and_disturbs_nobody(
    house: Replicas,
) -> None:
    people = [await house.person() for _ in range(16)]
    told: set[UUID] = set()
    failed: list[str] = []
    enough, over = anyio.Event(), anyio.Event()
    sent = len(house.taught())
    known = set(await house.stored())

    async def talk(person: Person, number: int) -> None:
        """One after the other, until the server is gone or, at the other one, the test is over."""
        async with house.client(number, person.key) as client:
            for turn in range(PER_USER):
                body = chat(f"I own {turn} teapots", stream=turn % 2 == 0)
                try:
                    answer = await client.post(CHAT, json=body)
                except httpx2.HTTPError:
                    if number != VICTIM:
                        raise
                    return
                if (turn_id := finished(answer)) is None:
                    failed.append(answer.text)
                    continue
                told.add(turn_id)
                if number == VICTIM and len(told) > TOLD:
                    enough.set()
                if over.is_set():
                    return

    async with AsyncExitStack() as stack:
        await house.start(stack, VICTIM)
        house.diary.slow_s = 1  # nothing that is taught while it is slow has been taught when the server dies
        await house.diary.be("slow", only="/memories")
        async with anyio.create_task_group() as tasks:
            for index, person in enumerate(people):
                tasks.start_soon(talk, person, VICTIM if index % 2 else 0)
            with anyio.fail_after(PATIENCE_S):
                await enough.wait()
            house.servers[VICTIM].process.kill()
            over.set()
        left = await house.outbox.depth()
        await house.diary.be("well")
        await house.drained()
    stored = {turn: lines for turn, lines in (await house.stored()).items() if turn not in known}
    assert left, "there was work to be taken over"
    assert not failed
    assert told <= set(stored)
    for turn, lines in stored.items():
        assert [line[:2] for line in lines] == WHOLE, f"half of {turn}"
    taught = house.taught()[sent:]
    assert not repeats(taught)
    assert set(taught) == set(stored)
    for person in people:
        texts = [memory.text for memory in house.diary.of(str(person.id))]
        assert texts == [f"I own {turn} teapots" for turn in range(len(texts))]


def finished(answer: httpx2.Response) -> UUID | None:
    """The turn of an answer that its client takes for whole."""
    if answer.status_code != 200:
        return None
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return UUID(answer.json()["cozy"]["turn_id"])
    if not answer.text.endswith("data: [DONE]\n\n"):
        return None
    return UUID(json.loads(answer.text.split("data: ")[-2])["cozy"]["turn_id"])
