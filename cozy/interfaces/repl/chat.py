"""The state of one chat in a terminal, and how it speaks beside the answers."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.segment import Segments

from cozy.errors import CozyError
from cozy.interfaces.repl.conversation import Conversation
from cozy.interfaces.repl.markdown import Words, lines_of
from cozy.interfaces.repl.safe import one_line, safe
from cozy.turn import Turn

RESUMED_MESSAGES = 6
"""How much of a session is shown when it is taken up again."""


@dataclass(slots=True, eq=False)
class Chat:
    """What commands work on."""

    console: Console
    conversation: Conversation
    waiting: Turn | None = None
    """A turn that a command wants to be said next."""
    leaving: bool = False

    @property
    def width(self) -> int:
        return max(self.console.width - 1, 20)

    def show(self, renderable: RenderableType) -> None:
        self.console.print(renderable, highlight=False, markup=False, width=self.width)

    def say(self, text: str, style: str = "") -> None:
        """Text as it is: nothing in it is markup."""
        self.show(Words(safe(text), style))

    def quiet(self, text: str) -> None:
        self.say(text, "dim")

    def fail(self, error: CozyError) -> None:
        self.say(f"error: {error.message}", "bold red")
        if error.hint:
            self.say(f"hint: {error.hint}", "cyan")

    def prose(self, text: str) -> None:
        """Markdown."""
        for line in lines_of(safe(text), self.console, self.width):
            self.console.print(Segments([*line]), highlight=False, no_wrap=True, crop=False)
            self.console.print()

    def greet(self, more: str = "") -> None:
        """Who is here, and what it says first."""
        conversation = self.conversation
        about = conversation.graph.persona.about
        self.quiet(f"{about.name} ({about.id}) · {conversation.models[0]}{more}")
        try:
            welcome = conversation.welcome()
        except CozyError as error:
            self.fail(error)
            return
        if welcome:
            self.console.print()
            self.prose(welcome)

    async def recall(self) -> None:
        """The end of the session that was taken up."""
        session = self.conversation.session
        if session is None:
            return
        self.quiet(f"going on with “{one_line(session.title or '', 50)}” · {session.message_count} messages")
        for stored in await self.conversation.messages(limit=RESUMED_MESSAGES):
            message = stored.message
            if message.role == "user":
                self.console.print()
                self.say(f"❯ {message.content}", "bold")
            elif message.role == "assistant" and message.content:
                self.console.print()
                self.prose(message.content)
