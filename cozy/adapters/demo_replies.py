"""What the demo model answers: plain rules over the prompt, in Chinese or English."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cozy.adapters.demo_context import Brought, Fact, best_passage, brought, said_of_oneself, shared, told
from cozy.adapters.demo_person import personal_answer, spoken_to
from cozy.adapters.demo_tools import Wish, arguments_for, offered, wishes
from cozy.ports.llm import LLMRequest
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, ToolCall

INTRODUCTION_EN = (
    "(I am Cozy's built-in demo model and only follow simple rules. For a real model, set OPENAI_API_KEY, "
    "or a provider in cozy.toml.)"
)
INTRODUCTION_ZH = (
    "（我是 Cozy 自带的演示模型，只会照简单的规则回答。要接上真正的模型，"
    "请设置 OPENAI_API_KEY，或在 cozy.toml 里配置 provider。）"
)


@dataclass(frozen=True, slots=True)
class Reply:
    text: str = ""
    calls: tuple[ToolCall, ...] = ()


def reply_to(request: LLMRequest) -> Reply:
    """The whole answer to a request."""
    turn = _turn(request)
    if turn.results:
        return Reply(_introduced(_from_results(turn), turn))
    if step := _step_answer(turn):
        return Reply(step)
    found = wishes(turn.now.words)
    calls = _calls(found, request)
    if calls:
        return Reply(calls=calls)
    return Reply(_introduced(_in_words(turn, found), turn))


@dataclass(frozen=True, slots=True)
class _Turn:
    """A prompt taken apart."""

    now: Brought
    """What the user said this time."""
    ask: str
    """What a pipeline's step asks beyond it."""
    earlier: tuple[Message, ...]
    results: tuple[tuple[ToolCall, str], ...]
    """Calls that were just made, and what came back."""
    system: str
    tools: tuple[ToolSpec, ...]

    @property
    def chinese(self) -> bool:
        return bool(re.search(r"[\u4e00-\u9fff]", self.now.words))

    @property
    def facts(self) -> list[Fact]:
        return [*told(self.earlier), *self.now.facts]


def _turn(request: LLMRequest) -> _Turn:
    messages = request.messages
    users = [i for i, message in enumerate(messages) if message.role == "user"]
    last = users[-1] if users else len(messages)
    content = messages[last].content if users else ""
    ask = ""
    if len(users) > 1 and users[-2] == last - 1 and _ASK.search(content):
        ask, last = content, users[-2]
        content = messages[last].content
    calls = {call.id: call for m in messages[last:] for call in m.tool_calls}
    results = tuple(
        (calls[m.tool_call_id], m.content)
        for m in messages[last:]
        if m.role == "tool" and m.tool_call_id in calls
    )
    system = "\n".join(m.content for m in messages if m.role == "system")
    tools = () if request.tool_choice == "none" else request.tools
    return _Turn(brought(content), ask, messages[:last], results, system, tools)


def _introduced(text: str, turn: _Turn) -> str:
    """With a word about who speaks, in the first answer of a conversation."""
    if any(message.role == "assistant" for message in turn.earlier):
        return text
    return f"{text}\n\n{INTRODUCTION_ZH if turn.chinese else INTRODUCTION_EN}"


# --- tools ------------------------------------------------------------------------------------------------


def _calls(found: Sequence[Wish], request: LLMRequest) -> tuple[ToolCall, ...]:
    choice = request.tool_choice
    tools = (
        request.tools if choice in ("auto", "required") else [t for t in request.tools if t.name == choice]
    )
    before = sum(len(message.tool_calls) for message in request.messages)
    calls: list[ToolCall] = []
    for wish in found:
        tool = offered(wish, tools)
        if tool is not None:
            arguments = json.dumps(arguments_for(wish, tool), ensure_ascii=False)
            calls.append(ToolCall(f"demo_call_{before + len(calls) + 1}", tool.name, arguments))
    return tuple(calls)


# How a result looks that is none of an error
_RESULTS = {
    "calculator": r"[≈\s]*-?[\d.∞]",
    "current_time": r"\d{4}",
    "unit_convert": r"[^`]*[=≈]",
    "random_choice": r"[^`]+\Z",
}


def _from_results(turn: _Turn) -> str:
    return "\n".join(_result(call, content.strip(), chinese=turn.chinese) for call, content in turn.results)


def _result(call: ToolCall, content: str, *, chinese: bool) -> str:
    tool = call.name.rpartition("/")[2]
    if tool in _RESULTS and not re.match(_RESULTS[tool], content):
        said = content.splitlines()[0] if content else ""
        return (
            f"工具 `{call.name}` 没有给出结果：{said}" if chinese else f"`{call.name}` gave no result: {said}"
        )
    match tool:
        case "calculator":
            expression = json.loads(call.arguments).get("expression", "")
            return f"{expression} {'' if content.startswith('≈') else '= '}{content}"
        case "current_time":
            return f"现在是{content}。" if chinese else f"It is {content}."
        case "random_choice":
            return f"选中的是：{content}。" if chinese else f"It is: {content}."
        case _:
            return content


# --- steps of a pipeline, and prompts that want data --------------------------------------------------------

_ONE_WORD = re.compile(
    r"\b(?:that|one|a single) (?:word|label)\b|只(?:回答|输出|回复|写|用).{0,8}(?:词|字|标签)", re.IGNORECASE
)
_CRITIQUE = re.compile(
    r"\bOK\b.*|\b(?:wrong|missing|unclear)\b|哪里(?:不对|不好)|不足|缺点|挑.{0,3}(?:错|毛病)"
)
_DRAFT = re.compile(
    r"^\s*(?:draft|草稿|初稿)\s*[:：]\s*(?P<draft>.+?)\s*(?=^\s*(?:critic|critique|批评|意见|评语)\s*[:：]|\Z)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_ASK = re.compile(
    r"\b(?:above|again|my last message|this answer|your answer|the answer)\b"
    r"|上面|上述|前面|这个回答|你的回答|我(?:刚才|上一条)的?",
    re.IGNORECASE,
)
_OPTION = re.compile(r"^\s*[-*]?\s*[`\"“]?([\w\u4e00-\u9fff]+)[`\"”]?\s*[:：]\s*(.+)$", re.MULTILINE)
_LOOK_UP = re.compile(r"look|search|document|fact|knowledge|资料|查|知识|文档", re.IGNORECASE)
_FACT_QUESTION = re.compile(
    r"^(?:when|where|who|which|how (?:much|many|long|far)|what)\b.*\?"
    r"|什么时候|几点|哪里|哪儿|谁|多少|在哪|怎么走",
    re.IGNORECASE,
)


def _step_answer(turn: _Turn) -> str | None:
    """What a step of a pipeline asks for, or a prompt that wants JSON; None for a user's own message."""
    if not turn.ask:
        wants = re.search(r"\bJSON (array|object|list)\b", turn.system)
        return None if wants is None else ("{}" if wants[1] == "object" else "[]")
    draft = _DRAFT.search(turn.ask)
    if draft:
        return draft["draft"]
    if _ONE_WORD.search(turn.ask):
        return _label(turn)
    return "OK." if _CRITIQUE.search(turn.ask) else None


def _label(turn: _Turn) -> str:
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


# --- words ------------------------------------------------------------------------------------------------

_GREETING = re.compile(
    r"(?:(?:hi|hello|hey|good (?:morning|afternoon|evening))\b(?:[\s,]+\w{1,12})?"
    r"|(?:你好|您好|嗨|哈喽|早上好|下午好|晚上好|早安?)(?:[啊呀吗]|[\s,，]*小\w{1,2}|[\s,，]+\w{1,8})?)"
    r"[\s!！.。~～]*",
    re.IGNORECASE,
)
_THANKS = re.compile(r"\b(?:thanks|thank you|thx)\b|谢谢|多谢|感谢", re.IGNORECASE)
_GOODBYE = re.compile(r"\b(?:bye|goodbye|good night|see you)\b|再见|拜拜|晚安", re.IGNORECASE)
_WHO = re.compile(
    r"\b(?:who|what) are you\b|\bare you (?:a |an )?(?:ai|real|human|bot)\b"
    r"|你是谁|你是什么|你是真人|自我介绍|介绍一下你自己",
    re.IGNORECASE,
)
_ABLE = re.compile(
    r"\bwhat can you do\b|\bhelp\b\W*$|你(?:能|会|可以)(?:做|干)?(?:什么|些什么|啥)|怎么用", re.IGNORECASE
)


def _in_words(turn: _Turn, found: Sequence[Wish]) -> str:
    words, chinese = turn.now.words, turn.chinese
    if found:
        needed = "`, `".join(wish.tool for wish in found)
        return (
            f"回答这个要用工具 `{needed}`，这里没有提供。"
            if chinese
            else f"That takes the tool `{needed}`, which is not offered here."
        )
    said = said_of_oneself(words)
    if said and not re.search(r"[?？]", words):
        return _noted(said, chinese)
    about = personal_answer(words, turn.facts, chinese=chinese)
    if about:
        return about
    quote = best_passage(words, turn.now.passages)
    if quote:
        return (
            f"资料里写着：“{quote.text}”（{quote.source}）"
            if chinese
            else f"The documents say: “{quote.text}” ({quote.source})"
        )
    return _small_talk(turn) or _honestly(turn)


def _noted(facts: Sequence[Fact], chinese: bool) -> str:
    lines = [spoken_to(fact, chinese=chinese) for fact in facts]
    return f"好的，知道了：{'，'.join(lines)}。" if chinese else f"Noted: {'; '.join(lines)}."


def _small_talk(turn: _Turn) -> str | None:
    words, chinese = turn.now.words, turn.chinese
    if _GREETING.fullmatch(words):
        name = next((fact.text for fact in turn.facts if fact.kind == "name"), "")
        if chinese:
            return f"你好，{name}！" if name else "你好！"
        return f"Hello, {name}!" if name else "Hello!"
    if _WHO.search(words):
        return (
            "我是演示模型，在真正的模型接上之前替它说话。"
            if chinese
            else "I am the demo model, standing in until a real one is connected."
        )
    if _ABLE.search(words):
        return _abilities(turn)
    if _THANKS.search(words):
        return "不客气。" if chinese else "You are welcome."
    if _GOODBYE.search(words):
        return "再见！" if chinese else "Goodbye!"
    return None


def _honestly(turn: _Turn) -> str:
    """That this is beyond simple rules, and what is not."""
    if turn.chinese:
        return f"这个问题超出了演示模型的能力。{_abilities(turn)}"
    return f"That is beyond a demo model. {_abilities(turn)}"


_ABILITIES = {
    "current_time": ("tell the time", "报时"),
    "calculator": ("calculate", "算术"),
    "unit_convert": ("convert units", "换算单位"),
    "random_choice": ("choose at random", "随机挑选"),
}


def _abilities(turn: _Turn) -> str:
    able = [pair for tool in turn.tools if (pair := _ABILITIES.get(tool.name.rpartition("/")[2]))]
    able += [
        ("remember what you tell me", "记住你告诉我的事"),
        ("quote the documents at hand", "引用手头的资料"),
    ]
    if turn.chinese:
        return f"我会：{'、'.join(chinese for _, chinese in able)}。"
    *first, last = (english for english, _ in able)
    return f"I can {', '.join(first)} and {last}."
