"""Token counts: exact where tiktoken's encoding file is on this machine, else estimated and corrected.

A turn counts some twenty texts that it has mostly counted before, so both counters remember what they
counted, by the text's hash; a hit costs well under a microsecond. A text above `SAMPLED_FROM` characters is
counted by sixteen samples of it and 5 % on top, so that no text holds up the event loop for long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import ceil
from typing import Generic, TypeVar

import anyio.to_thread

from cozy.adapters.encoding_files import ENCODINGS, EncodingFiles
from cozy.adapters.token_estimate import WEIGHTS, Weights, estimated_tokens, utf8_bytes
from cozy.usage import Usage

T = TypeVar("T")

SAMPLED_FROM = 32_768
_SAMPLES, _SAMPLE_LENGTH = 16, 1024
MARGIN = 1.05
"""On top of every estimate."""
LEAST, MOST = 0.7, 1.5
"""Bounds of a model's correction."""
_LEARNING_RATE = 0.25
_FULL_WEIGHT_FROM = 500
"""Tokens of a prompt; in a shorter one, what the server wraps around the messages counts for too much."""
_REMEMBERED = 4096
"""Texts of each generation: at least so many of the last ones met are remembered, at most twice as many."""

_CL100K = re.compile(r"gpt-(3\.?5|4)(?![.0-9o])")
_O200K = re.compile(r"gpt-(\d|oss)|chatgpt-|o[1-9](-|$)|codex-")


@lru_cache(maxsize=1024)
def encoding_of(model: str) -> str | None:
    """The encoding of `provider/name`; None for a model of another maker, whose vocabulary is its own."""
    name = model.rpartition("/")[2].lower().removeprefix("ft:")
    if _CL100K.match(name):
        return "cl100k_base"
    return "o200k_base" if _O200K.match(name) else None


class EstimatingTokens:
    """A TokenCounter that needs no file: o200k_base's habits for every model but those of cl100k_base.

    Each model's estimates are corrected by what its server counts, which takes out what is systematic: other
    makers' vocabularies, and what a server wraps around the messages.
    """

    def __init__(self, encodings: Mapping[str, str] | None = None) -> None:
        """`encodings` names the encodings of models, by `provider/name`, where the name does not tell."""
        self._encodings = encodings or {}
        self._corrections: dict[str, float] = {}
        self._counts: dict[str | None, _Remembered[tuple[float, int]]]
        self._counts = {name: _Remembered(_estimate(weights)) for name, weights in WEIGHTS.items()}
        self._usual = self._counts["o200k_base"]

    def count(self, text: str, model: str) -> int:
        name = self._encodings.get(model) or encoding_of(model)
        tokens, most = self._counts.get(name, self._usual)(text)
        return min(ceil(tokens * self._corrections.get(model, 1.0) * MARGIN), most)

    def learn(self, model: str, estimated: int, usage: Usage) -> None:
        if estimated <= 0 or usage.prompt_tokens <= 0:
            return
        before = self._corrections.get(model, 1.0)
        observed = min(max(usage.prompt_tokens / estimated * before * MARGIN, LEAST), MOST)
        rate = _LEARNING_RATE * min(estimated / _FULL_WEIGHT_FROM, 1.0)
        self._corrections[model] = before + rate * (observed - before)


class TikTokenCounter:
    """A TokenCounter that is exact for models whose encoding `load` has found, and estimates the others."""

    def __init__(self, files: EncodingFiles, encodings: Mapping[str, str] | None = None) -> None:
        """`encodings` as for EstimatingTokens."""
        self._files = files
        self._encodings = encodings or {}
        self._estimates = EstimatingTokens(encodings)
        self._exact: dict[str | None, _Remembered[int]] = {}

    async def load(self, *models: str) -> None:
        """Load the encodings of these models where their files are, in a thread; never downloads."""
        for name in {self._encodings.get(model) or encoding_of(model) for model in models}:
            if name in ENCODINGS and name not in self._exact:
                encoding = await anyio.to_thread.run_sync(self._files.load, name)
                if encoding is not None:
                    self._exact[name] = _Remembered(_exact(encoding.encode_ordinary))

    def is_exact(self, model: str) -> bool:
        return (self._encodings.get(model) or encoding_of(model)) in self._exact

    def count(self, text: str, model: str) -> int:
        exact = self._exact.get(self._encodings.get(model) or encoding_of(model))
        return self._estimates.count(text, model) if exact is None else exact(text)

    def learn(self, model: str, estimated: int, usage: Usage) -> None:
        if not self.is_exact(model):
            self._estimates.learn(model, estimated, usage)


class _Remembered(Generic[T]):
    """What a function gave for the texts met lately; the texts themselves are not kept, only their hashes.

    Two generations stand for an order of use: what is met again moves to the younger one, and the older one
    goes as a whole when the younger is full.
    """

    __slots__ = ("_count", "_older", "_younger")

    def __init__(self, count: Callable[[str], T]) -> None:
        self._count = count
        self._younger: dict[int, T] = {}
        self._older: dict[int, T] = {}

    def __call__(self, text: str) -> T:
        key = hash(text)
        found = self._younger.get(key)
        if found is None:
            found = self._older.get(key)
            if found is None:
                found = self._count(text)
            if len(self._younger) >= _REMEMBERED:
                self._older, self._younger = self._younger, {}
            self._younger[key] = found
        return found


def _estimate(weights: Weights) -> Callable[[str], tuple[float, int]]:
    """Estimated tokens, and the bound that no correction may lift them above."""

    def count(text: str) -> tuple[float, int]:
        return _sampled(text, lambda piece: estimated_tokens(piece, weights)), utf8_bytes(text)

    return count


def _exact(encode: Callable[[str], list[int]]) -> Callable[[str], int]:
    def count(text: str) -> int:
        return min(ceil(_sampled(text, lambda piece: len(encode(piece)))), utf8_bytes(text))

    return count


def _sampled(text: str, count: Callable[[str], float]) -> float:
    """The count of a text; of a very long one, that of samples spread over it, brought up to its length."""
    if len(text) <= SAMPLED_FROM:
        return count(text)
    step = (len(text) - _SAMPLE_LENGTH) / (_SAMPLES - 1)
    starts = (int(step * i) for i in range(_SAMPLES))
    sampled = sum(count(text[start : start + _SAMPLE_LENGTH]) for start in starts)
    return sampled * len(text) / (_SAMPLES * _SAMPLE_LENGTH) * MARGIN
