"""Servers that speak OpenAI's API, and in what each of them differs.

Source of the table: the servers' own documentation and issue trackers, as of 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from cozy.errors import EngineInitError
from cozy.ports.llm import ModelCard
from cozy.settings import Flavour


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server understands; the defaults are what every one of them does."""

    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream_usage: bool = True
    """Takes `stream_options.include_usage`."""
    tool_choice: Literal["full", "words", "none"] = "full"
    """`words`: `none`, `auto` and `required`, but no tool by name; `none`: the field is ignored."""
    user_field: bool = False
    """Takes `user`."""
    seed_field: str = "seed"
    openai_reasoning: bool = False
    """Models called as OpenAI's reasoning models are, obey their rules: `max_completion_tokens`, and no
    sampling fields."""
    developer_role: bool = False
    """Takes `developer` for a reasoning model's system messages."""
    echoes_reasoning: bool = False
    """Wants `reasoning_content` back on assistant messages that call tools."""
    context_cap: int | None = None
    """The window that it opens unless told otherwise, however much the model could read; what is beyond it
    is cut off without a word."""
    default_path: str = ""
    """What an address without a path lacks."""


CAPABILITIES: Mapping[Flavour, Capabilities] = {
    "openai": Capabilities(
        length_field="max_completion_tokens",
        user_field=True,
        openai_reasoning=True,
        developer_role=True,
        default_path="/v1",
    ),
    "azure": Capabilities(
        length_field="max_completion_tokens",
        user_field=True,
        openai_reasoning=True,
        developer_role=True,
        default_path="/openai/v1",
    ),
    "ollama": Capabilities(tool_choice="none", context_cap=4096, default_path="/v1"),
    "lmstudio": Capabilities(tool_choice="words", context_cap=4096, default_path="/v1"),
    "vllm": Capabilities(default_path="/v1"),
    "deepseek": Capabilities(echoes_reasoning=True),
    # refuses every field that it does not know, and reports usage unasked
    "mistral": Capabilities(stream_usage=False, seed_field="random_seed", default_path="/v1"),
    "generic": Capabilities(openai_reasoning=True),
}

_HOSTS: tuple[tuple[str, Flavour], ...] = (
    (r"(^|\.)api\.openai\.com$", "openai"),
    (r"\.(openai|services\.ai|cognitiveservices)\.azure\.(com|us|cn)$", "azure"),
    (r"(^|\.)deepseek\.com$", "deepseek"),
    (r"(^|\.)mistral\.ai$", "mistral"),
    (r"(^|\.)ollama\.com$", "ollama"),
)
_PORTS: Mapping[int, Flavour] = {11434: "ollama", 1234: "lmstudio"}

# o1, o3-mini, o4-mini, gpt-5, gpt-5.2 …; not gpt-5-chat, which is an ordinary model
_OPENAI_REASONING = re.compile(r"^(o[1-9]|gpt-[5-9]|codex)(?!.*-chat)")
# models that want their reasoning back wherever they are served
_ECHO_MODELS = re.compile(r"deepseek|kimi", re.IGNORECASE)


@dataclass(frozen=True)
class OpenAIServer:
    """A server that speaks OpenAI's API, under the name that `provider/model` uses.

    Raises EngineInitError for an address that is none.
    """

    name: str
    base_url: str
    """Up to and including `/v1`."""
    api_key: str | None = field(default=None, repr=False)
    key_variable: str | None = None
    """The environment variable that the key comes from, for hints; none given: made from the name."""
    flavour: Flavour | None = None
    """None: told from the address, else from the name."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Sent with each request."""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    """How long it may be silent before and within an answer."""
    cards: Mapping[str, ModelCard] = field(default_factory=dict[str, ModelCard])
    """What the configuration knows of its models, by their names there."""
    capabilities: Capabilities | None = None
    """In place of the table's row."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise EngineInitError(
                self.name, "its `base_url` is no address", hint="write it as `http://127.0.0.1:8000/v1`"
            )

    @cached_property
    def kind(self) -> Flavour:
        """The flavour, as given or as told."""
        return self.flavour or flavour_of(self.base_url, self.name)

    @cached_property
    def can(self) -> Capabilities:
        return self.capabilities or CAPABILITIES[self.kind]

    @cached_property
    def url(self) -> str:
        """The base address that requests go to, without a query."""
        parts = urlsplit(self.base_url)
        path = parts.path.rstrip("/") or self.can.default_path
        return parts._replace(path=path, query="", fragment="").geturl()

    @cached_property
    def query(self) -> str:
        """The query of the address, such as Azure's `api-version=…`."""
        return urlsplit(self.base_url).query

    @cached_property
    def shown_url(self) -> str:
        """The address for people: without user, password and query."""
        parts: SplitResult = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @cached_property
    def key_name(self) -> str:
        return self.key_variable or re.sub(r"[^A-Z0-9]+", "_", self.name.upper()) + "_API_KEY"

    def is_openai_reasoning(self, model: str) -> bool:
        """Whether OpenAI's rules for reasoning models hold for this model here."""
        return self.can.openai_reasoning and bool(_OPENAI_REASONING.match(model.rpartition("/")[2].lower()))

    def wants_reasoning_back(self, model: str) -> bool:
        return self.can.echoes_reasoning or (
            self.kind in ("vllm", "generic") and bool(_ECHO_MODELS.search(model))
        )


def flavour_of(base_url: str, name: str = "") -> Flavour:
    """Whose server this is, by its host, else its port, else the name it was given."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    for pattern, flavour in _HOSTS:
        if re.search(pattern, host):
            return flavour
    if parts.port is not None and parts.port in _PORTS:
        return _PORTS[parts.port]
    # a proxy that is merely called `openai` may have anything behind it
    told: Mapping[str, Flavour] = {f: f for f in CAPABILITIES if f not in ("openai", "azure")}
    return told.get(name.lower(), "generic")
