"""Tool calls out of the pieces that servers send, whatever their numbering.

The rules, each met in the wild:
- Pieces of one call share `index`; a piece without one belongs to the call with its id, or to the last one.
- A new id together with a name opens a new call, though the index is an old one (servers that number every
  call 0). A new id without a name goes on with the open call (servers that make an id for every piece).
- A name on an open call opens a new one if it is another name, or if the open call's arguments are whole.
- A call without an id gets one; a later id of the server's is then ignored.
- Arguments may come as an object; none at all mean `{}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from cozy.adapters.loose_json import parsed, whole_number
from cozy.ports.llm import ToolCallChunk


@dataclass(slots=True, eq=False)
class _Call:
    index: int = -1
    """Ours: from 0, in the order in which names became known."""
    server_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])

    @property
    def is_whole(self) -> bool:
        try:
            return isinstance(parsed("".join(self.arguments)), dict)
        except ValueError:
            return False


class NamelessCall(ValueError):
    """A server sent arguments for a call that it never named."""


class ToolCallJoin:
    """The calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._named = 0

    @property
    def has_calls(self) -> bool:
        return self._named > 0

    def feed(self, pieces: Iterable[Any]) -> list[ToolCallChunk]:
        """The pieces of a `tool_calls` list, as the port wants them; a call begins once its name is known."""
        chunks: list[ToolCallChunk] = []
        for piece in pieces:
            if isinstance(piece, Mapping):
                chunk = self._take(cast("Mapping[str, Any]", piece))
                if chunk is not None:
                    chunks.append(chunk)
        return chunks

    def finish(self) -> list[ToolCallChunk]:
        """What is missing when the answer is over: `{}` for calls without arguments. Raises NamelessCall."""
        if any(not call.name and "".join(call.arguments).strip() for call in self._calls):
            raise NamelessCall("a tool call without the tool's name")
        return [
            ToolCallChunk(call.index, arguments="{}")
            for call in self._calls
            if call.name and not "".join(call.arguments).strip()
        ]

    def _take(self, piece: Mapping[str, Any]) -> ToolCallChunk | None:
        function = cast("Any", piece.get("function") or piece)
        if not isinstance(function, Mapping):
            return None
        function = cast("Mapping[str, Any]", function)
        call_id, name = _text(piece.get("id")), _text(function.get("name"))
        arguments = function.get("arguments")
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        arguments = _text(arguments)
        call = self._find(whole_number(piece.get("index")), call_id, name)
        begins = not call.name and bool(name)
        call.server_id = call.server_id or call_id
        call.name = call.name or name
        if arguments:
            call.arguments.append(arguments)
        if begins:
            call.index = self._named
            self._named += 1
            return ToolCallChunk(
                call.index, call.server_id or f"call_{uuid4().hex}", name, "".join(call.arguments)
            )
        return ToolCallChunk(call.index, arguments=arguments) if call.name and arguments else None

    def _find(self, index: int | None, call_id: str, name: str) -> _Call:
        """The call that a piece belongs to; a new one where it belongs to none."""
        call = self._by_index.get(index) if index is not None else self._unnumbered(call_id)
        if call is not None and name:
            if call_id and call.server_id:
                is_new = call_id != call.server_id
            else:
                is_new = bool(call.name) and (name != call.name or call.is_whole)
            call = None if is_new else call
        if call is None:
            call = _Call()
            self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _unnumbered(self, call_id: str) -> _Call | None:
        same = next((call for call in self._calls if call_id and call.server_id == call_id), None)
        return same or (self._calls[-1] if self._calls else None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
