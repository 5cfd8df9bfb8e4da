"""The tools of one turn: those of the personality that it may use, and the client's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from cozy.ports.tools import ToolSpec
from cozy.turn import Turn

if TYPE_CHECKING:
    from cozy.stages.base import NodeInfo, Persona, Tool


@dataclass(frozen=True, slots=True)
class Offer:
    """What a model may call in one turn."""

    ours: tuple[Tool, ...]
    """Run here, by a tool loop."""
    clients: tuple[ToolSpec, ...]
    """Run by the client, never here."""
    specs: tuple[ToolSpec, ...]
    """All of them, ours first: the client's come and go, and servers remember how a prompt begins."""
    text: str
    """All of them as a model is told of them, for counting."""

    def to(self, node: NodeInfo) -> tuple[ToolSpec, ...]:
        """What a stage offers: ours where a loop follows, the client's where it speaks."""
        if node.speaks:
            return self.specs if node.offers_tools else self.clients
        return self.specs[: len(self.ours)] if node.offers_tools else ()

    def text_of(self, specs: Sequence[ToolSpec]) -> str:
        """What a stage offers as a model is told of it, for counting."""
        return self.text if len(specs) == len(self.specs) else tools_text(specs)


def offer_of(persona: Persona, turn: Turn) -> Offer:
    """The tools of a turn. A client's tool takes the place of one of ours that has its name."""
    if not turn.tools and not turn.denied_tools and turn.allowed_tools is None:
        return Offer(persona.tools, (), tuple([tool.spec for tool in persona.tools]), persona.tools_text)
    taken = {tool.name for tool in turn.tools}
    ours = tuple(t for t in persona.tools if t.spec.name not in taken and is_allowed(t.spec.name, turn))
    clients = tuple(ToolSpec(t.name, t.description, t.parameters, strict=t.strict) for t in turn.tools)
    specs = (*(tool.spec for tool in ours), *clients)
    return Offer(ours, clients, specs, tools_text(specs))


def is_allowed(name: str, turn: Turn) -> bool:
    """Whether a turn may use a tool that its personality has."""
    allowed = turn.allowed_tools
    return (allowed is None or _fits(name, allowed)) and not _fits(name, turn.denied_tools)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def tools_text(specs: Sequence[ToolSpec]) -> str:
    """Tools as a model is told of them, for counting; empty where there are none."""
    told = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in specs]
    return json.dumps(told, ensure_ascii=False, default=dict) if told else ""
