"""What templates and `when:` may name in a turn."""

from __future__ import annotations

from typing import Any

from cozy.engine.graph import Graph
from cozy.stages.templates import SECTION_VARIABLES, VARIABLES
from cozy.turn import Turn

HIDDEN_NAMES = frozenset(VARIABLES) - frozenset(SECTION_VARIABLES)
"""A stage of such an id is not seen in templates: the word is taken."""


def turn_variables(graph: Graph, turn: Turn) -> dict[str, Any]:
    """What templates may name before any stage has run."""
    return {
        "personality": graph.persona.about,
        "tools": graph.tool_list,
        "language": turn.language or graph.persona.about.language,
        "channel": turn.channel,
        "now": turn.received_at.replace(microsecond=0),
        "message": turn.text,
        "turn": turn,
    }
