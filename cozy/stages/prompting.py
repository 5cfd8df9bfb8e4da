"""The texts of a prompt: what a personality says of itself, and what a turn brings.

`budget` measures them and `render_prompt` sends them, so both ask here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cozy.errors import TurnError
from cozy.ports.llm import LLMRequest
from cozy.stages.base import Persona, StageContext
from cozy.stages.templates import SECTION_VARIABLES
from cozy.stages.values import ContextPart, ContextSection, Section
from cozy.turn import Message

MESSAGE_TOKENS = 3
"""What a message costs beside its text: role and separators. Source: OpenAI's cookbook on counting tokens."""
REPLY_TOKENS = 3
"""What opens the reply. Source: as above."""

_CLOSING = re.compile(r"<(?=\s*/\s*context\b)", re.IGNORECASE)


class ClientSystemRefused(TurnError):
    code = "VALIDATION_SYSTEM_MESSAGE"

    def __init__(self, personality: str) -> None:
        super().__init__(
            f"personality `{personality}` takes no system message from clients",
            hint="leave it out, or set `client_system: append` in the personality",
        )


def system_text(parts: Mapping[ContextSection, ContextPart], ctx: StageContext) -> str:
    """The system message: the personality's prompt, its voice prompt, a client's own beneath it."""
    persona, turn = ctx.persona, ctx.turn
    variables = with_parts(parts, ctx)
    texts = [persona.prompt.render(variables)]
    if turn.channel == "voice" and persona.voice_prompt is not None:
        texts.append(persona.voice_prompt.render(variables))
    if turn.client_system:
        if persona.client_system == "reject":
            raise ClientSystemRefused(persona.about.id)
        if persona.client_system == "append":
            texts.append(turn.client_system.strip())
    return "\n\n".join(text for text in texts if text)


def names_sections(persona: Persona) -> bool:
    """Whether the system message depends on what the turn brings."""
    templates = (persona.prompt, persona.voice_prompt)
    return any(t is not None and not t.names.isdisjoint(SECTION_VARIABLES) for t in templates)


def context_text(parts: Mapping[ContextSection, ContextPart], ctx: StageContext) -> str:
    """This turn's context; empty when nothing was brought. Nothing in it closes the tags it will stand in."""
    return _CLOSING.sub("< ", ctx.persona.context.render(with_parts(parts, ctx)))


def user_text(context: str, text: str) -> str:
    """The user's message with this turn's context before it.

    Context stands in the user's message, not in a system message of its own: every server takes it there,
    and what documents say has no more weight than what a user says. See docs/decisions/context-placement.md.
    """
    return f"<context>\n{context}\n</context>\n\n{text}" if context else text


def with_parts(parts: Mapping[ContextSection, ContextPart], ctx: StageContext) -> dict[str, object]:
    """What the personality's own templates may name: every section, empty where nothing was brought."""
    sections = {name: parts.get(name, _EMPTY[name]) for name in SECTION_VARIABLES}
    return {**ctx.variables, **sections}


def message_tokens(message: Message, model: str, ctx: StageContext) -> int:
    """What a message costs, its calls included."""
    count = ctx.ports.tokens.count
    tokens = message.tokens if message.tokens is not None else count(message.content, model)
    for call in message.tool_calls:
        tokens += count(call.name, model) + count(call.arguments, model) + MESSAGE_TOKENS
    return tokens + MESSAGE_TOKENS


def section_tokens(system: str, context: str, model: str, ctx: StageContext) -> dict[Section, int]:
    """What each section of a prompt costs as it will be sent, the history aside.

    What has followed the user's message in this turn already is a part of it: neither can be cut.
    """
    count, tools, turn = ctx.ports.tokens.count, ctx.tools.text, ctx.turn
    message = count(user_text(context, turn.text), model) + MESSAGE_TOKENS + REPLY_TOKENS
    return {
        "system": count(system, model) + MESSAGE_TOKENS if system else 0,
        "tools": count(tools, model) if tools else 0,
        "message": message + sum(message_tokens(m, model, ctx) for m in (*turn.rounds, *turn.results)),
    }


def request_tokens(request: LLMRequest, ctx: StageContext) -> int:
    """What a whole request costs its model, as far as we can count: pictures count as nothing."""
    tokens = sum(message_tokens(message, request.model, ctx) for message in request.messages)
    if request.tools:
        tokens += ctx.ports.tokens.count(ctx.tools.text_of(request.tools), request.model)
    return tokens + REPLY_TOKENS


_EMPTY: dict[ContextSection, ContextPart] = {name: ContextPart(name) for name in SECTION_VARIABLES}

DEFAULT_CONTEXT = """\
{% if summary %}Earlier in this conversation: {{ summary }}

{% endif %}{% if profile %}About the user:
{% for fact in profile %}- {{ fact.text }}
{% endfor %}
{% endif %}{% if memory %}From earlier conversations with the user:
{% for item in memory %}- {{ item.text }}
{% endfor %}
{% endif %}{% if knowledge %}From the documents at hand:
{% for passage in knowledge %}- {{ passage.text }}{% if passage.source %} ({{ passage.source }}){% endif %}
{% endfor %}{% endif %}"""

DEFAULT_CONTEXT_ZH = """\
{% if summary %}此前的对话：{{ summary }}

{% endif %}{% if profile %}关于这位用户：
{% for fact in profile %}- {{ fact.text }}
{% endfor %}
{% endif %}{% if memory %}这位用户以前说过：
{% for item in memory %}- {{ item.text }}
{% endfor %}
{% endif %}{% if knowledge %}相关资料：
{% for passage in knowledge %}- {{ passage.text }}{% if passage.source %}（{{ passage.source }}）{% endif %}
{% endfor %}{% endif %}"""


def default_context(language: str | None) -> str:
    """The context template of a personality that has none of its own."""
    return DEFAULT_CONTEXT_ZH if (language or "").lower().startswith("zh") else DEFAULT_CONTEXT
