"""What a personality may ask for, beyond its own file: models, tools, datasets of one installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cozy.stages.base import EMBEDDED


@dataclass(frozen=True, slots=True)
class World:
    """What is there, and what the configuration allows. The defaults allow everything there is."""

    default_model: str = "demo/demo"
    """What `auto`, or no name, stands for."""
    providers: frozenset[str] | None = None
    """Providers that a model's name may begin with; None: any."""
    allowed_models: tuple[str, ...] = ()
    """Patterns such as `openai/*`; none: every model."""
    tools: frozenset[str] = frozenset()
    """Names of the tools that are there, those of tool servers aside."""
    allowed_tools: tuple[str, ...] = ()
    """Patterns such as `mcp/weather/*`; none: every tool."""
    tool_servers: frozenset[str] = frozenset()
    """MCP servers that are configured; their tools are `mcp/<server>/<tool>`."""
    datasets: frozenset[str] | None = None
    """Datasets that hold documents; None: not known, so nothing is said of them."""
    engines: Mapping[str, frozenset[str]] | None = None
    """Names of the engines that are configured, by what they bring: `knowledge`, `profile`, `memory`; None:
    not known, so nothing is said of them."""
    knowledge: str = EMBEDDED
    """The engine that serves personalities which name none."""
    engine_datasets: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """The datasets that may be searched, of each engine that is held to some."""
    shipped: tuple[Path, ...] = ()
    """Folders of what comes with Cozy: a personality there that asks for what is not allowed is left out."""
