"""How many tokens a text is, without the vocabulary: from the kinds of runs it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping

# A run of one kind costs a part for being there and a part for each character (for the last kind, each byte
# of UTF-8). Fitted by quantile regression to tiktoken's counts of prose, chat, code and JSON in English,
# German, Russian, Chinese and Japanese; Hangul, Arabic, Indic and Thai are guesses on the high side. Over
# twenty messages at once the error lies between -6 % and +34 % for o200k_base, median +13 %.
# kind: pattern, (start, per character) in o200k_base, the same in cl100k_base
_KINDS = (
    (r"[A-Za-z]+", (0.40, 0.18), (0.30, 0.18)),  # words
    (r"[0-9]+", (0.35, 0.34), (0.35, 0.34)),
    (r"[\r\n\t]{1,16}", (1.00, 0.00), (1.00, 0.00)),
    (r"[\u3400-\u9fff\uf900-\ufaff]+", (0.60, 0.88), (0.60, 1.30)),  # Han
    (r"[\u3040-\u30ff]+", (0.15, 0.70), (0.00, 1.00)),  # kana
    (r"[\uac00-\ud7af]+", (0.30, 0.75), (0.30, 1.20)),  # Hangul
    (
        r"[\u3000-\u303f\uff00-\uff65\u2018-\u201f\u2026\u2014\u00b7]+",
        (0.10, 0.45),
        (0.30, 0.60),
    ),  # CJK punctuation
    (r"[\u00c0-\u024f\u0370-\u052f]+", (0.70, 0.25), (0.80, 0.50)),  # accented Latin, Greek, Cyrillic
    (r"[\u0590-\u1fff]+", (0.60, 0.50), (0.60, 0.90)),  # Hebrew, Arabic, Indic, Thai and their neighbours
    (r"[!-/:-@\[-`{-~]+", (0.90, 0.15), (0.90, 0.20)),  # ASCII punctuation
    (r" +", (0.00, 0.02), (0.10, 0.02)),
    (r".", (0.00, 0.50), (0.00, 0.71)),  # everything else, emoji among it
)
_RUNS = re.compile("|".join(f"({pattern})" for pattern, _, _ in _KINDS), re.DOTALL)
_OTHER = len(_KINDS)

Weights = tuple[tuple[float, float], ...]
WEIGHTS: Mapping[str, Weights] = {
    "o200k_base": tuple(o200k for _, o200k, _ in _KINDS),
    "cl100k_base": tuple(cl100k for _, _, cl100k in _KINDS),
}


def estimated_tokens(text: str, weights: Weights) -> float:
    """About how many tokens; 0 for no text. Takes 3 µs for a short message, under 1 ms for 1000 tokens."""
    tokens = 0.0
    for run in _RUNS.finditer(text):
        kind = run.lastindex or _OTHER
        start, each = weights[kind - 1]
        tokens += start + each * (utf8_bytes(run[0]) if kind == _OTHER else run.end() - run.start())
    return tokens


def utf8_bytes(text: str) -> int:
    """What no byte-level vocabulary needs more tokens than; a lone surrogate is three bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
