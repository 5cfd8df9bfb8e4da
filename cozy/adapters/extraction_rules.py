"""What a user's words state about them, found by rules: for models that extract nothing themselves.

Words are cut into sentences and clauses; a clause states something where it has, as a whole, one of the forms
that `statements_english.py` and `statements_chinese.py` know. Questions, suppositions, quotations, code and
what is said of others state nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from cozy.adapters.statements import Statement
from cozy.adapters.statements_chinese import CHINESE
from cozy.adapters.statements_english import ENGLISH

LONGEST_NOTE = 300
"""Characters of what a user asked to remember."""
LONGEST_CLAUSE = 200
_READ = 8000
"""Characters of a message that are read."""

_NOT_OWN_WORDS = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|^[ \t]*>.*$", re.DOTALL | re.MULTILINE
)
_QUOTED = re.compile(r"“([^“”]*)”|「([^「」]*)」|『([^『』]*)』|\"([^\"\n]*)\"")
_OF_ONESELF = re.compile(r"\b(?:I|I'm|my|me)\b|我", re.IGNORECASE)
_SENTENCE = re.compile(r"([^。！？!?\n]+?)(?:[。！!]+|([?？]+)|\.(?=\s|$)|\n|$)")

_HAN = re.compile(r"[\u3400-\u9fff]")
_CUT_CHINESE = re.compile(r"[,，;；:：]|\s+(?=我)|(?<=.)(?:而且|另外|并且|但是?|所以|因为)(?=我)")
_HEAD = (
    r"(?:I|I'm|I've|my|you|your|he|she|it|we|they|his|her|our|their|there|this|that|what|where|when|who|how|why"
    r"|which|can|could|do|does|did|is|are|will|would|should|please|right)\b"
)
_CUT_ENGLISH = re.compile(
    rf"[;:]\s+|\s+-+\s+|,\s*(?=(?:(?:and|but|so|because|though|also)\s+)?{_HEAD})"
    rf"|\s+(?=(?:and|but|so|because|although|while)\s+{_HEAD})"
    r"|,?\s+and\s+(?=(?:live|work|like|love|hate|enjoy|am|was|don't|do not)\b)",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?:hi|hello|hey|well|so|and|but|also|oh|ok|okay|yes|yeah|no|actually|by the way|btw|because|though"
    r"|although|thanks|thank you|just so you know|fyi|for the record|to be honest|honestly|nice to meet you"
    r"|there)"
    r"\b[\s,!.]*"
    r"|(?:你好|您好|嗨|哈喽|其实|对了|而且|另外|还有|但是?|不过|所以|因为|然后|顺便说一下|是的|嗯|哦|说实话|告诉你|同时)"
    r"+[\s,]*",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"(?:what|who|whom|whose|where|when|why|how|which|do|does|did|am|is|are|was|were|can|could|would|should|shall|will"
    r"|have|has|may|might|tell me|guess)\b",
    re.IGNORECASE,
)
_ASKS_WITHIN = re.compile(
    r"\b(?:what|who|whose|where|why|how|which)\b|什么|谁|哪|几岁|几号|多少|多大|怎么|怎样|为何|如何|吗|呢$|是不是|有没有|是否|还是"
    r"|(.)不\1|对不对|好不好",
    re.IGNORECASE,
)
# after these nothing in a sentence is meant, or it is not the user who says it
_NOT_MEANT = re.compile(
    r"\b(?:if|suppose|supposing|imagine|pretend|assum(?:e|ing)|let's say|would|wish|hypothetically"
    r"|for example|for instance|e\.g|role-?play|act as|not true|joking|kidding|translate"
    r"|(?:he|she|they|who|someone|somebody|friend|wife|husband|mother|father|boss|teacher|character|people)"
    r" (?:says?|said|told|thinks?|thought|claims?|asks?|asked|wrote))\b"
    r"|如果|假如|要是|假设|假装|扮演|比如|例如|譬如|想象|倘若|若是|万一|的话|可能|也许|希望|据说|听说|开玩笑|翻译|造句"
    r"|[他她]们?(?:跟我|对我|告诉我)?[说讲问]"
    r"|(?:朋友|妈妈?|爸爸?|老师|老板|有人|别人|同事)(?:跟我|对我|告诉我)?[说讲问]",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"(?:right|correct|no|yes|isn't it|don't i|do i|am i|aren't i"
    r"|对吗|对吧|是吗|是吧|对不对|是不是|不是吗|没错吧)",
    re.IGNORECASE,
)
_REMEMBER = re.compile(
    r"(?:(?:please|also|and|so|just|hey|can you|could you|you should|you must|i want you to)[ ,]+)*"
    r"(?:remember|keep in mind|make a note|note|don't forget|do not forget)(?: (?:that|this))?"
    r" ?[,:]? (?P<en>.+)"
    r"|(?:请|麻烦|你|您|要|帮我|一定|也|千万)*"
    r"(?:记住|记得|记一下|记下来?|别忘记?了?|不要忘记?了?|牢记)了? ?[,:]? ?(?P<zh>.+)",
    re.IGNORECASE,
)
_NOTHING_TO_REMEMBER = re.compile(
    r"(?:me|it|this|that|when|what|who|where|how|why|which|if|us|them|him|her|you)\b.{0,20}|[我你他她它这那].?|了|哦|吧",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Stated:
    """What somebody's words state, in order, nothing twice."""

    statements: list[Statement] = field(default_factory=list[Statement])
    notes: list[str] = field(default_factory=list[str])
    """Sentences about what they asked to have remembered, which has no place in a profile."""

    def sentences(self) -> list[str]:
        return list(dict.fromkeys([*(statement.sentence for statement in self.statements), *self.notes]))


def stated(text: str) -> Stated:
    """What a message states about who wrote it."""
    found = Stated()
    for sentence, asks in _sentences(text):
        asked = None if asks else _REMEMBER.fullmatch(_without_filler(sentence))
        if asked:
            _take_note(asked["en"] or asked["zh"], "en" if asked["en"] else "zh", found)
        else:
            found.statements += _statements(sentence, asks=asks)
    found.statements = list(dict.fromkeys(found.statements))
    return found


def _take_note(text: str, language: str, found: Stated) -> None:
    text = " ".join(text.split())
    statements = _statements(text, asks=False)
    if statements:
        found.statements += statements
    elif (
        len(text) <= LONGEST_NOTE
        and not _NOTHING_TO_REMEMBER.fullmatch(text)
        and not _ASKS_WITHIN.search(text)
    ):
        found.notes.append(
            f"The user asked to remember: {text}" if language == "en" else f"用户让记住：{text}"
        )


def _sentences(text: str) -> Iterator[tuple[str, bool]]:
    """Each sentence without what is not its writer's own, and whether it is a question."""
    text = unicodedata.normalize("NFKC", text[:_READ]).replace("’", "'").replace("‘", "'")
    text = _QUOTED.sub(_unquoted, _NOT_OWN_WORDS.sub("\n", text))
    for match in _SENTENCE.finditer(text):
        sentence = " ".join(match[1].split())
        if sentence:
            yield sentence, match[2] is not None


def _unquoted(match: re.Match[str]) -> str:
    """The mark of a title or a name goes, a quotation of somebody who speaks goes as a whole."""
    words = match[match.lastindex or 0]
    return " " if _OF_ONESELF.search(words) else words


def _statements(sentence: str, *, asks: bool) -> list[Statement]:
    chinese = bool(_HAN.search(sentence))
    clauses = [
        part.strip(" ,，、-~…*_#.") for part in (_CUT_CHINESE if chinese else _CUT_ENGLISH).split(sentence)
    ]
    clauses = [clause for clause in clauses if clause]
    if asks and clauses:
        *clauses, last = clauses
        # `I live in Rome, or in Milan?` asks as a whole; `I live in Rome, where can I eat?` states first
        if _TAG.fullmatch(last) or not (_ASKS_WITHIN.search(last) or _ASKS.match(_without_filler(last))):
            return []
    found: list[Statement] = []
    goes_on = False
    for place, clause in enumerate(clauses):
        if _NOT_MEANT.search(clause):
            break
        here = _read(_without_filler(clause), chinese, goes_on=goes_on, first=not place)
        goes_on = bool(here)
        found += here
    return found


def _read(clause: str, chinese: bool, *, goes_on: bool, first: bool) -> list[Statement]:
    """A clause's statements; one that goes on from another about the user need not name them again."""
    if len(clause) > LONGEST_CLAUSE or _ASKS_WITHIN.search(clause):
        return []
    forms = [clause]
    if chinese:
        if goes_on or (first and clause.startswith("今年")):
            forms.append(f"我{clause}")
    elif goes_on:
        forms.append(f"I {clause}")
    for form in forms:
        for rule in (*CHINESE, *ENGLISH) if chinese else ENGLISH:
            if statements := rule.read(form):
                return statements
    return []


def _without_filler(clause: str) -> str:
    while (filler := _FILLER.match(clause)) and filler.end():
        clause = clause[filler.end() :]
    return clause.strip()
