"""What an installation can be told: frozen, with a default for everything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from cozy.settings.context import (
    BRINGS,
    ENGINE_URLS,
    ContextSettings,
    EngineBrand,
    EngineSettings,
    OnFull,
    OutboxSettings,
    WorkerSettings,
)
from cozy.settings.part import Part, digest, is_address, variable
from cozy.settings.server import AuthSettings, LimitSettings, RedisSettings, ServerSettings


class PathSettings(Part):
    """Folders; relative ones are taken from where `cozy.toml` lies."""

    personalities: tuple[Path, ...] = (Path("personalities"),)
    """Searched in this order, then the shipped ones."""
    pipelines: tuple[Path, ...] = (Path("pipelines"),)
    """Searched in this order, then the shipped ones."""
    data: Path = Path("data")
    """The database, token encodings, the terminal's history."""


class ModelInstallation(Part):
    """Which models there are for personalities."""

    default: str = "auto"
    """For a personality that names none: `provider/model`; `auto` is the first provider that is configured,
    and the demo model until one is."""
    allow: tuple[str, ...] = ()
    """Patterns of `provider/model` that personalities may name; none means all."""


class CardSettings(Part):
    """What Cozy cannot know of a model by itself."""

    context_tokens: int | None = Field(default=None, ge=512)
    """Its window, prompt and answer together."""
    encoding: str | None = None
    """tiktoken's name of its vocabulary."""
    price_in: float | None = Field(default=None, ge=0)
    """Per million prompt tokens."""
    price_cached: float | None = Field(default=None, ge=0)
    """Per million prompt tokens that the server had seen before."""
    price_out: float | None = Field(default=None, ge=0)
    """Per million tokens of the answer."""


Flavour = Literal["openai", "azure", "ollama", "lmstudio", "vllm", "deepseek", "mistral", "generic"]
"""Whose quirks a model server has."""


class ProviderSettings(Part):
    """A server that speaks OpenAI's API."""

    base_url: str | None = None
    """Up to and including `/v1`."""
    api_key_env: str | None = None
    """The environment variable that holds its key."""
    flavour: Flavour | None = None
    """Whose quirks it has; none given: told from the address."""
    default_model: str | None = None
    """What `auto` takes of it."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with each request. What is secret in them comes from the environment: `Bearer ${NAME}`."""
    connect_timeout_s: float = Field(default=5, gt=0, le=60)
    """How long connecting may take."""
    read_timeout_s: float = Field(default=60, gt=0, le=3600)
    """How long it may be silent in the middle of an answer."""
    models: dict[str, CardSettings] = Field(default_factory=dict)
    """Its models, by name."""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not is_address(value, re.compile("https?")):
            raise ValueError("must be an address such as `http://127.0.0.1:8000/v1`")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        return variable(value, "a key")


class DatabaseSettings(Part):
    """Where everything is kept."""

    url: str = ""
    """`sqlite:///path` or `postgresql://user:${NAME}@host/name`, the password from the environment; empty:
    `cozy.db` in the data folder."""

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value and not re.match(r"(sqlite|postgres(ql)?)(\+\w+)?://", value):
            raise ValueError("must begin with `sqlite:///` or `postgresql://`")
        return value


class ToolSettings(Part):
    """What tools personalities and users may use."""

    allow: tuple[str, ...] = ()
    """Patterns of tools that personalities may use; none means all."""
    admins_only: tuple[str, ...] = ()
    """Patterns of tools that are run for admins alone."""
    timezone: str = "local"
    """For `current_time` when nobody names one: an IANA name, or `local`."""


class Settings(Part):
    """The whole configuration."""

    root: Path = Path()
    """Where `cozy.toml` lies, or the working directory."""
    file: Path | None = None
    paths: PathSettings = PathSettings()
    model: ModelInstallation = ModelInstallation()
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    database: DatabaseSettings = DatabaseSettings()
    tools: ToolSettings = ToolSettings()
    context: ContextSettings = ContextSettings()
    engines: dict[str, EngineSettings] = Field(default_factory=dict)
    workers: WorkerSettings = WorkerSettings()
    outbox: OutboxSettings = OutboxSettings()
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    redis: RedisSettings = RedisSettings()

    @property
    def version(self) -> str:
        """Changes whenever a value does."""
        return digest(self.model_dump_json(exclude={"root", "file"}))


# Providers that need no entry: name → (address, environment variable of the key, model of `auto`)
KNOWN_PROVIDERS: Mapping[str, tuple[str, str | None, str | None]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-4.1-mini"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "deepseek-chat"),
    "ollama": ("http://127.0.0.1:11434/v1", None, None),
    "lmstudio": ("http://127.0.0.1:1234/v1", None, None),
    "vllm": ("http://127.0.0.1:8000/v1", None, None),
}

DEMO_MODEL = "demo/demo"


def shipped(folder: str) -> Path:
    """A folder that comes with Cozy: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "shipped" / folder
    return installed if installed.is_dir() else package.parent / folder


__all__ = [
    "BRINGS",
    "DEMO_MODEL",
    "ENGINE_URLS",
    "KNOWN_PROVIDERS",
    "AuthSettings",
    "CardSettings",
    "ContextSettings",
    "DatabaseSettings",
    "EngineBrand",
    "EngineSettings",
    "Flavour",
    "LimitSettings",
    "ModelInstallation",
    "OnFull",
    "OutboxSettings",
    "Part",
    "PathSettings",
    "ProviderSettings",
    "RedisSettings",
    "ServerSettings",
    "Settings",
    "ToolSettings",
    "WorkerSettings",
    "shipped",
]
