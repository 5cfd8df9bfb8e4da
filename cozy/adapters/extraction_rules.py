"""What a user's words state about them, found by rules: for models that extract nothing themselves.

Words are cut into sentences and clauses; a clause states something where it has, as a whole, one of the forms
that `statements_english.py` and `statements_chinese.py` know. Questions, suppositions, quotations, code and
what is said of others state nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from cozy.adapters.statements import Matter, Statement
from cozy.adapters.statements_chinese import CHINESE
from cozy.adapters.statements_english import ENGLISH
from cozy.traditional import simplified

Writing = Callable[[str], str]
"""From what a rule has found to how the user wrote it."""

NOTED_EN, NOTED_ZH = "The user asked to remember: ", "用户让记住："
"""How the sentence of memory begins that holds what a user asked to remember."""
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

_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U000323af]")
_CUT_CHINESE = re.compile(r"[,，;；:：]|\s+(?=我)|(?<=.)(?:而且|另外|并且|但是?|所以|因为)(?=我)")
_HEAD = (
    r"(?:I|I'?m|I've|my|you|your|he|she|it|we|they|his|her|our|their|there|this|that|what|where|when|who|how|why"
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
    r"\b(?:what|who|whose|where|why|how|which)\b|什么|谁|哪|几[岁号个只条位口年点次时]|多少|多大|怎么|怎样|为何|如何|吗|呢$|是不是|有没有|是否|还是"
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
    written = unicodedata.normalize("NFKC", text[:_READ]).replace("’", "'").replace("‘", "'")
    plain = simplified(written)

    def as_written(piece: str) -> str:
        """The rules read simplified characters; what they find is told in the user's own."""
        at = plain.find(piece)
        return piece if at < 0 else written[at : at + len(piece)]

    found = Stated()
    for sentence, asks in _sentences(plain):
        asked = None if asks else _REMEMBER.fullmatch(_without_filler(sentence))
        if asked:
            _take_note(asked["en"] or asked["zh"], "en" if asked["en"] else "zh", found, as_written)
        else:
            found.statements += _statements(sentence, as_written, asks=asks)
    found.statements = list(dict.fromkeys(found.statements))
    return found


def latest(statements: Iterable[Statement]) -> dict[Matter, Statement]:
    """Of several statements on one matter the last, in the order of these."""
    found: dict[Matter, Statement] = {}
    for statement in statements:
        found.pop(statement.matter, None)
        found[statement.matter] = statement
    return found


@lru_cache(maxsize=4096)
def matters(sentence: str) -> frozenset[Matter]:
    """What a sentence of memory is about, where it is one that `stated` makes."""
    about = (rule.matter_of(sentence) for rule in (*CHINESE, *ENGLISH))
    return frozenset(matter for matter in about if matter)


def _take_note(text: str, language: str, found: Stated, as_written: Writing) -> None:
    text = " ".join(text.split())
    statements = _statements(text, as_written, asks=False)
    if statements:
        found.statements += statements
    elif (
        len(text) <= LONGEST_NOTE
        and not _NOTHING_TO_REMEMBER.fullmatch(text)
        and not _ASKS_WITHIN.search(text)
    ):
        note = as_written(text)
        found.notes.append(f"{NOTED_EN}{note}" if language == "en" else f"{NOTED_ZH}{note}")


def _sentences(text: str) -> Iterator[tuple[str, bool]]:
    """Each sentence without what is not its writer's own, and whether it is a question."""
    text = _QUOTED.sub(_unquoted, _NOT_OWN_WORDS.sub("\n", text))
    for match in _SENTENCE.finditer(text):
        sentence = " ".join(match[1].split())
        if sentence:
            yield sentence, match[2] is not None


def _unquoted(match: re.Match[str]) -> str:
    """The mark of a title or a name goes, a quotation of somebody who speaks goes as a whole."""
    words = match[match.lastindex or 0]
    return " " if _OF_ONESELF.search(words) else words


def _statements(sentence: str, as_written: Writing, *, asks: bool) -> list[Statement]:
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
    goes_on: Statement | None = None
    for place, clause in enumerate(clauses):
        if _NOT_MEANT.search(clause):
            break
        here = _read(_forms(_without_filler(clause), chinese, goes_on, first=not place), chinese, as_written)
        goes_on = here[-1] if here else None
        found += here
    return found


def _forms(clause: str, chinese: bool, goes_on: Statement | None, *, first: bool) -> list[str]:
    """The clause, and as it would be if it named whom it is about: the one before need not be repeated."""
    if goes_on is None:
        return [clause, f"我{clause}"] if chinese and first and clause.startswith("今年") else [clause]
    if not chinese:
        return [clause, f"I {clause}"]
    # after a cat's name, what follows is said of the cat
    return [clause, f"我的{goes_on.sub_topic}{clause}" if goes_on.topic == "family" else f"我{clause}"]


def _read(forms: list[str], chinese: bool, as_written: Writing) -> list[Statement]:
    """The statements of the first form that has any."""
    if len(forms[0]) > LONGEST_CLAUSE or _ASKS_WITHIN.search(forms[0]):
        return []
    for form in forms:
        for rule in (*CHINESE, *ENGLISH) if chinese else ENGLISH:
            if statements := rule.read(form, as_written):
                return statements
    return []


def _without_filler(clause: str) -> str:
    while (filler := _FILLER.match(clause)) and filler.end():
        clause = clause[filler.end() :]
    return clause.strip()
