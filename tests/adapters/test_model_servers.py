"""What is known of servers."""

from __future__ import annotations

import pytest

from cozy.adapters.model_servers import CAPABILITIES, Capabilities, OpenAIServer, flavour_of
from cozy.errors import EngineInitError
from cozy.settings import Flavour


@pytest.mark.parametrize(
    ("base_url", "name", "flavour"),
    [
        ("https://api.openai.com/v1", "x", "openai"),
        ("https://eu.api.openai.com/v1", "x", "openai"),
        ("https://me.openai.azure.com/openai/v1", "x", "azure"),
        ("https://me.services.ai.azure.com/openai/v1", "x", "azure"),
        ("https://api.deepseek.com", "x", "deepseek"),
        ("https://api.mistral.ai/v1", "x", "mistral"),
        ("http://127.0.0.1:11434/v1", "x", "ollama"),
        ("http://gpu:1234/v1", "x", "lmstudio"),
        ("http://gpu:8000/v1", "vllm", "vllm"),
        ("http://gpu:9999/v1", "Ollama", "ollama"),
        ("http://gpu:9999/v1", "x", "generic"),
        ("http://proxy:4000/v1", "openai", "generic"),
        ("https://api.openai.com.evil.example/v1", "x", "generic"),
    ],
)
def test_a_server_is_known_by_its_address_then_by_its_name(
    base_url: str, name: str, flavour: Flavour
) -> None:
    assert flavour_of(base_url, name) == flavour
    assert OpenAIServer(name, base_url).kind == flavour


def test_a_given_flavour_goes_before_the_address() -> None:
    server = OpenAIServer("x", "http://gpu:11434/v1", flavour="vllm")
    assert server.kind == "vllm"
    assert server.can is CAPABILITIES["vllm"]


def test_capabilities_may_be_given_outright() -> None:
    own = Capabilities(length_field="max_completion_tokens")
    assert OpenAIServer("x", "http://gpu:11434/v1", capabilities=own).can is own


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://me.openai.azure.com", "https://me.openai.azure.com/openai/v1"),
        ("https://api.deepseek.com", "https://api.deepseek.com"),
        ("http://gpu:9999", "http://gpu:9999"),
        ("https://me.openai.azure.com/openai?api-version=1", "https://me.openai.azure.com/openai"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(base_url: str, url: str) -> None:
    assert OpenAIServer("x", base_url).url == url


@pytest.mark.parametrize(
    "url", ["", "gpu:8000/v1", "ftp://gpu", "http://", "http://[::1/v1", "http://gpu:x/v1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(EngineInitError, match="`base_url` is no address"):
        OpenAIServer("x", url)


def test_neither_key_nor_password_shows() -> None:
    server = OpenAIServer(
        "x", "https://ada:secret1@gpu/v1?key=secret2", "secret3", headers={"x-token": "secret4"}
    )
    assert server.shown_url == "https://gpu/v1"
    assert "secret3" not in repr(server)
    assert "secret4" not in repr(server)


@pytest.mark.parametrize(
    ("name", "variable", "expected"),
    [("openai", None, "OPENAI_API_KEY"), ("my-gpu.2", None, "MY_GPU_2_API_KEY"), ("x", "SECRET", "SECRET")],
)
def test_a_hint_names_the_variable_of_the_key(name: str, variable: str | None, expected: str) -> None:
    assert OpenAIServer(name, "http://gpu/v1", key_variable=variable).key_name == expected


@pytest.mark.parametrize(
    ("base_url", "model", "expected"),
    [
        ("https://api.openai.com/v1", "o1", True),
        ("https://api.openai.com/v1", "o3-mini", True),
        ("https://api.openai.com/v1", "o4-mini-2025-04-16", True),
        ("https://api.openai.com/v1", "gpt-5", True),
        ("https://api.openai.com/v1", "gpt-5.2-pro", True),
        ("https://api.openai.com/v1", "gpt-5-chat-latest", False),
        ("https://api.openai.com/v1", "gpt-4o", False),
        ("https://api.openai.com/v1", "gpt-4.1-mini", False),
        ("http://proxy:4000/v1", "openai/gpt-5-mini", True),
        ("http://proxy:4000/v1", "gpt-oss-20b", False),
        ("http://127.0.0.1:11434/v1", "o1-distilled", False),
    ],
)
def test_reasoning_models_are_known_by_name(base_url: str, model: str, expected: bool) -> None:
    assert OpenAIServer("x", base_url).is_openai_reasoning(model) is expected
