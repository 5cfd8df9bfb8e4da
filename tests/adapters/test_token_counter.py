from __future__ import annotations

import socket
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.adapters.encoding_files import EncodingFiles
from cozy.adapters.token_counter import (
    LEAST,
    MARGIN,
    MOST,
    SAMPLED_FROM,
    EstimatingTokens,
    TikTokenCounter,
    encoding_of,
)
from cozy.adapters.token_estimate import WEIGHTS, estimated_tokens
from cozy.ports import TokenCounter
from cozy.usage import Usage

GPT, OLD_GPT, QWEN = "openai/gpt-4.1-mini", "openai/gpt-4-turbo", "ollama/qwen3"


class SmallFiles(EncodingFiles):
    """A real, tiny vocabulary in place of the file: each byte is a token, and so are `ha` and `嗯`."""

    loads = 0

    def load(self, encoding: str) -> tiktoken.Encoding | None:
        self.loads += 1
        if encoding != "o200k_base":
            return None
        ranks = {bytes([b]): b for b in range(256)} | {b"ha": 256, "嗯".encode()[:2]: 257, "嗯".encode(): 258}
        return tiktoken.Encoding(
            encoding, pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|end|>": 300}
        )


def usage(prompt_tokens: int) -> Usage:
    return Usage(prompt_tokens=prompt_tokens)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("openai/gpt-4o", "o200k_base"),
        ("openai/gpt-4o-mini-2024-07-18", "o200k_base"),
        ("openai/chatgpt-4o-latest", "o200k_base"),
        ("openai/gpt-4.1-mini", "o200k_base"),
        ("openai/gpt-4.5-preview", "o200k_base"),
        ("openai/gpt-5", "o200k_base"),
        ("openai/gpt-6-turbo", "o200k_base"),
        ("openai/o1", "o200k_base"),
        ("openai/o3-mini", "o200k_base"),
        ("ollama/gpt-oss:20b", "o200k_base"),
        ("openai/ft:gpt-4o:org::id", "o200k_base"),
        ("openrouter/openai/GPT-4o", "o200k_base"),
        ("openai/gpt-4", "cl100k_base"),
        ("openai/gpt-4-turbo", "cl100k_base"),
        ("openai/gpt-4-32k", "cl100k_base"),
        ("openai/gpt-3.5-turbo", "cl100k_base"),
        ("azure/gpt-35-turbo", "cl100k_base"),
        ("ollama/qwen3", None),
        ("deepseek/deepseek-chat", None),
        ("vllm/EleutherAI/gpt-neox-20b", None),
        ("ollama/olmo", None),
        ("demo/demo", None),
        ("", None),
    ],
)
def test_the_name_tells_the_vocabulary(model: str, encoding: str | None) -> None:
    assert encoding_of(model) == encoding


async def test_a_loaded_encoding_counts_exactly(tmp_path: Path) -> None:
    counter: TokenCounter = (exact := TikTokenCounter(SmallFiles(tmp_path)))
    await exact.load(GPT)
    assert exact.is_exact(GPT)
    assert [counter.count(text, GPT) for text in ("", "haha", "hah", "嗯嗯", "<|end|>")] == [0, 2, 2, 2, 7]


async def test_other_models_are_estimated_beside_it(tmp_path: Path) -> None:
    counter, estimates = TikTokenCounter(SmallFiles(tmp_path)), EstimatingTokens()
    await counter.load(GPT, OLD_GPT, QWEN)
    for model in (OLD_GPT, QWEN):
        assert not counter.is_exact(model)
        assert counter.count("今天天气怎么样？", model) == estimates.count("今天天气怎么样？", model)


async def test_an_encoding_is_loaded_once(tmp_path: Path) -> None:
    counter = TikTokenCounter(files := SmallFiles(tmp_path))
    await counter.load(GPT, "openai/gpt-5")
    await counter.load(GPT)
    await counter.load(QWEN)
    assert files.loads == 1


async def test_without_a_file_it_estimates_and_never_reaches_for_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("something reached for the network")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    counter = TikTokenCounter(EncodingFiles(tmp_path / "data", {}))
    await counter.load(GPT, OLD_GPT)
    assert not counter.is_exact(GPT)
    assert counter.count("hello", GPT) == EstimatingTokens().count("hello", GPT)


async def test_the_configuration_may_name_a_model_s_encoding(tmp_path: Path) -> None:
    encodings = {"azure/prod": "o200k_base", GPT: "cl100k_base", QWEN: "p50k_base"}
    counter = TikTokenCounter(SmallFiles(tmp_path), encodings)
    await counter.load("azure/prod")
    assert counter.count("haha", "azure/prod") == 2
    assert not counter.is_exact(GPT)
    text = "今天天气怎么样？"
    assert counter.count(text, GPT) == EstimatingTokens().count(text, OLD_GPT)
    assert counter.count(text, QWEN) == EstimatingTokens().count(text, "ollama/llama3")


@pytest.mark.parametrize(("model", "encoding"), [(QWEN, "o200k_base"), (OLD_GPT, "cl100k_base")])
def test_an_estimate_has_a_margin_on_top(model: str, encoding: str) -> None:
    text = "今天天气怎么样？我想去公园散步。"
    expected = ceil(estimated_tokens(text, WEIGHTS[encoding]) * MARGIN)
    assert EstimatingTokens().count(text, model) == expected


@pytest.mark.parametrize("true_ratio", [0.75, 1.0, 1.3])
def test_estimates_approach_what_the_server_counts(true_ratio: float) -> None:
    counter = EstimatingTokens()
    prompt = "今天天气怎么样？我想去公园散步，顺便买点水果。" * 40
    true = round(estimated_tokens(prompt, WEIGHTS["o200k_base"]) * true_ratio)
    for _ in range(30):
        counter.learn(QWEN, counter.count(prompt, QWEN), usage(true))
    assert counter.count(prompt, QWEN) == pytest.approx(true * MARGIN, rel=0.01)
    assert counter.count(prompt, "ollama/llama3") == EstimatingTokens().count(prompt, "ollama/llama3")


@pytest.mark.parametrize(("server", "bound"), [(10, LEAST), (10**6, MOST)])
def test_a_correction_stays_within_bounds(server: int, bound: float) -> None:
    counter = EstimatingTokens()
    prompt = "hello world, " * 300
    for _ in range(100):
        counter.learn(QWEN, counter.count(prompt, QWEN), usage(server))
    plain = estimated_tokens(prompt, WEIGHTS["o200k_base"])
    assert counter.count(prompt, QWEN) == pytest.approx(plain * bound * MARGIN, rel=0.01)


def test_a_short_prompt_teaches_less_than_a_long_one() -> None:
    short, long = EstimatingTokens(), EstimatingTokens()
    short.learn(QWEN, 10, usage(40))
    long.learn(QWEN, 1000, usage(4000))
    text = "hello world, " * 100
    assert EstimatingTokens().count(text, QWEN) <= short.count(text, QWEN) < long.count(text, QWEN)


@pytest.mark.parametrize(("estimated", "server"), [(0, 100), (100, 0), (-1, 5)])
def test_a_server_that_did_not_count_teaches_nothing(estimated: int, server: int) -> None:
    counter = EstimatingTokens()
    counter.learn(QWEN, estimated, usage(server))
    assert counter.count("hello world", QWEN) == EstimatingTokens().count("hello world", QWEN)


async def test_an_exact_count_is_never_corrected(tmp_path: Path) -> None:
    counter = TikTokenCounter(SmallFiles(tmp_path))
    await counter.load(GPT)
    counter.learn(GPT, 1000, usage(1500))
    assert counter.count("haha", GPT) == 2
    before = counter.count("hello world " * 50, QWEN)
    counter.learn(QWEN, 1000, usage(1500))
    assert counter.count("hello world " * 50, QWEN) > before


HOSTILE = ["", "\0", "\ud83d", "<|endoftext|>", "😀" * 40_000, "哈" * 100_000, " " * 200_000, "a" * 10**6]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:13]))
async def test_hostile_texts_are_counted_within_their_bytes(text: str, tmp_path: Path) -> None:
    counter = TikTokenCounter(SmallFiles(tmp_path))
    await counter.load(GPT)
    for model in (GPT, OLD_GPT, QWEN):
        assert bool(text) <= counter.count(text, model) <= len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("model", [OLD_GPT, QWEN])
@example("\ud800")
@example("!" * 50)
@given(st.text())
def test_an_estimate_is_between_one_and_the_bytes(model: str, text: str) -> None:
    counter = EstimatingTokens()
    for _ in range(3):
        counter.learn(model, 1000, usage(5000))
    assert bool(text) <= counter.count(text, model) <= len(text.encode("utf-8", "surrogatepass"))


async def test_a_very_long_text_is_sampled_on_the_high_side(tmp_path: Path) -> None:
    counter = TikTokenCounter(SmallFiles(tmp_path))
    await counter.load(GPT)
    long = "ha 嗯 " * SAMPLED_FROM
    true = 4 * SAMPLED_FROM
    assert true <= counter.count(long, GPT) <= 1.1 * true
    estimated, whole = counter.count(long, QWEN), estimated_tokens(long, WEIGHTS["o200k_base"]) * MARGIN
    assert whole <= estimated <= 1.1 * whole


async def test_what_was_counted_lately_is_not_counted_again(tmp_path: Path) -> None:
    counted: list[str] = []

    class Counting:
        def __init__(self, real: tiktoken.Encoding) -> None:
            self.real = real

        def encode_ordinary(self, text: str) -> list[int]:
            counted.append(text)
            return self.real.encode_ordinary(text)

    class Watched(SmallFiles):
        def load(self, encoding: str) -> Any:
            real = super().load(encoding)
            assert real is not None

            return Counting(real)

    counter = TikTokenCounter(Watched(tmp_path))
    await counter.load(GPT)
    history = [f"第{i}句" for i in range(20)]
    for _ in range(5):
        for text in history:
            counter.count("".join(text), GPT)
    assert counted == history

    # far more texts than are remembered: what is met again and again stays, the others go
    for i in range(20_000):
        counter.count(f"new {i}", GPT)
        counter.count(history[0], GPT)
    assert counted.count(history[0]) == 1
    counter.count(history[1], GPT)
    assert counted.count(history[1]) == 2
