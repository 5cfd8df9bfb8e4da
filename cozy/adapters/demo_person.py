"""Questions that users ask about themselves, answered from facts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cozy.adapters.demo_context import Fact, shared

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
        r"\bwhat do i (?:dislike|hate)\b|我(?:最)?(?:不喜欢|讨厌).{0,3}(?:什么|啥|哪)",
        r":.*(?:dislikes?|hates?|不喜欢|讨厌)",
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
    question = question[:READ_CHARS]
    if not (_PERSONAL.search(question) and _ASKS.search(question)):
        return None
    matter = next((matter for matter in _MATTERS if matter.question.search(question)), None)
    if matter is None:
        scores = [shared(question, f"{fact.kind} {fact.text}") for fact in facts]
        if not scores or max(scores) < MIN_SCORE:
            return None
        return _sentences([facts[scores.index(max(scores))]], chinese=chinese)
    fitting = [fact for fact in facts if matter.fact.search(f"{fact.kind}: {fact.text}")]
    if not fitting:
        return (
            "这个我还不知道，你没有告诉过我。" if chinese else "I do not know that yet; you have not told me."
        )
    return _sentences(fitting[:1] if matter.only_one else fitting[:SHOWN], chinese=chinese)


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
_SPOKEN_EN = (
    (r"^the user asked to remember: (.+)", r"you asked me to remember: \1"),
    (r"^the user's\b", "your"),
    (r"^the user is\b", "you are"),
    (r"^the user has\b", "you have"),
    (r"^the user was\b", "you were"),
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
    form = (_KINDS_ZH if chinese else _KINDS_EN).get(fact.kind)
    if form is not None and not text.lower().startswith(("the user", "用户")):
        return form.format(text)
    for pattern, replacement in (*_SPOKEN_ZH, *_SPOKEN_EN):
        said, changed = re.subn(pattern, replacement, text, count=1, flags=re.IGNORECASE)
        if changed:
            return said
    return f"{fact.kind}{'：' if chinese else ': '}{text}" if fact.kind else text
