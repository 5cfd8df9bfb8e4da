"""Questions that users ask about themselves, answered from facts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cozy.adapters.demo_context import Fact, shared
from cozy.adapters.extraction_rules import NOTED_EN, NOTED_ZH
from cozy.adapters.statements_chinese import KIN as KIN_ZH
from cozy.adapters.statements_english import KIN as KIN_EN
from cozy.traditional import simplified

READ_CHARS = 1000
"""A longer text is pasted, not asked."""
MIN_SCORE = 0.34
SHOWN = 8
"""Facts in one answer."""


@dataclass(frozen=True, slots=True)
class _Matter:
    """One thing that is asked for: how questions about it look, and facts about it."""

    question: re.Pattern[str]
    fact: re.Pattern[str]
    """Against `kind: text`, where the kind may be empty."""
    only_one: bool = True


def _matter(question: str, fact: str, *, only_one: bool = True) -> _Matter:
    return _Matter(re.compile(question, re.IGNORECASE), re.compile(fact, re.IGNORECASE), only_one)


_MATTERS = (
    _matter(
        r"\bmy (?:own )?name\b|\bwho am i\b|\bwhat am i called\b"
        r"|我叫(?:什么|啥)|我的?(?:名字|姓名)|我是谁|叫我什么",
        r"^name:|^: ?(?:the user's name is|the user is called|用户的?名字是|用户叫)",
    ),
    _matter(
        r"\bwhere do i live\b|\bwhere am i living\b|\bwhich city\b.*\bi\b|\bmy (?:city|address)\b"
        r"|我(?:现在)?住(?:在)?(?:哪|什么地方)|我的?(?:城市|地址)|我在哪.{0,3}住",
        r"^(?:city|location|address):|^:.*(?:lives in|住在)",
    ),
    _matter(
        r"\bwhere (?:am|do) i (?:come )?from\b|\bmy hometown\b"
        r"|我(?:是)?(?:从)?哪里?(?:人|来的)|我的?老家|我来自哪",
        r"^hometown:|^:.*(?:is from|来自)",
    ),
    _matter(
        r"\bhow old am i\b|\bmy age\b|我(?:今年)?(?:多大|几岁)|我的?年龄",
        r"^age:|^:.*(?:years old|用户.{1,5}岁)",
    ),
    _matter(
        r"\bmy birthday\b|\bwhen was i born\b|我的?生日|我什么时候出生", r"^birthday:|^:.*(?:birthday|生日)"
    ),
    _matter(
        r"\bwhat do i do\b(?! (?:if|when|now))|\bmy (?:job|work|profession|employer)\b|\bwhere do i work\b"
        r"|我(?:是)?(?:做|干)什么(?:的|工作)|我的?(?:工作|职业|公司)|我在哪.{0,3}(?:上班|工作)",
        r"^(?:job|employer|workplace|work|profession):"
        r"|^:.*(?:works? (?:as|for|at)|the user is an? |职业|工作)",
        only_one=False,
    ),
    _matter(
        r"\bwhat do i (?:like|love|enjoy)\b|\bmy (?:hobb|favou?rite|interest)|\bwhat i (?:like|love|enjoy)\b"
        r"|我(?:最|都)?(?:喜欢|爱)(?:[\u4e00-\u9fff]{0,3}(?:什么|啥|哪)|的)|我的?(?:爱好|兴趣)",
        r":.*(?:\blikes?\b|\bloves?\b|\benjoys?\b|favou?rite|prefers?|hobby|(?<!不)喜欢|爱好)",
        only_one=False,
    ),
    _matter(
        r"\bwhat do i (?:dislike|hate|not like)\b|\bwhat don't i (?:like|eat|drink)\b"
        r"|我(?:最)?(?:不喜欢|讨厌|不吃|不能吃|不喝).{0,3}(?:什么|啥|哪)",
        r":.*(?:dislikes?|hates?|does not|不喜欢|讨厌|不吃|不喝)",
        only_one=False,
    ),
    _matter(r"\ballerg|过敏", r"allerg|过敏", only_one=False),
    _matter(
        r"\bwhat (?:do|did|can) you (?:know|remember|recall)\b"
        r"|\bdo you (?:still )?(?:know|remember) (?:me|anything)\b"
        r"|\babout (?:me|myself)\b|你(?:还|都)?(?:记得|知道|了解)(?:关于)?我|关于我",
        r"",
        only_one=False,
    ),
)
_PERSONAL = re.compile(r"\b(?:my|i|me|mine)\b|我", re.IGNORECASE)
_ASKS = re.compile(
    r"[?？]|(?:^|[,.;!]\s*)(?:what|who|whose|where|when|which|how|do|does|did|is|are|am|tell)\b"
    r"|什么|谁|哪|几|多少|吗|呢|记得",
    re.IGNORECASE,
)


def personal_answer(question: str, facts: Sequence[Fact], *, chinese: bool) -> str | None:
    """What the facts say to a question about the user: an answer, or that nothing is known. None where the
    question is about something else."""
    asked = simplified(question[:READ_CHARS])
    if not (_PERSONAL.search(asked) and _ASKS.search(asked)):
        return None
    matter = next((matter for matter in _MATTERS if matter.question.search(asked)), None)
    if matter is None or not matter.only_one:
        named = [fact for fact in facts if _names(asked, simplified(fact.kind))]
        if named:
            return _sentences(named[:SHOWN], chinese=chinese)
    if matter is None:
        scores = [shared(asked, simplified(f"{fact.kind} {fact.text}")) for fact in facts]
        if not scores or max(scores) < MIN_SCORE:
            return None
        return _sentences([facts[scores.index(max(scores))]], chinese=chinese)
    fitting = [fact for fact in facts if matter.fact.search(simplified(f"{fact.kind}: {fact.text}"))]
    if not fitting:
        return (
            "这个我还不知道，你没有告诉过我。" if chinese else "I do not know that yet; you have not told me."
        )
    return _sentences(fitting[:1] if matter.only_one else fitting[:SHOWN], chinese=chinese)


def _names(question: str, kind: str) -> bool:
    """Whether the question says what the fact is about: `my cat`, 最喜欢的颜色."""
    if not kind.isascii():
        return kind in question
    return bool(kind and re.search(rf"(?<!\w){re.escape(kind)}(?!\w)", question, re.IGNORECASE))


def _sentences(facts: Sequence[Fact], *, chinese: bool) -> str:
    lines = list(dict.fromkeys(spoken_to(fact, chinese=chinese) for fact in facts))
    return (
        "；".join(lines) + "。"
        if chinese
        else "; ".join(_capital(line) if not i else line for i, line in enumerate(lines)) + "."
    )


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]


_KINDS_EN = {
    "name": "your name is {}",
    "city": "you live in {}",
    "hometown": "you are from {}",
    "age": "you are {} years old",
    "birthday": "your birthday is {}",
    "job": "your job is {}",
    "employer": "you work for {}",
    "workplace": "you work at {}",
}
_KINDS_ZH = {
    "name": "你叫{}",
    "city": "你住在{}",
    "hometown": "你来自{}",
    "age": "你{}岁",
    "birthday": "你的生日是{}",
    "job": "你的职业是{}",
    "employer": "你在{}工作",
    "workplace": "你在{}工作",
}
# what a profile says of a thing, of a favourite, of somebody near
_OF_THING: tuple[tuple[str, str], ...] = (
    (r"(dis)?likes it", r"you \1like {}"),
    (r"does not (\w+) it", r"you do not \1 {}"),
    (r"allergic", "you are allergic to {}"),
    (r"((?:不?喜欢|不[吃喝]).?)", r"你\1{}"),
    (r"过敏", "你对{}过敏"),
)
_SPOKEN_EN = (
    (r"^the user asked to remember: (.+)", r"you asked me to remember: \1"),
    (r"^the user's\b", "your"),
    (r"^the user is\b", "you are"),
    (r"^the user has\b", "you have"),
    (r"^the user was\b", "you were"),
    (r"^the user does not\b", "you do not"),
    (r"^the user (\w+?)s\b", r"you \1"),
    (r"^the user\b", "you"),
    (r"^(dis)?(like|love|enjoy|prefer)s\b", r"you \1\2"),
    (r"^allergic to\b", "you are allergic to"),
)
_SPOKEN_ZH = (
    (r"^用户让记住：", "你让我记住："),
    (r"^(?:这位)?用户", "你"),
    (r"^(?=不?喜欢|对.+过敏)", "你"),
)


def spoken_to(fact: Fact, *, chinese: bool) -> str:
    """The fact as one says it to the user, without a full stop."""
    text = fact.text.strip().rstrip(".。")
    is_sentence = not fact.kind or text.lower().startswith(("the user", "用户"))
    if not is_sentence and (said := _of_kind(fact.kind, text, chinese=chinese)):
        return said
    for pattern, replacement in (*_SPOKEN_ZH, *_SPOKEN_EN):
        said, changed = re.subn(pattern, replacement, text, count=1, flags=re.IGNORECASE)
        if changed:
            return said
    return f"{fact.kind}{'：' if chinese else ': '}{text}" if fact.kind else text


def _of_kind(kind: str, text: str, *, chinese: bool) -> str | None:
    """What a profile's fact says, where its kind or its text is a known one."""
    if form := (_KINDS_ZH if chinese else _KINDS_EN).get(kind):
        return form.format(text)
    for pattern, form in _OF_THING:
        if match := re.fullmatch(pattern, text, re.IGNORECASE):
            return match.expand(form).format(kind)
    if kind.startswith(("favorite ", "最喜欢")):
        return f"你{kind}是{text}" if kind.startswith("最") else f"your {kind} is {text}"
    if re.fullmatch(rf"(?:\w+ )?{KIN_EN}s?", kind):
        return f"you have {text}" if text.endswith(kind) else f"your {kind} is called {text}"
    if re.fullmatch(KIN_ZH, simplified(kind)):
        return f"你有{text}" if text.endswith(kind) else f"你的{kind}叫{text}"
    return None


def noted(facts: Sequence[Fact], *, chinese: bool) -> str:
    """That what was just said has been understood, and how."""
    lines = [_noted(fact, chinese=chinese) for fact in facts]
    return f"好的，知道了：{'，'.join(lines)}。" if chinese else f"Noted: {'; '.join(lines)}."


def _noted(fact: Fact, *, chinese: bool) -> str:
    for beginning in (NOTED_EN, NOTED_ZH):
        if fact.text.startswith(beginning):
            return f"“{fact.text.removeprefix(beginning)}”"
    return spoken_to(fact, chinese=chinese)
