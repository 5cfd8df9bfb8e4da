"""What a prompt brings beside the user's words, read back out of its text: facts and passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cozy.adapters.extraction_rules import latest, matters, stated
from cozy.adapters.text_terms import index_terms, query_terms

MIN_SCORE = 0.25
"""Share of a question's weight that a passage must hold to be quoted."""
QUOTED_CHARS = 400

_BLOCK = re.compile(r"\A<context>\n(?P<context>.*?)\n</context>\n\n(?P<words>.*)\Z", re.DOTALL)
_HEADING = re.compile(r"[^-\n].{0,60}[:：]\s*")
_DOCUMENTS = re.compile(r"document|knowledge|source|reference|资料|文档|知识|文件|参考", re.IGNORECASE)
_SOURCED = re.compile(r"(?P<text>.+?)\s*[(（](?P<source>[^()（）\n]+)[)）]\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known of the user: `kind` as profiles name it, or empty for a sentence."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Brought:
    """A user's message taken apart."""

    words: str
    facts: tuple[Fact, ...] = ()
    passages: tuple[Quote, ...] = ()


def brought(content: str) -> Brought:
    """The user's own words, and what the context before them tells."""
    match = _BLOCK.match(content)
    if match is None:
        return Brought(content.strip())
    facts: list[Fact] = []
    passages: list[Quote] = []
    for heading, items in _sections(match["context"]):
        for item in items:
            if not _DOCUMENTS.search(heading):
                facts.append(_fact(item))
            elif sourced := _SOURCED.fullmatch(item):
                passages.append(Quote(sourced["text"], sourced["source"]))
    return Brought(match["words"].strip(), tuple(facts), tuple(passages))


def told(said: Sequence[str]) -> list[Fact]:
    """What the user's messages, the latest first, state about them; the latest first."""
    return [fact for words in said for fact in said_of_oneself(words)]


def said_of_oneself(words: str) -> list[Fact]:
    """What a message states about who wrote it, the last of each matter, and what it asks to remember."""
    found = stated(words)
    facts = (
        Fact(one.sub_topic, one.content if one.topic == "basic_info" else one.sentence)
        for one in latest(found.statements).values()
    )
    return [*facts, *(Fact("", note) for note in found.notes)]


def distinct(facts: Iterable[Fact]) -> list[Fact]:
    """The first fact of each matter: what is known from the profile is known from memory too."""
    kept: list[Fact] = []
    seen: set[str] = set()
    for fact in facts:
        about = _about(fact)
        if seen.isdisjoint(about):
            kept.append(fact)
        seen |= about
    return kept


def _about(fact: Fact) -> set[str]:
    if not fact.kind:
        return {_allergy(sub) if topic == "health" else sub for topic, sub in matters(fact.text)} or {
            fact.text
        }
    return {_allergy(fact.kind) if re.search("allerg|过敏", fact.text) else fact.kind}


def _allergy(thing: str) -> str:
    return f"allergic to {thing}"  # whoever likes nuts may be allergic to them


def best_passage(question: str, passages: Sequence[Quote]) -> Quote | None:
    """The passage that shares most with the question; None where none shares enough."""
    scores = [shared(question, f"{passage.text} {passage.source}") for passage in passages]
    if not scores or max(scores) < MIN_SCORE:
        return None
    passage = passages[scores.index(max(scores))]
    text = " ".join(passage.text.split())
    return Quote(text if len(text) <= QUOTED_CHARS else text[: QUOTED_CHARS - 1] + "…", passage.source)


def shared(question: str, text: str) -> float:
    """How much of what the question is about stands in the text, from 0 to 1."""
    query = query_terms(question)
    held = query.keys() & set(index_terms(text))
    return sum(query[term] for term in held) / sum(query.values()) if held else 0.0


def _sections(context: str) -> list[tuple[str, list[str]]]:
    """Headings, and the items beneath each: a line with `- ` begins one, other lines go on with it."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in context.splitlines():
        heading, items = sections[-1]
        inside = bool(items) and _DOCUMENTS.search(heading) and not _SOURCED.fullmatch(items[-1])
        if _HEADING.fullmatch(line) and not inside:
            sections.append((line.strip(" :："), []))
        elif line.startswith("- ") and not inside:
            items.append(line[2:].strip())
        elif inside:
            items[-1] += f"\n{line}"
        elif line.strip():
            items.append(line.strip())
    return sections


def _fact(line: str) -> Fact:
    """`name: Ada` is a profile's fact; anything else a sentence."""
    kind, colon, content = line.partition(": ")
    if colon and content.strip() and re.fullmatch(r"(?!the user|用户)[^:：。]{1,60}", kind, re.IGNORECASE):
        return Fact(kind.strip().casefold(), content.strip())
    return Fact("", line)
