"""Read, say, show, until the user leaves."""

from __future__ import annotations

from pathlib import Path

from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from rich.console import Console

from cozy.errors import CozyError
from cozy.interfaces.repl.chat import Chat
from cozy.interfaces.repl.commands import perform
from cozy.interfaces.repl.conversation import Conversation, Said
from cozy.interfaces.repl.editor import Editor
from cozy.interfaces.repl.render import TurnView
from cozy.turn import Turn


async def converse(
    conversation: Conversation,
    console: Console,
    *,
    history: Path | None = None,
    keys: Input | None = None,
    screen: Output | None = None,
) -> None:
    """Talk until Ctrl-D or `/quit`.

    `history` is the file that keeps what was typed; `keys` and `screen` stand in for the terminal.
    """
    chat = Chat(console, conversation)
    editor = Editor(chat, history, keys, screen)
    if conversation.session is not None:
        await chat.recall()
    else:
        chat.greet(" · /help lists commands, ctrl+d quits")
    while not chat.leaving:
        console.print()
        try:
            line = await editor.read()
        except EOFError:
            return
        except KeyboardInterrupt:
            chat.quiet("ctrl+d quits")
            continue
        await _take(chat, editor, line)


async def _take(chat: Chat, editor: Editor, line: str) -> None:
    if line.startswith("/"):
        await perform(chat, line)
        turn, chat.waiting = chat.waiting, None
    else:
        turn = await _turn(chat, line.strip())
    if turn is not None:
        await _say(chat, editor, turn)


async def _turn(chat: Chat, text: str) -> Turn | None:
    try:
        return await chat.conversation.turn(text) if text else None
    except CozyError as error:
        chat.fail(error)
        return None


async def _say(chat: Chat, editor: Editor, turn: Turn) -> None:
    chat.console.print()
    try:
        async with chat.conversation.place.engine.run(turn) as running:
            with editor.listening(running.interrupt):
                events = await TurnView(chat.console).follow(running)
    except CozyError as error:  # the personality is gone, or the like: before any event
        chat.fail(error)
        return
    chat.conversation.last = Said(turn, events)
