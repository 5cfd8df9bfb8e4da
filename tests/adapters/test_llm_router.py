"""Models by the name of their provider."""

from __future__ import annotations

import pytest

from cozy.adapters.demo_llm import DemoLLM
from cozy.adapters.llm_router import LLMRouter
from cozy.adapters.scripted import ScriptedLLM
from cozy.errors import EngineInitError
from cozy.ports.llm import LLMRequest, ModelCard, TextChunk
from cozy.turn import Message


def request(model: str) -> LLMRequest:
    return LLMRequest(model, (Message("user", "你好"),))


async def test_a_request_goes_to_the_adapter_of_its_provider() -> None:
    a, b = ScriptedLLM("from a"), ScriptedLLM("from b")
    router = LLMRouter({"a": a, "b": b})
    async with router.stream(request("b/some/model")) as chunks:
        assert await anext(chunks) == TextChunk("from b")
    assert (a.requests, b.requests) == ([], [request("b/some/model")])


def test_a_card_comes_from_the_adapter_of_its_provider() -> None:
    router = LLMRouter({"a": ScriptedLLM(context_tokens=1000), "demo": DemoLLM()})
    assert router.card("a/x") == ModelCard("a/x", 1000)
    assert router.card("demo/demo").context_tokens == 32_768


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        (
            "opnai/gpt-4o",
            "opnai: no provider of this name is configured, so there is no model `opnai/gpt-4o`",
            "did you mean `openai`?; a new one goes under `[providers.opnai]` in cozy.toml",
        ),
        (
            "xyz/m",
            "xyz: no provider of this name is configured, so there is no model `xyz/m`",
            "known: `demo`, `openai`; a new one goes under `[providers.xyz]` in cozy.toml",
        ),
        (
            "gpt-4o",
            "gpt-4o: a model is named by its provider and its name",
            "write `openai/gpt-4o`",
        ),
        ("openai/", "openai/: a model is named by its provider and its name", "write `openai/NAME`"),
    ],
)
def test_a_provider_that_is_not_there_is_an_error_with_the_nearest_one(
    model: str, message: str, hint: str
) -> None:
    router = LLMRouter({"demo": DemoLLM(), "openai": ScriptedLLM()})
    for ask in (router.card, lambda name: router.stream(request(name))):
        with pytest.raises(EngineInitError) as caught:
            ask(model)
        assert (caught.value.message, caught.value.hint) == (message, hint)
