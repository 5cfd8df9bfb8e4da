"""What the demo model answers: plain rules over the prompt, in Chinese or English."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozy.adapters.demo_context import Fact, best_passage, said_of_oneself
from cozy.adapters.demo_forms import filled
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
    wanted = request.sampling.response_format or {}
    if turn.results:
        said = _from_results(turn)
        return Reply(_as_json(wanted, said, said) or introduced(said, turn))
    if step := step_answer(turn):
        return Reply(step)
    found = wishes(turn.now.words)
    calls = _calls(found, request) or _forced_call(turn, request)
    if calls:
        return Reply(calls=calls)
    said = _in_words(turn, found)
    return Reply(_as_json(wanted, said, turn.now.words) or introduced(said, turn))


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


def _forced_call(turn: Turn, request: LLMRequest) -> tuple[ToolCall, ...]:
    """A call of the tool that must be called, its arguments made of the message; none where none must."""
    choice = request.tool_choice
    if choice in ("auto", "none") or not request.tools:
        return ()
    words = turn.now.words
    named = (t for t in request.tools if t.name == choice or (choice == "required" and t.name in words))
    tool = next(named, request.tools[-1])  # a client's own stand last, and are what a client tries out
    arguments = filled(tool.parameters, words)
    written = json.dumps(arguments if isinstance(arguments, dict) else {}, ensure_ascii=False)
    before = sum(len(message.tool_calls) for message in request.messages)
    return (ToolCall(f"demo_call_{before + 1}", tool.name, written),)


def _as_json(wanted: Mapping[str, Any], said: str, words: str) -> str | None:
    """The answer as the JSON that `response_format` wants; None where it wants text."""
    match wanted.get("type"):
        case "json_object":
            return json.dumps({"answer": said}, ensure_ascii=False)
        case "json_schema":
            schema = wanted.get("json_schema", {}).get("schema", {})
            return json.dumps(filled(schema, words), ensure_ascii=False)
        case _:
            return None


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
            expression = _expression(call.arguments)
            return f"{expression} {'' if content.startswith('≈') else '= '}{content}"
        case "current_time":
            return f"现在是{content}。" if chinese else f"It is {content}."
        case "random_choice":
            return f"选中的是：{content}。" if chinese else f"It is: {content}."
        case _:
            return content


def _expression(arguments: str) -> str:
    """What was calculated; a client may bring calls that nobody here has written."""
    try:
        return str(json.loads(arguments).get("expression", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""


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
