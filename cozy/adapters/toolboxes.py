"""Several toolboxes as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cozy.errors import ConfigError, ToolError, did_you_mean
from cozy.ports.tools import Toolbox, ToolCaller, ToolResult, ToolSpec


class Toolboxes:
    """A Toolbox that offers what all of its own offer, in their order.

    Raises ConfigError where two offer a tool of the same name. Toolboxes may gain tools later on; of two that
    come to share a name then, the earlier one keeps it.
    """

    def __init__(self, *toolboxes: Toolbox) -> None:
        self._toolboxes = toolboxes
        names = [spec.name for toolbox in toolboxes for spec in toolbox.specs()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            listed = ", ".join(f"`{name}`" for name in twice)
            raise ConfigError(
                f"tools of the same name: {listed}", hint="rename one, or leave one toolbox out"
            )

    def specs(self) -> Sequence[ToolSpec]:
        named: dict[str, ToolSpec] = {}
        for toolbox in self._toolboxes:
            for spec in toolbox.specs():
                named.setdefault(spec.name, spec)
        return tuple(named.values())

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        for toolbox in self._toolboxes:
            if any(spec.name == name for spec in toolbox.specs()):
                return await toolbox.call(name, arguments, caller)
        known = [spec.name for spec in self.specs()]
        raise ToolError(f"there is no tool `{name}`", hint=did_you_mean(name, known))
