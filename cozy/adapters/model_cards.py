"""What is known of well-known models: their windows and vocabularies.

Windows are the makers' published ones, as of 2026. Prices change too often to stand here; they come from the
configuration.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from cozy.adapters.model_servers import OpenAIServer
from cozy.ports.llm import ModelCard

T = TypeVar("T")

UNKNOWN_CONTEXT_TOKENS = 8192
"""For models nobody has heard of: a prompt that fits this fits nearly everywhere."""

# Prefix of the model's last name (`llama3.1:8b`, `meta-llama/Llama-3.1-8B`) → window; the longest one counts
_WINDOWS: dict[str, int] = {
    # OpenAI
    "gpt-3.5": 16_385,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "chatgpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.5": 128_000,
    "gpt-5": 400_000,
    "gpt-5-chat": 128_000,
    "gpt-oss": 131_072,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4": 200_000,
    "codex-mini": 200_000,
    # DeepSeek
    "deepseek": 65_536,
    "deepseek-chat": 131_072,
    "deepseek-reasoner": 131_072,
    "deepseek-v3": 131_072,
    "deepseek-r1": 131_072,
    "deepseek-coder": 16_384,
    # Alibaba
    "qwen": 32_768,
    "qwen2.5": 32_768,
    "qwen3": 32_768,
    "qwen3-coder": 262_144,
    "qwen-max": 32_768,
    "qwen-plus": 131_072,
    "qwen-turbo": 131_072,
    "qwen-long": 1_000_000,
    "qwq": 131_072,
    # Meta
    "llama-2": 4_096,
    "llama2": 4_096,
    "llama-3": 8_192,
    "llama3": 8_192,
    "llama-3.1": 131_072,
    "llama3.1": 131_072,
    "llama-3.2": 131_072,
    "llama3.2": 131_072,
    "llama-3.3": 131_072,
    "llama3.3": 131_072,
    "llama-4": 131_072,
    "llama4": 131_072,
    "meta-llama-3": 8_192,
    "meta-llama-3.1": 131_072,
    # Mistral
    "mistral": 32_768,
    "mistral-large": 131_072,
    "mistral-medium": 131_072,
    "mistral-small": 32_768,
    "mistral-nemo": 131_072,
    "mixtral": 32_768,
    "ministral": 131_072,
    "codestral": 32_768,
    "devstral": 131_072,
    "magistral": 40_960,
    # others
    "gemma": 8_192,
    "gemma-3": 131_072,
    "gemma3": 131_072,
    "gemini": 1_048_576,
    "phi-3": 4_096,
    "phi3": 4_096,
    "phi-4": 16_384,
    "phi4": 16_384,
    "glm-4": 131_072,
    "glm-4.5": 131_072,
    "glm-4.6": 200_000,
    "kimi": 131_072,
    "kimi-k2": 131_072,
    "moonshot-v1-8k": 8_192,
    "moonshot-v1-32k": 32_768,
    "moonshot-v1-128k": 131_072,
    "claude": 200_000,
    "grok": 131_072,
    "command-r": 131_072,
    "yi": 4_096,
    "internlm": 32_768,
    "baichuan": 4_096,
    "minimax": 245_760,
    "hunyuan": 32_768,
    "doubao": 32_768,
    "ernie": 8_192,
}

# The vocabularies that are not o200k_base; for foreign models o200k_base is the nearest there is
_ENCODINGS: dict[str, str] = {"gpt-3.5": "cl100k_base", "gpt-4": "cl100k_base"}
_O200K = ("gpt-4o", "gpt-4.1", "gpt-4.5")


def card_of(server: OpenAIServer, model: str) -> ModelCard:
    """The card of `provider/name`: the configuration's own, else what is known of it."""
    own = server.cards.get(model.partition("/")[2])
    return known_card(server, model) if own is None else replace(own, name=model)


def known_card(server: OpenAIServer, model: str) -> ModelCard:
    """What is known of `provider/name` without the configuration; a careful guess for an unknown one.

    A server that opens a smaller window than the model has, bounds it.
    """
    last = model.rpartition("/")[2].lower()
    window = _longest(_WINDOWS, last) or UNKNOWN_CONTEXT_TOKENS
    if server.can.context_cap is not None:
        window = min(window, server.can.context_cap)
    encoding = None if last.startswith(_O200K) else _longest(_ENCODINGS, last)
    return ModelCard(model, window, encoding or "o200k_base")


def _longest(table: dict[str, T], name: str) -> T | None:
    prefix = max((p for p in table if name.startswith(p)), key=len, default=None)
    return None if prefix is None else table[prefix]
