"""Every field of OpenAI's request is what the reference says it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from openai.types.chat import completion_create_params as params

from cozy.interfaces.http.openai_request import PASSED_ON, CompletionRequest
from tests.interfaces.http.serving import Served
from tests.upstream import Upstream

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "openai.md").read_text(encoding="utf-8")
TABLE: dict[str, str] = dict(
    re.findall(r"^\| `(\w+)` \| (implemented|passed on|refused) \|", PAGE, flags=re.MULTILINE)
)
PASSED: dict[str, Any] = {
    "logit_bias": {"50256": -100},
    "verbosity": "low",
    "prediction": {"type": "content", "content": "tea"},
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
}
REFUSED: dict[str, Any] = {
    "logprobs": True,
    "top_logprobs": 3,
    "audio": {"voice": "alloy", "format": "mp3"},
    "store": True,
    "moderation": {"model": "m"},
    "web_search_options": {},
}
IMPLEMENTED: dict[str, tuple[Any, Any]] = {
    "temperature": (0.5, 0.5),
    "top_p": (0.5, 0.5),
    "stop": (["."], ["."]),
    "seed": (7, 7),
    "presence_penalty": (1, 1.0),
    "frequency_penalty": (1, 1.0),
    "reasoning_effort": ("low", "low"),
    "response_format": ({"type": "json_object"}, {"type": "json_object"}),
}
"""Field → what is asked, and what the model's server reads of it under the same name."""


def named(kind: str) -> set[str]:
    return {field for field, what in TABLE.items() if what == kind}


def test_the_table_has_every_field_of_the_sdk_and_no_other() -> None:
    base: Any = params.CompletionCreateParamsBase
    assert {*get_type_hints(base), "stream"} == set(TABLE)
    assert set(CompletionRequest.model_fields) - {"cozy"} == set(TABLE)


def test_what_is_tried_here_is_what_the_table_says() -> None:
    assert named("passed on") == set(PASSED) == set(PASSED_ON)
    assert named("refused") == set(REFUSED)
    assert set(IMPLEMENTED) <= named("implemented")


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "plain", "messages": [{"role": "user", "content": "tea?"}], **fields}


@pytest.mark.parametrize("field", sorted(PASSED))
async def test_it_is_passed_on(house: Served, ada: str, up: Upstream, field: str) -> None:
    async with house.http(ada) as client:
        told = await client.post("/v1/chat/completions", json=body(**{field: PASSED[field]}))
    assert told.status_code == 200, told.text
    assert up.requests[0].body[field] == PASSED[field]


@pytest.mark.parametrize("field", sorted(REFUSED))
async def test_it_is_refused_by_name(house: Served, ada: str, up: Upstream, field: str) -> None:
    async with house.http(ada) as client:
        told = await client.post("/v1/chat/completions", json=body(**{field: REFUSED[field]}))
    assert (told.status_code, told.json()["error"]["param"]) == (400, field)
    assert up.requests == []


@pytest.mark.parametrize("field", sorted(IMPLEMENTED))
async def test_it_reaches_the_model(house: Served, ada: str, up: Upstream, field: str) -> None:
    asked, read = IMPLEMENTED[field]
    async with house.http(ada) as client:
        told = await client.post("/v1/chat/completions", json=body(**{field: asked}))
    assert told.status_code == 200, told.text
    assert up.requests[0].body[field] == read


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_both_spellings_bound_the_answer(house: Served, ada: str, up: Upstream, field: str) -> None:
    async with house.http(ada) as client:
        await client.post("/v1/chat/completions", json=body(**{field: 7}))
    assert up.requests[0].body["max_tokens"] == 7


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"max_tokens": 7, "max_completion_tokens": 8}, "max_tokens", id="two spellings"),
        pytest.param(
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
            id="padding",
        ),
    ],
)
async def test_what_cannot_be_honoured_is_not_dropped(
    house: Served, ada: str, fields: dict[str, Any], param: str
) -> None:
    async with house.http(ada) as client:
        told = await client.post("/v1/chat/completions", json=body(**fields))
    assert (told.status_code, told.json()["error"]["param"]) == (400, param)


async def test_whom_the_client_speaks_for_is_never_told_in_its_own_words(
    house: Served, ada: str, up: Upstream
) -> None:
    async with house.http(ada) as client:
        sent = body(user="customer-7", safety_identifier="customer-8")
        assert (await client.post("/v1/chat/completions", json=sent)).status_code == 200
    assert "customer" not in json.dumps(up.requests[0].body)


async def test_a_field_that_nobody_knows_is_refused_by_name(house: Served, ada: str) -> None:
    async with house.http(ada) as client:
        told = await client.post("/v1/chat/completions", json=body(temprature=1))
    assert (told.status_code, told.json()["error"]["param"]) == (400, "temprature")
