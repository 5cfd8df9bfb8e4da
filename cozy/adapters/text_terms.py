"""Text taken apart into the terms that it is searched by, in English, Chinese and their neighbours.

Words of spaced scripts are folded (NFKC, case) and lightly stemmed. Chinese, Japanese, Korean and Thai
text, which has no spaces to cut at, becomes overlapping pairs of characters, and single ones beside them:
`血压计` is 血压, 压计, 血, 压, 计, and so is `血壓計`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from cozy.traditional import simplified
from cozy.writing import UNSPACED, folded

WEAK = 0.3
"""Weight of a single character that is part of a longer run: it helps, its pairs decide."""
QUERY_CHARACTERS = 4000
QUERY_TERMS = 64
_TERM_CHARACTERS = 64

_LETTER = rf"[^\W_{UNSPACED}]"
# combining marks that belong to the word they stand in: European, Hebrew, Arabic, Indian scripts
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0962\u0963\u0980-\u0dff"
_PIECE = re.compile(
    rf"(?P<run>[{UNSPACED}]+)"
    rf"|(?P<number>(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)*)(?!{_LETTER})"
    rf"|(?P<word>{_LETTER}+(?:[{_MARKS}]+{_LETTER}*)*)"
)
# what a question is made of, and not about; before stemming
_WORDS = """
a about after again all also am an and any anybody anyone anything are aren as at be because been before
being but by can cannot could couldn d did didn do does doesn doing don down each either else ever every
few for from further get gets give given go got had hadn has hasn have haven having he hello help her here
hers herself hey hi him himself his how however i if in into is isn it its itself just know let like ll
m many may maybe me might more most much must my myself need neither no nor not now of off oh ok okay on
once one only onto or other ought our ours ourselves out over own please re s same say shall she should
shouldn show so some somebody someone something such t tell than thank thanks that the their theirs them
themselves then there these they thing things think this those though through to too under until up upon
us use used using ve very via want was wasn we well were weren what whatever when where whether which
while who whoever whom whose why will with within without won would wouldn yes yet you your yours
yourself yourselves
"""
# where these stand a question is cut: what is left between them is what it is about
_CUTS = """
多少 如何 为何 可以 能否 能不 不能 应该 需要 请问 告诉 一下 一个 一种 自己 大家 因为 所以 如果 虽然 而且 或者
以及 关于 对于 时候 没有 有没 知道 想要 谢谢 还有 有关 为什么 什麼 怎麼 办法
です ます から まで する した して いる ある この その あの どの これ それ あれ どれ なに ですか ますか ですが
的 了 吗 呢 吧 啊 呀 哦 嗯 么 什 谁 哪 怎 这 那 我 你 您 他 她 它 们 很 是
"""
_STOP_WORDS = frozenset(_WORDS.split())
_CUT = re.compile("|".join(sorted(_CUTS.split(), key=len, reverse=True)))
_STOP_CHARACTERS = frozenset(
    "着过在有和与及或而但也都就还又太更最被把让给对从到向为以于因所其此每各某几多少如何不没无非别可能会要想该应得地之"
    "个些种样次一二三两上下中里外前后时候说做去来用请问好办否帮叫人大小天年月日出生成自知道看见起当再只才已经点面事情"
    "はがのをにへとでもやかねよなだすたてしいるうれあこそどさんっー이가은는을를의에도로와과"
)


def index_terms(text: str) -> list[str]:
    """Every term of `text`, in order and as often as it occurs; what an index keeps."""
    terms: list[str] = []
    for kind, piece in _pieces(text):
        if kind == "run":
            terms += map("".join, pairwise(piece))
            terms += piece
        else:
            terms.append(piece)
    return terms


def query_terms(text: str) -> dict[str, float]:
    """What to look for when `text` is asked, and how much each term weighs, at most 1.

    Words that any question contains are left out; of a very long text its beginning and its end count.
    Empty where nothing is left.
    """
    if len(text) > 2 * QUERY_CHARACTERS:
        text = f"{text[:QUERY_CHARACTERS]} {text[-QUERY_CHARACTERS:]}"
    strong: dict[str, None] = {}
    weak: dict[str, None] = {}
    for kind, piece in _pieces(text):
        if kind != "run":
            strong |= dict.fromkeys({piece} - _stemmed_stop_words())
            continue
        for part in filter(None, _CUT.split(piece)):
            singles = dict.fromkeys(character for character in part if character not in _STOP_CHARACTERS)
            if len(part) == 1:
                strong |= singles
            else:
                weak |= singles
                strong |= dict.fromkeys(map("".join, pairwise(part)))
    terms = list(strong)
    if len(terms) > QUERY_TERMS:
        terms = terms[: QUERY_TERMS // 2] + terms[-QUERY_TERMS // 2 :]
    rest = [character for character in weak if character not in strong][: QUERY_TERMS - len(terms)]
    return dict.fromkeys(terms, 1.0) | dict.fromkeys(rest, WEAK)


def rarity(total: int, holding: int) -> float:
    """How much a term tells that `holding` of `total` texts contain: BM25's idf, never below zero."""
    return math.log1p((total - holding + 0.5) / (holding + 0.5))


def rank(query: Mapping[str, float], texts: Sequence[Collection[str]]) -> list[float]:
    """How well each text, given as its terms, fits the query: the share of the query's weight it holds.

    From 0 (nothing) to 1 (all of it). A text that only holds weak terms counts where none holds a better one.
    """
    held = [query.keys() & text for text in texts]
    counts = dict.fromkeys(query, 0)
    for terms in held:
        for term in terms:
            counts[term] += 1
    weights = {term: weight * rarity(len(texts), counts[term]) for term, weight in query.items()}
    whole = sum(weights.values())
    chosen = selecting(query, counts)
    return [sum(weights[term] for term in sorted(terms)) / whole if terms & chosen else 0.0 for terms in held]


def selecting(query: Mapping[str, float], counts: Mapping[str, int]) -> set[str]:
    """The terms that find a text: the strong ones that occur, or the weak ones where no strong one does."""
    known = {term for term in query if counts.get(term)}
    return {term for term in known if query[term] > WEAK} or known


def _pieces(text: str) -> list[tuple[str, str]]:
    """(`run`, characters) of unspaced scripts, (`word`, stem), (`number`, digits); in order."""
    pieces: list[tuple[str, str]] = []
    for match in _PIECE.finditer(simplified(folded(text))):
        kind, piece = match.lastgroup or "", match.group()
        if kind == "word":
            piece = _stem(piece[:_TERM_CHARACTERS])
        elif kind == "number":
            piece = piece.replace(",", "")[:_TERM_CHARACTERS].rstrip(".")
        pieces.append((kind, piece))
    return pieces


@lru_cache(maxsize=1)
def _stemmed_stop_words() -> frozenset[str]:
    return frozenset(map(_stem, _STOP_WORDS))


def _stem(word: str) -> str:
    """`word` without its English ending, so that install, installs, installed and installing are one.

    What comes out need not be a word: it is only ever compared with what else came out.
    """
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and any(vowel in stem for vowel in "aeiouy"):
            doubled = stem[-1] == stem[-2] and stem[-1] not in "aeiouflsz"
            word = stem[:-1] if doubled else stem
            break
    return word.removesuffix("e") if len(word) > 3 else word
