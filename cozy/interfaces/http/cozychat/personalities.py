"""Personalities as the front end chooses among them, and what it needs of one for a voice call."""

from __future__ import annotations

from typing import Any

from cozy.engine.graph import Graph
from cozy.engine.preview import identity, welcome
from cozy.errors import NotImplementedYet, TemplateFailed
from cozy.interfaces.http.cozychat.routes import Given, also, route
from cozy.interfaces.http.endpoint import Call
from cozy.turn import Turn, UserId

DEFAULT = "default"
_ICON = "🤖"


class PersonalityItem(Given):
    id: str
    name: str
    description: str
    icon: str
    tags: list[str]
    is_default: bool
    created_at: None = None
    """Nobody knows when a file was written."""


class PersonalityList(Given):
    """The same list twice: the front end reads `data`, other callers `personalities`."""

    data: list[PersonalityItem]
    personalities: list[PersonalityItem]
    total: int


class PersonalityDetail(Given):
    id: str
    name: str
    description: str
    config: dict[str, Any]
    """All of it, as the original API nests it."""
    voice: dict[str, Any]
    """What a voice call reads: `realtime`, beside `stt` and `tts`."""
    ai: dict[str, Any]
    """The model, and the prompt as the caller's own turns would be given it."""
    metadata: dict[str, str]


@route("GET", "/v1/personalities", access="chat", gives=PersonalityList)
async def list_(call: Call[None, None]) -> PersonalityList:
    """List who can be talked to."""
    graphs = sorted(call.service.engine.library, key=lambda graph: (graph.id != DEFAULT, graph.id))
    items = [_item(graph) for graph in graphs]
    return PersonalityList(data=items, personalities=items, total=len(items))


@route("GET", "/v1/personalities/{id}", access="chat", gives=PersonalityDetail)
async def show(call: Call[None, None]) -> PersonalityDetail:
    """Tell of one personality: its model, its tools, its voice, its prompt."""
    graph = call.service.engine.library.graph(call.path("id"))
    call.exchange.personality_id = graph.id
    about = graph.persona.about
    config = _config(graph, call.caller.user_id)
    return PersonalityDetail(
        id=about.id,
        name=about.name,
        description=about.description,
        config=config,
        voice=config["voice"],
        ai=config["ai"],
        metadata=config["metadata"],
    )


@route("POST", "/v1/personalities", access="admin", status=201, errors=(501,))
async def create(_call: Call[None, None]) -> None:
    """Refuse: personalities are files, written by their authors and read by `reload`."""
    raise NotImplementedYet("writing personalities over HTTP")


def _item(graph: Graph) -> PersonalityItem:
    about, metadata = graph.persona.about, graph.persona.metadata
    return PersonalityItem(
        id=about.id,
        name=about.name,
        description=about.description,
        icon=metadata.get("icon", _ICON),
        tags=[tag.strip() for tag in metadata.get("tags", "").split(",") if tag.strip()],
        is_default=about.id == DEFAULT,
    )


def _config(graph: Graph, user_id: UserId) -> dict[str, Any]:
    persona, turn = graph.persona, Turn("", user_id, graph.id, channel="voice")
    about, sampling = persona.about, persona.model.sampling
    provider, _, model = persona.model.names[0].partition("/")
    prompt = _prompt(graph, turn)
    return {
        "id": about.id,
        "name": about.name,
        "version": "1.0.0",
        "description": about.description,
        "welcome_message": _welcome(graph, turn),
        "traits": {},
        "ai": {
            "provider": provider,
            "model": model,
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "system_prompt": prompt,
            "token_budget": {},
        },
        "memory": {"enabled": True},
        "tools": {
            "enabled": bool(persona.tools),
            "allowed_tools": [tool.spec.name for tool in persona.tools],
            "mcp_servers": [],
            "permissions": {},
        },
        "voice": _voice(graph, prompt),
        "user_preferences": {},
        "metadata": dict(persona.metadata),
    }


def _voice(graph: Graph, prompt: str) -> dict[str, Any]:
    """How it speaks. What it does not say is left out: the front end has defaults for it, not for null."""
    persona = graph.persona
    voice = {"voice": persona.voice} if persona.voice else {}
    speed = {"speed": persona.voice_speed} if persona.voice_speed else {}
    realtime = {"enabled": True, "provider": "openai", "instructions": prompt, **voice}
    return {"stt": {}, "tts": {**voice, **speed}, "realtime": realtime}


def _prompt(graph: Graph, turn: Turn) -> str:
    """As the caller's own turns would begin; empty where that is not known before other stages have run."""
    try:
        return identity(graph, turn)
    except TemplateFailed:
        return ""


def _welcome(graph: Graph, turn: Turn) -> str:
    try:
        return welcome(graph, turn)
    except TemplateFailed:
        return ""


ENDPOINTS = (list_, create, show, also(create, "/v1/personalities/{id}", "PUT"))
