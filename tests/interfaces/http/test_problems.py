"""Who is told what of a failure."""

from __future__ import annotations

from typing import Any

import pytest

from cozy.errors import CozyError, EngineInvalidRequest, EngineUnavailable, NotFound, StorageError
from cozy.interfaces.http.problems import problem_of
from tests.interfaces.http.serving import Served
from tests.upstream import Answer, Cut, Upstream, chunk, plain, sse

INSIDE = "http://10.0.0.7:8000/v1 refused the API key: bad key sk-sec...ret"
ASKED = {"model": "plain", "messages": [{"role": "user", "content": "tea?"}]}
FAILURES = {
    "the key is refused": (plain({"error": {"message": "bad key sk-sec...ret"}}, 401), "ENGINE_AUTH"),
    "it is broken": (plain({"error": {"message": "at 10.0.0.7"}}, 500), "ENGINE_UNAVAILABLE"),
    "it is away": (Answer((Cut(),)), "ENGINE_UNAVAILABLE"),
    "there is no such model": (
        plain({"error": {"message": "no model `fake`", "code": "model_not_found"}}, 404),
        "ENGINE_INVALID_REQUEST",
    ),
    "it stops in the middle": (Answer((sse(chunk("Hi")), Cut())), "ENGINE_UNAVAILABLE"),
}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(
            EngineUnavailable("house", INSIDE, hint="set HOUSE_KEY"),
            "the model's server cannot be reached, or failed; try again",
            id="a model's server",
        ),
        pytest.param(
            EngineInvalidRequest("house", INSIDE, details={"complaint": "bad schema", "param": "x"}),
            "the model's server refused the request: bad schema",
            id="what is wrong with the request",
        ),
        pytest.param(
            StorageError("postgresql://10.0.0.8/cozy is away"),
            "nothing can be stored or read just now; try again",
            id="the database",
        ),
        pytest.param(NotFound("session", "s1"), "no session `s1`", id="nothing of the inside"),
    ],
)
def test_everybody_is_told_what_they_may_know_and_admins_all(error: CozyError, told: str) -> None:
    assert problem_of(error).message == told
    assert error.message in problem_of(error, in_full=True).message


@pytest.mark.parametrize(
    "error",
    [
        StorageError("refused", details={"sqlite": "no such table: /srv/cozy.db"}),
        EngineUnavailable("house", INSIDE, details={"request_id": "up_1", "place": INSIDE, "status": 502}),
    ],
    ids=["the database", "a model's server"],
)
def test_details_tell_no_more_than_the_words(error: CozyError) -> None:
    told = str(problem_of(error).details)
    assert "srv" not in told
    assert "10.0.0.7" not in told
    assert "up_1" not in told
    assert problem_of(error, in_full=True).details == error.details


async def test_an_admins_key_for_chats_alone_is_not_told_more(house: Served, up: Upstream) -> None:
    up.then(plain({"error": {"message": "at 10.0.0.7"}}, 500))
    async with house.http(await house.key("root", "chat", admin=True)) as client:
        told = await client.post("/v1/chat/completions", json=ASKED)
    assert told.status_code == 502
    assert "10.0.0.7" not in told.text, "it may stand in a page that everybody reads"


def test_the_field_that_a_models_server_complains_of_is_named() -> None:
    error = EngineInvalidRequest("house", "no", details={"param": "response_format"})
    assert problem_of(error).param == "response_format"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("case", FAILURES)
async def test_no_client_learns_where_a_model_lives(
    house: Served, ada: str, up: Upstream, case: str, stream: bool
) -> None:
    failure, code = FAILURES[case]
    up.then(*[failure] * 2)
    root = await house.key("root", admin=True)
    told: dict[str, Any] = {}
    for who, key in (("ada", ada), ("root", root)):
        async with house.http(key) as client:
            told[who] = (await client.post("/v1/chat/completions", json={**ASKED, "stream": stream})).text
        assert code in told[who]
    for secret in ("127.0.0.1", "10.0.0.7", "sk-sec", str(up.port), "api_key"):
        assert secret not in told["ada"]
    assert "127.0.0.1" in told["root"], "who runs it can mend it"
