"""What is known of models."""

from __future__ import annotations

import pytest

from cozy.adapters.model_cards import UNKNOWN_CONTEXT_TOKENS, card_of, known_card
from cozy.adapters.model_servers import OpenAIServer
from cozy.ports.llm import ModelCard

OPENAI = OpenAIServer("openai", "https://api.openai.com/v1")
VLLM = OpenAIServer("vllm", "http://gpu:8000/v1")
OLLAMA = OpenAIServer("ollama", "http://127.0.0.1:11434/v1")


@pytest.mark.parametrize(
    ("server", "model", "window", "encoding"),
    [
        (OPENAI, "openai/gpt-4o-mini", 128_000, "o200k_base"),
        (OPENAI, "openai/gpt-4.1-mini", 1_047_576, "o200k_base"),
        (OPENAI, "openai/gpt-4-0613", 8_192, "cl100k_base"),
        (OPENAI, "openai/gpt-3.5-turbo", 16_385, "cl100k_base"),
        (OPENAI, "openai/gpt-5.1", 400_000, "o200k_base"),
        (OPENAI, "openai/gpt-5-chat-latest", 128_000, "o200k_base"),
        (OPENAI, "openai/o3-mini", 200_000, "o200k_base"),
        (VLLM, "vllm/Qwen/Qwen3-32B", 32_768, "o200k_base"),
        (VLLM, "vllm/meta-llama/Llama-3.1-8B-Instruct", 131_072, "o200k_base"),
        (VLLM, "vllm/deepseek-ai/DeepSeek-R1", 131_072, "o200k_base"),
        (VLLM, "vllm/my-own", UNKNOWN_CONTEXT_TOKENS, "o200k_base"),
        (OLLAMA, "ollama/qwen3:8b", 4_096, "o200k_base"),
        (OLLAMA, "ollama/my-own", 4_096, "o200k_base"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_is_known_by_the_longest_prefix_of_its_last_name(
    server: OpenAIServer, model: str, window: int, encoding: str
) -> None:
    assert known_card(server, model) == ModelCard(model, window, encoding)


def test_the_configuration_knows_better() -> None:
    own = ModelCard("", 65_536, "cl100k_base", price_in=1.5)
    server = OpenAIServer("ollama", "http://127.0.0.1:11434/v1", cards={"qwen3": own})
    assert card_of(server, "ollama/qwen3") == ModelCard("ollama/qwen3", 65_536, "cl100k_base", price_in=1.5)
    assert card_of(server, "ollama/qwen3:8b").context_tokens == 4_096
