"""What the demo model says where not a user asks but a step of a pipeline, or a prompt that wants data."""

from __future__ import annotations

import re

from cozy.adapters.demo_context import shared
from cozy.adapters.demo_tools import wishes
from cozy.adapters.demo_turn import Turn

_ONE_WORD = re.compile(
    r"\b(?:that|one|a single) (?:word|label)\b|只(?:回答|输出|回复|写|用).{0,8}(?:词|字|标签)", re.IGNORECASE
)
_CRITIQUE = re.compile(
    r"\bOK\b.*|\b(?:wrong|missing|unclear)\b|哪里(?:不对|不好)|不足|缺点|挑.{0,3}(?:错|毛病)"
)
_DRAFT = re.compile(r"^[^\S\n]*+(?:draft|草稿|初稿)[^\S\n]*+[:：]", re.IGNORECASE | re.MULTILINE)
_CRITIC = re.compile(
    r"^[^\S\n]*+(?:critic|critique|批评|意见|评语)[^\S\n]*+[:：]", re.IGNORECASE | re.MULTILINE
)
_OPTION = re.compile(
    r"^[^\S\n]*+[-*]?[^\S\n]*+[`\"“]?([\w\u4e00-\u9fff]++)[`\"”]?[^\S\n]*+[:：][^\S\n]*+(.+)$", re.MULTILINE
)
_LOOK_UP = re.compile(r"look|search|document|fact|knowledge|资料|查|知识|文档", re.IGNORECASE)
_FACT_QUESTION = re.compile(
    r"^(?:when|where|who|which|how (?:much|many|long|far)|what)\b.*\?"
    r"|什么时候|几点|哪里|哪儿|谁|多少|在哪|怎么走",
    re.IGNORECASE,
)


def step_answer(turn: Turn) -> str | None:
    """What a step of a pipeline asks for, or a prompt that wants JSON; None for a user's own message."""
    if not turn.ask:
        wants = re.search(r"\bJSON (array|object|list)\b", turn.system)
        return None if wants is None else ("{}" if wants[1] == "object" else "[]")
    if begin := _DRAFT.search(turn.ask):
        end = _CRITIC.search(turn.ask, begin.end())
        if draft := turn.ask[begin.end() : end.start() if end else None].strip():
            return draft
    if _ONE_WORD.search(turn.ask):
        return _label(turn)
    return "OK." if _CRITIQUE.search(turn.ask) else None


def _label(turn: Turn) -> str:
    """The option that shares most with the message; else the one to look things up for questions of fact;
    else the last, which is mostly the one for everything else."""
    options = [(match[1], match[2]) for match in _OPTION.finditer(turn.ask)]
    if not options:
        return "OK"
    words = turn.now.words
    score, place = max((shared(words, f"{name} {about}"), i) for i, (name, about) in enumerate(options))
    if score > 0:
        return options[place][0]
    if _FACT_QUESTION.search(words) and not wishes(words):
        return next((name for name, about in options if _LOOK_UP.search(f"{name} {about}")), options[-1][0])
    return options[-1][0]
