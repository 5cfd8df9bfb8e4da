"""The real chat on a terminal in memory: the demo model, SQLite in the test's folder, keys through a pipe."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from cozy.app import App, open_app
from cozy.cli.chat import installation
from cozy.configuration import load_settings
from cozy.interfaces.repl.conversation import Conversation
from cozy.interfaces.repl.loop import converse
from tests.interfaces.repl.terminals import Terminal

ENTER, CTRL_C, CTRL_D, CTRL_U, ALT_ENTER = "\r", "\x03", "\x04", "\x15", "\x1b\r"


@dataclass
class Talk:
    """A chat that runs, and what can be seen of it."""

    app: App
    conversation: Conversation
    terminal: Terminal
    keys: PipeInput

    def type(self, *texts: str) -> None:
        for text in texts:
            self.keys.send_text(text)

    async def seen(self, wanted: str | Callable[[str], bool]) -> str:
        """Wait until this can be read on the terminal; gives all that can be read then."""
        with anyio.fail_after(30):
            while not (wanted(self.text) if callable(wanted) else wanted in self.text):
                await anyio.sleep(0.01)
        return self.text

    async def say(self, line: str) -> str:
        """Type a line, and wait until the next can be typed; gives what came between."""
        before = self.prompts
        self.type(line, ENTER)
        await self.seen(lambda _: self.prompts > before)
        return normal(self.text.rpartition(f"❯ {line.splitlines()[0]}")[2].rpartition("\n")[0].strip("\n"))

    @property
    def prompts(self) -> int:
        """How many lines have been asked for."""
        return len(re.findall(r"^\w+ ❯", self.text, flags=re.MULTILINE))

    @property
    def text(self) -> str:
        return self.terminal.text


@asynccontextmanager
async def talking(
    folder: Path,
    *,
    personality: str = "default",
    model: str | None = None,
    user: str = "ada",
    session: str | None = None,
    width: int = 90,
    height: int = 30,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Talk]:
    """A chat in a project folder; it is left with Ctrl-D."""
    terminal = Terminal(width, height)
    with create_pipe_input() as keys:
        async with open_app(load_settings(folder, environ or {})) as app:
            user_id = await app.store.user(user)
            conversation = Conversation(installation(app), user_id, personality, model=model)
            if session is not None:
                await conversation.resume(session)
            talk = Talk(app, conversation, terminal, keys)
            screen = Vt100_Output(
                terminal,  # pyright: ignore[reportArgumentType]
                lambda: Size(terminal.console.height, terminal.console.width),
                term="xterm",
                enable_cpr=False,
            )
            async with anyio.create_task_group() as tasks:

                async def run() -> None:
                    await converse(
                        conversation, terminal.console, history=folder / "history", keys=keys, screen=screen
                    )

                tasks.start_soon(run)
                await talk.seen("❯")
                yield talk
                talk.type(CTRL_U, CTRL_D)


async def jobs_done(app: App) -> None:
    """Wait until the worker has learned what turns have told."""
    with anyio.fail_after(30):
        while await app.worker._outbox.depth():
            await anyio.sleep(0.01)


def normal(text: str) -> str:
    """Without what differs from run to run, or with how tokens are counted."""
    text = re.sub(r"\b[0-9.]+ (ms|s)\b", "0 ms", text)
    text = re.sub(r"\b[0-9]+ \+ [0-9]+ tokens", "10 + 10 tokens", text)
    text = re.sub(r"\b[0-9a-f]{8}\b", "0000abcd", text)
    return re.sub(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]+", "2026-01-01 12:00:00", text)
