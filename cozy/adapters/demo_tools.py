"""Which tools a message asks for, as far as plain patterns tell, and with what arguments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cozy.adapters.time_zones import zone_for
from cozy.adapters.units import convert
from cozy.errors import ToolError
from cozy.ports.tools import ToolSpec
from cozy.traditional import simplified

READ_CHARS = 1000
"""A longer text is pasted, not asked."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that would answer a part of a message; `arguments` by our own names of them."""

    tool: str
    arguments: Mapping[str, Any]


# Our names of arguments → what a tool's schema may call them
_PROPERTIES: Mapping[str, Sequence[str]] = {
    "expression": ("expression", "formula"),
    "timezone": ("timezone", "time_zone", "tz", "city"),
    "value": ("value", "amount"),
    "from_unit": ("from_unit", "from"),
    "to_unit": ("to_unit", "to"),
    "options": ("options", "choices", "items"),
}


def wishes(text: str) -> list[Wish]:
    """What the message asks for, in the order: time, units, chance, arithmetic; each tool once."""
    written = unicodedata.normalize("NFKC", text[:READ_CHARS])
    text = simplified(written)
    found = [*_times(text), *_conversions(text), *_choices(text, written)]
    if not any(wish.tool in ("unit_convert", "random_choice") for wish in found):
        found.extend(_sums(text))
    return list({wish.tool: wish for wish in found}.values())


def offered(wish: Wish, tools: Sequence[ToolSpec]) -> ToolSpec | None:
    """The tool among these that the wish is for."""
    return next((tool for tool in tools if tool.name.rpartition("/")[2] == wish.tool), None)


def arguments_for(wish: Wish, tool: ToolSpec) -> dict[str, Any]:
    """The wish's arguments under the names of the tool's schema, without those that it does not have."""
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    named = (
        (next((n for n in _PROPERTIES[k] if n in properties), None), v) for k, v in wish.arguments.items()
    )
    return {name: value for name, value in named if name is not None}


# --- time -------------------------------------------------------------------------------------------------

_TIME_EN = re.compile(
    r"(?:\bwhat(?:'?s| is)? (?:the )?(?:current |local )?time|\bcurrent time|\btell me the time)"
    r"(?=\s*(?:in|now|right|there|please|today|[?!.,;]|$))|\bwhat time is it"
    r"|\bwhat(?:'?s| is) (?:the date|today's date|today)\b"
    r"|\bwhat (?:day|date|weekday) is\b|\bwhich day is (?:it|today)\b",
    re.IGNORECASE,
)
_PLACE_EN = re.compile(
    r"\bin ([A-Za-z][\w .'/+:-]*?)(?: right now| now| today)?\s*(?:[?!.,;]|$)", re.IGNORECASE
)
_TIME_ZH = re.compile(
    r"几点|(?:现在|当前|此刻|目前).{0,8}时间|报时|什么时候了|星期几|几月几号"
    r"|今天.{0,3}(?:几号|星期几|周几|礼拜几|日期)"
)
_NOT_NOW = re.compile(
    r"\b(?:tomorrow|yesterday|next|last|was|will)\b|[明昨后前]天|[上下]个?(?:周|星期|月)", re.IGNORECASE
)
_NOT_A_PLACE = re.compile(
    r"请问|告诉我|你知道|想?知道|现在|当前|此刻|目前|今天|那边|当地|这里|那里|我们?这儿?|一下|时间|大概|到底"
    r"|那么?|[了钟吗呢的在是,，。、？?！! ]"
)


def _times(text: str) -> Iterator[Wish]:
    if _NOT_NOW.search(text):
        return
    if match := _TIME_EN.search(text):
        place = _PLACE_EN.search(text, match.end())
        yield Wish("current_time", {"timezone": place[1].strip()} if place else {})
    elif match := _TIME_ZH.search(text):
        clause = next(part for part in re.split(r"[，,。！？!?；;\n]", text) if _TIME_ZH.search(part))
        place = _NOT_A_PLACE.sub("", _TIME_ZH.sub(lambda m: m[0] if "时间" in m[0] else "", clause))
        # `我加班到几点` and `几点开始` ask for another time than now
        if not place or _is_place(place):
            yield Wish("current_time", {"timezone": place} if place else {})


def _is_place(name: str) -> bool:
    try:
        zone_for(name)
    except ToolError:
        return False
    return True


# --- units ------------------------------------------------------------------------------------------------

_NUMBER = r"(?<![\d.])-?\d+(?:\.\d+)?"
_NUMBER_ZH = (
    r"(?:(?<![一二两三四五六七八九十百千万])[一二两三四五六七八九十百千万]{1,9}|(?<![\d.])-?\d+(?:\.\d+)?)"
)
_UNIT_EN = r"[A-Za-z°µ²³/]+(?: (?:feet|miles|inches|meters|metres|ounces|pounds|tons|hour))?"
_UNIT_ZH = r"[\u4e00-\u9fffA-Za-z°²³/]{1,8}?"
_CONVERSIONS = (
    re.compile(
        rf"(?P<value>{_NUMBER})\s*(?P<source>{_UNIT_EN}) (?:to|in|into|as) (?P<target>{_UNIT_EN})\b",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\bhow many (?P<target>{_UNIT_EN}) (?:are (?:there )?in|is|in|are|make) "
        rf"(?P<value>{_NUMBER})\s*(?P<source>{_UNIT_EN})",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?P<value>{_NUMBER_ZH})\s*(?P<source>{_UNIT_ZH})(?:等于|相当于|是|合|有|换算成|换成|转换成|转成|转换为|换算为|=)+"
        rf"(?:多少|几)?(?:个)?(?P<target>{_UNIT_ZH})(?:[?？。!！,，\s吗呢啊]|$)"
    ),
)


def _conversions(text: str) -> Iterator[Wish]:
    for pattern in _CONVERSIONS:
        for match in pattern.finditer(text):
            source, target = match["source"].strip(), match["target"].strip()
            if _convertible(source, target):
                value = (
                    float(match["value"])
                    if match["value"][-1].isdecimal()
                    else float(_number(match["value"]))
                )
                yield Wish(
                    "unit_convert",
                    {
                        "value": int(value) if value.is_integer() else value,
                        "from_unit": source,
                        "to_unit": target,
                    },
                )
                return


def _convertible(source: str, target: str) -> bool:
    """Whether these are units; `3 people in Paris` has the same form."""
    try:
        convert(Fraction(1000), source, target)
    except ToolError:
        return False
    return True


# --- chance -----------------------------------------------------------------------------------------------

_COIN = re.compile(r"\b(?:flip|toss)\b.{0,10}\bcoin\b|[抛掷扔]个?.{0,3}硬币", re.IGNORECASE)
_DIE = re.compile(r"\b(?:roll|throw)\b.{0,12}\b(?:die|dice)\b|[掷扔摇].{0,3}[骰色]子", re.IGNORECASE)
_PICK_EN = re.compile(
    r"\b(?:choose|pick|select|decide)\b(?: one)?(?: randomly| at random)?"
    r"(?: between| from| among| of)?:? (.+)",
    re.IGNORECASE,
)
_PICK_ZH = re.compile(
    r"(?:从|在)(.+?)(?:里|中|之间|当中)+(?:面)?(?:帮我|随机|任意|给我)*(?:选|挑|抽)|(?:帮我)?(?:随机|任意)(?:选|挑|抽)(?:一?个)?[:：]?(.+)"
)


_RANGE = (
    re.compile(
        r"\b(?:number|integer|digit)\b[^\d\n]{0,20}?(-?\d{1,9}) ?(?:and|to|-|–|~) ?(-?\d{1,9})\b",
        re.IGNORECASE,
    ),
    re.compile(r"(-?\d{1,9}) ?[到至~-] ?(-?\d{1,9})(?:之?间|以?内)?.{0,8}?(?:选|挑|抽|随机|生成).{0,6}?数"),
    re.compile(
        r"(?:选|挑|抽|随机|生成).{0,8}?(-?\d{1,9}) ?[到至~-] ?(-?\d{1,9})(?:之?间|以?内)?的?.{0,3}?数"
    ),
)
_WIDEST = 1000


def _range(text: str) -> list[str] | None:
    """The numbers that one of is wanted; none where they are too many; None where no range is named."""
    match = next((match for pattern in _RANGE if (match := pattern.search(text))), None)
    if match is None:
        return None
    low, high = int(match[1]), int(match[2])
    return [str(number) for number in range(low, high + 1)] if high - low < _WIDEST else []


def _choices(text: str, written: str) -> Iterator[Wish]:
    chinese = bool(re.search(r"[\u4e00-\u9fff]", text))
    if _COIN.search(text):
        yield Wish("random_choice", {"options": ["正面", "反面"] if chinese else ["heads", "tails"]})
    elif _DIE.search(text):
        yield Wish("random_choice", {"options": [str(n) for n in range(1, 7)]})
    elif (numbers := _range(text)) is not None:
        if numbers:
            yield Wish("random_choice", {"options": numbers})
    elif match := _PICK_EN.search(text) or _PICK_ZH.search(text):
        listed = written[slice(*match.span(1 if match[1] else 2))] if match.re is _PICK_ZH else match[1]
        parts = re.split(
            r"\s*(?:,\s*(?:or|and)\s+|\s+(?:or|and)\s+|[,，、;；]|还是|或者?|和)\s*",
            listed.strip(" ?？!！.。"),
        )
        options = [part.strip() for part in parts if part.strip()]
        if len(options) > 1 and all(len(option) <= 40 for option in options):
            yield Wish("random_choice", {"options": options})


# --- arithmetic -------------------------------------------------------------------------------------------

_FUNCTIONS = "sqrt|abs|round|floor|ceil|min|max|factorial|exp|ln|log10|log|asin|acos|atan|sin|cos|tan"
_N = r"((?<![\d.])\d+(?:\.\d+)?|\([^()]*\))"
_SPOKEN: Sequence[tuple[str, str]] = (
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (rf"(?:the )?square root of {_N}", r"sqrt(\1)"),
    (rf"{_N}\s*(?:%|percent) of {_N}", r"\2*\1%"),
    (rf"(?:the )?factorial of {_N}", r"\1!"),
    (r"\s+to the power of\s+", "**"),
    (r"\s+squared\b", "**2"),
    (r"\s+cubed\b", "**3"),
    (r"\s+plus\s+", "+"),
    (r"\s+minus\s+", "-"),
    (r"\s+(?:times|multiplied by)\s+", "*"),
    (r"\s+(?:divided by|over)\s+", "/"),
    (rf"{_N}的百分之{_N}", r"\1*\2%"),
    (rf"百分之{_N}", r"\1%"),
    (rf"{_N}的{_N}%", r"\1*\2%"),
    (rf"{_N}的平方根|(?:根号|√){_N}", r"sqrt(\1\2)"),
    (r"的平方", "**2"),
    (r"的立方", "**3"),
    (rf"的{_N}次方", r"**\1"),
    (r"的阶乘", "!"),
    (r"加上?", "+"),
    (r"减去?", "-"),
    (r"乘[以上]?", "*"),
    (r"除以", "/"),
    (r"[×✕]|(?<=\d)\s*x\s*(?=\d)", "*"),
    (r"÷", "/"),
    (r"[−–]", "-"),
)
_RUN = re.compile(
    rf"(?:(?:{_FUNCTIONS})(?=\s*\()|pi\b|π|\d+(?:\.\d+)?|\*\*|//|[-+*/%^!(),]|[^\S\n])+", re.IGNORECASE
)
_OPERATION = re.compile(
    rf"[\d)%π]\s*(?:\*\*|//|[-+*/^%])\s*[-+(\d.a-zπ]|(?:{_FUNCTIONS})\s*\(|\d!", re.IGNORECASE
)
_ASKED = re.compile(
    r"\bwhat(?:'s| is)\b|\bhow much\b|\bcalculate\b|\bcompute\b|\bwork out\b|\bevaluate\b"
    r"|=|[?？]|等于|多少|是几|算|求",
    re.IGNORECASE,
)
_NO_SUM = re.compile(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}|\+?\d{2,4}(?:-\d{3,})+|24/7")


def _sums(text: str) -> Iterator[Wish]:
    spoken = _arabic(unicodedata.normalize("NFKC", text))
    for pattern, sign in _SPOKEN:
        spoken = re.sub(pattern, sign, spoken, flags=re.IGNORECASE)
    runs = [run for found in _RUN.findall(spoken) if _OPERATION.search(run := _trimmed(found))]
    if not runs:
        return
    run = max(runs, key=len)
    alone = len(run) >= 0.6 * len(spoken.strip())
    if not _NO_SUM.fullmatch(run) and (alone or _ASKED.search(text)):
        yield Wish("calculator", {"expression": run})


def _trimmed(run: str) -> str:
    """The run without what cannot begin or end an expression, its brackets paired."""
    run = run.strip().rstrip("-+*/^,(").lstrip("*/%^!,)").strip()
    while run.count("(") > run.count(")") and run.startswith("("):
        run = run[1:].lstrip()
    while run.count(")") > run.count("(") and run.endswith(")"):
        run = run[:-1].rstrip()
    return run


_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_POWERS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_NUMBER = re.compile(r"[零〇一二两三四五六七八九十百千万]+")


def _arabic(text: str) -> str:
    """Chinese numbers beside an operation in digits: `三加十五` is `3加15`."""
    if not re.search(r"[加减乘]|除以|次方|平方|根号|阶乘|百分之", text):
        return text
    held = text.replace("百分之", "\ue000")
    return _CHINESE_NUMBER.sub(lambda match: str(_number(match[0])), held).replace("\ue000", "百分之")


def _number(chinese: str) -> int:
    total = part = digit = 0
    if not set(chinese) & {"十", "百", "千", "万"}:
        return int("".join(str(_DIGITS[c]) for c in chinese))
    for character in chinese:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character == "万":
            total, part, digit = (part + digit) * 10_000, 0, 0
        else:
            part, digit = part + (digit or 1) * _POWERS[character], 0
    return total + part + digit
