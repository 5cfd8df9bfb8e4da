"""What the demo model answers: plain rules over the prompt, in Chinese or English."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cozy.adapters.demo_context import Fact, best_passage, said_of_oneself
from cozy.adapters.demo_person import noted, personal_answer
from cozy.adapters.demo_steps import step_answer
from cozy.adapters.demo_talk import about_this, beyond, introduced, small_talk
from cozy.adapters.demo_tools import Wish, arguments_for, offered, wishes
from cozy.adapters.demo_turn import Turn, turn_of
from cozy.ports.llm import LLMRequest
from cozy.turn import ToolCall


@dataclass(frozen=True, slots=True)
class Reply:
    text: str = ""
    calls: tuple[ToolCall, ...] = ()


def reply_to(request: LLMRequest) -> Reply:
    """The whole answer to a request."""
    turn = turn_of(request)
    if turn.results:
        return Reply(introduced(_from_results(turn), turn))
    if step := step_answer(turn):
        return Reply(step)
    found = wishes(turn.now.words)
    calls = _calls(found, request)
    if calls:
        return Reply(calls=calls)
    return Reply(introduced(_in_words(turn, found), turn))


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


def _from_results(turn: Turn) -> str:
    return "\n".join(_result(call, content.strip(), chinese=turn.chinese) for call, content in turn.results)


def _result(call: ToolCall, content: str, *, chinese: bool) -> str:
    tool = call.name.rpartition("/")[2]
    if tool in _RESULTS and not re.match(_RESULTS[tool], content):
        said = re.sub(r"\Acolumn \d+: ", "", content.splitlines()[0]) if content else ""
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


def _in_words(turn: Turn, found: Sequence[Wish]) -> str:
    words, chinese = turn.now.words, turn.chinese
    if found:
        needed = "`, `".join(wish.tool for wish in found)
        return (
            f"回答这个要用工具 `{needed}`，这里没有提供。"
            if chinese
            else f"That takes the tool `{needed}`, which is not offered here."
        )
    said: Sequence[Fact] = () if re.search(r"[?？]", words) else said_of_oneself(words)
    answer = noted(said, chinese=chinese) if said else about_this(turn)
    answer = answer or personal_answer(words, turn.facts, chinese=chinese)
    if answer:
        return answer
    quote = best_passage(words, turn.now.passages)
    if quote:
        return (
            f"资料里写着：“{quote.text}”（{quote.source}）"
            if chinese
            else f"The documents say: “{quote.text}” ({quote.source})"
        )
    return small_talk(turn) or beyond(turn)
