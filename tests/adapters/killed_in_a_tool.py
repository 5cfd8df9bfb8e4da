"""A process that dies while a tool of a turn is at work.

`python -m tests.adapters.killed_in_a_tool URL USER FILE`
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio

from cozy.adapters.sql_audit import SqlAudit
from cozy.adapters.sql_effects import SqlEffects
from cozy.ports.tools import ToolCaller, ToolResult, ToolSpec
from cozy.stages.tool_arguments import compile_tools
from cozy.stages.tool_runs import ToolRuns
from cozy.stages.values import Generation
from cozy.storage.database import Database, open_database
from cozy.turn import RequestMark, ToolCall, Turn, UserId
from tests.stages.seat import Seat, persona, ports

BOOK = ToolSpec("book", "Book a table.", {"type": "object"}, side_effects=True)
CALL = ToolCall("c1", "book", '{"table": 4}')
MARK = RequestMark("body:1", "1")


class Booking:
    """A tool that leaves a line for each time that it was run, and may kill its process then."""

    def __init__(self, file: Path, *, deadly: bool = False) -> None:
        self.file, self.deadly = file, deadly

    def specs(self) -> Sequence[ToolSpec]:
        return [BOOK]

    async def call(self, name: str, arguments: Mapping[str, Any], caller: ToolCaller) -> ToolResult:
        with self.file.open("a") as file:
            file.write(f"{name} {arguments}\n")
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return ToolResult("Booked.")


async def book(database: Database, tool: Booking, turn: Turn) -> str:
    """What the model reads of its call."""
    seat = Seat(
        turn=turn,
        persona=persona(tools=compile_tools([BOOK])),
        ports=ports(tools=tool, effects=SqlEffects(database), audit=SqlAudit(database)),
    )
    [message] = await ToolRuns(seat, None).round(Generation("", (CALL,), "tool_calls"), [CALL])
    return message.content


async def main(url: str, user: str, file: str) -> None:
    async with open_database(url) as database:
        turn = Turn("Table 4, please.", UserId(UUID(user)), "mia", request=MARK)
        await book(database, Booking(Path(file), deadly=True), turn)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
