"""The line that the user types: history, several lines, completion, and keys pressed during an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from cozy.interfaces.repl.chat import Chat
from cozy.interfaces.repl.commands import COMMANDS
from cozy.interfaces.repl.safe import safe

_STYLE = Style.from_dict({"who": "bold", "mark": "ansibrightblack"})
_NO_INPUT = {Keys.CPRResponse, Keys.Ignore, Keys.Vt100MouseEvent, Keys.WindowsMouseEvent}


class Editor:
    """Reads what the user says."""

    def __init__(self, chat: Chat, history: Path | None, keys: Input | None, screen: Output | None) -> None:
        self._chat = chat
        self._session: PromptSession[str] = PromptSession(
            history=_history(history),
            multiline=True,
            key_bindings=_bindings(),
            completer=_Words(chat),
            complete_while_typing=True,
            reserve_space_for_menu=6,
            style=_STYLE,
            prompt_continuation=_continuation,
            input=keys,
            output=screen,
        )

    async def read(self, text: str = "") -> str:
        """What the user sends. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C on an empty line."""
        return await self._session.prompt_async(self._prompt, default=text)

    def _prompt(self) -> FormattedText:
        name = safe(self._chat.conversation.personality_id)
        return FormattedText([("class:who", name), ("class:mark", " ❯ ")])

    @contextmanager
    def listening(self, on_interrupt: Callable[[], None]) -> Generator[None]:
        """While the block runs, Ctrl-C calls `on_interrupt`; what else is typed waits for the next line."""
        source = self._session.input
        typed: list[KeyPress] = []

        def read() -> None:
            for press in source.read_keys():
                if press.key == Keys.ControlC:
                    on_interrupt()
                elif press.key not in _NO_INPUT:
                    typed.append(press)

        with source.raw_mode(), source.attach(read):
            try:
                yield
            finally:
                store_typeahead(source, typed)


def _history(file: Path | None) -> History:
    if file is None:
        return InMemoryHistory()
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileHistory(str(file))


def _continuation(width: int, *_: int) -> FormattedText:
    return FormattedText([("class:mark", " " * max(width - 2, 0) + "· ")])


def _bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add(Keys.Enter)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add(Keys.Escape, Keys.Enter)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add(Keys.ControlC)
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys


class _Words(Completer):
    """Commands after a slash at the very beginning, and behind one what it may take."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        return ()  # asked for in the loop, below

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, rest = text.partition(" ")
        if not space:
            words: Mapping[str, str] = {command.name: command.help for command in COMMANDS.values()}
            rest = name
        else:
            command = COMMANDS.get(name)
            words = await command.words(self._chat, rest) if command and command.words else {}
        last = rest.rpartition(" ")[2]
        for word, meaning in words.items():
            if word.startswith(last):
                yield Completion(word, start_position=-len(last), display_meta=safe(meaning))
