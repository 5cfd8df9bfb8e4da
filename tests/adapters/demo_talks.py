"""What the demo model is asked in tests, and what it brings to a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.adapters.demo_llm import DemoLLM
from cozy.ports.llm import Chunk, LLMRequest, TextChunk
from cozy.ports.tools import ToolSpec
from cozy.turn import Message

TOOLS = tuple(BuiltinTools(now=lambda: datetime(2026, 11, 22, 5, tzinfo=UTC)).specs())
SYSTEM = Message("system", "你是小研。")
ANSWERED = (Message("user", "hi"), Message("assistant", "Hello!"))
"""A conversation in which the introduction has been said."""
CONTEXT = """\
<context>
About the user:
- name: Ada
- city: Oslo
- tea: likes tea

From earlier conversations with the user:
- The user works as a nurse
- The user asked to remember: buy milk

From the documents at hand:
- Breakfast is from 7 to 10 in the hall.
Bring your key. (house.md · Breakfast)
- The pool (indoor) opens at noon. (house.md · Pool)
</context>

"""
CONTEXT_ZH = """\
<context>
关于这位用户：
name: 小明
晨跑: 喜欢晨跑
这位用户以前说过：
- 用户喜欢喝茶
- 用户让记住：买牛奶
相关资料：
- 成年人每天应睡7到8小时。（睡眠.md）
- 血压正常值低于120/80。（血压.md）
</context>

"""


async def chunks(request: LLMRequest) -> list[Chunk]:
    async with DemoLLM().stream(request) as answer:
        return [chunk async for chunk in answer]


async def says(*messages: Message, tools: Sequence[ToolSpec] = TOOLS, **fields: object) -> str:
    request = LLMRequest("demo/demo", (SYSTEM, *messages), tools=tuple(tools), **fields)  # type: ignore[arg-type]
    return "".join(c.text for c in await chunks(request) if isinstance(c, TextChunk))


async def asked(text: str, context: str = "") -> str:
    """The answer within a conversation that has begun."""
    return await says(*ANSWERED, Message("user", context + text))
