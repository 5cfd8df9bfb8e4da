"""What the demo model reads in a prompt: the user's words, what they bring, and what came before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from cozy.adapters.demo_context import Brought, Fact, brought, distinct, told
from cozy.ports.llm import LLMRequest
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, ToolCall

HAN = "\u3400-\u9fff\U00020000-\U000323af"
# how a pipeline's step speaks of the message before it
_ASK = re.compile(
    r"\b(?:above|again|my last message|this answer|your answer|the answer)\b"
    r"|上面|上述|前面|这个回答|你的回答|我(?:刚才|上一条)的?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Turn:
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

    @cached_property
    def chinese(self) -> bool:
        """Whether to answer in Chinese: as the user last wrote anything that tells."""
        telling = (words for words in (self.now.words, *self.said) if re.search(r"[^\W\d_]", words))
        return bool(re.search(f"[{HAN}]", next(telling, "")))

    @cached_property
    def said(self) -> list[str]:
        """What the user said before in this conversation, the latest first."""
        return [brought(m.content).words for m in reversed(self.earlier) if m.role == "user"]

    @cached_property
    def answered(self) -> list[str]:
        """What was answered before in this conversation."""
        return [m.content for m in self.earlier if m.role == "assistant"]

    @cached_property
    def facts(self) -> list[Fact]:
        """What is known of the user, the latest of each matter."""
        return distinct([*told(self.said), *self.now.facts])


def turn_of(request: LLMRequest) -> Turn:
    """The turn that a request asks an answer for."""
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
    return Turn(brought(content), ask, messages[:last], results, system, tools)
