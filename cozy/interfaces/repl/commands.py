"""What can be done beside talking: one function a command, each with its line of help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from rich.text import Text

from cozy.engine.drawing_text import as_text
from cozy.engine.trace import Trace
from cozy.errors import CozyError, did_you_mean
from cozy.interfaces.repl.chat import Chat
from cozy.interfaces.repl.conversation import LATEST, Said
from cozy.interfaces.repl.memory import EVERYTHING, Remembrance
from cozy.interfaces.repl.prompt_view import sent_view
from cozy.interfaces.repl.safe import one_line
from cozy.interfaces.repl.views import (
    grid,
    memory_table,
    personalities_table,
    profile_table,
    sessions_table,
    short,
)
from cozy.interfaces.repl.waterfall import trace_view

Does = Callable[[Chat, str], Awaitable[None]]
Words = Callable[[Chat, str], Awaitable[Mapping[str, str]]]
"""What may stand behind a command, each with what it means; given what stands there already."""
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    usage: str
    help: str
    does: Does
    words: Words | None = None


COMMANDS: dict[str, Command] = {}


def command(usage: str, help_: str, *, words: Words | None = None) -> Callable[[Does], Does]:
    """Register a function under the first word of its usage."""

    def register(does: Does) -> Does:
        name = usage.partition(" ")[0]
        COMMANDS[name] = Command(name, usage, help_, does, words)
        return does

    return register


async def perform(chat: Chat, line: str) -> None:
    """Do what a line that begins with a slash says; what goes wrong is told, not raised."""
    name, _, argument = line.strip().partition(" ")
    known = COMMANDS.get(name)
    try:
        if known is None:
            hint = f"{did_you_mean(name, COMMANDS)}; `/help` lists them all"
            raise CozyError(f"no command `{name}`", hint=hint)
        await known.does(chat, argument.strip())
    except CozyError as error:
        chat.fail(error)


# -- what may stand behind a command ---------------------------------------------------------------------


async def _personalities(chat: Chat, _: str) -> Mapping[str, str]:
    return {g.id: g.persona.about.name for g in chat.conversation.place.engine.library}


async def _sessions(chat: Chat, _: str) -> Mapping[str, str]:
    sessions = await chat.conversation.place.store.sessions(chat.conversation.user_id)
    return {short(s.id): one_line(s.title or "", 40) for s in sessions} | {LATEST: "the one talked in last"}


async def _models(chat: Chat, _: str) -> Mapping[str, str]:
    models = dict.fromkeys(chat.conversation.place.models, "")
    return {AUTO: "the personality's own"} | models


async def _memories(chat: Chat, given: str) -> Mapping[str, str]:
    if " " not in given:
        return {"forget": "ID, or all", "edit": "ID TEXT"}
    known = await _remembrance(chat).everything()
    words = {short(id_): one_line(text, 40) for id_, text in known.texts.items()}
    return words | ({EVERYTHING: "everything"} if given.startswith("forget ") else {})


# -- the commands ------------------------------------------------------------------------------------------


@command("/help", "what can be typed here")
async def _help(chat: Chat, _: str) -> None:
    chat.show(grid(("", ""), [(Text(c.usage, "bold"), c.help) for c in COMMANDS.values()]))
    chat.quiet("enter sends, alt+enter begins a new line, ctrl+c stops an answer, ctrl+d quits")


@command("/personality [ID]", "list personalities, or talk to another one", words=_personalities)
async def _personality(chat: Chat, name: str) -> None:
    conversation = chat.conversation
    if not name:
        chat.show(personalities_table(conversation.place.engine.library, conversation.personality_id))
        return
    conversation.start_anew(name)
    chat.greet()


@command("/sessions [ID]", "list your sessions, or go on with one", words=_sessions)
async def _session(chat: Chat, name: str) -> None:
    conversation = chat.conversation
    if name:
        await conversation.resume(name)
        await chat.recall()
        return
    sessions = await conversation.place.store.sessions(conversation.user_id)
    if sessions:
        chat.show(sessions_table(sessions, conversation.session.id if conversation.session else None))
    else:
        chat.quiet("nothing has been said yet")


@command("/new", "begin a new session")
async def _new(chat: Chat, _: str) -> None:
    chat.conversation.start_anew()
    chat.greet()


@command("/prompt", "what the model was sent, section by section, and what was cut")
async def _prompt(chat: Chat, _: str) -> None:
    trace: Trace = _last(chat).end.trace
    if not trace.prompts:
        raise CozyError("no prompt was put together in the last turn")
    tools = [tool.spec.name for tool in chat.conversation.graph.persona.tools]
    chat.show(sent_view(trace, tools, chat.width))


@command("/trace", "where the last turn's time and tokens went")
async def _trace(chat: Chat, _: str) -> None:
    chat.show(trace_view(_last(chat), chat.width))


@command("/graph", "draw the stages of this personality")
async def _graph(chat: Chat, _: str) -> None:
    chat.say(as_text(chat.conversation.graph, chat.width))


@command("/memory [forget ID|all] [edit ID TEXT]", "what is remembered of you", words=_memories)
async def _memory(chat: Chat, argument: str) -> None:
    remembrance = _remembrance(chat)
    verb, _, rest = argument.partition(" ")
    name, _, text = rest.strip().partition(" ")
    match verb:
        case "":
            known = await remembrance.everything()
            if known.facts:
                chat.show(profile_table(known.facts))
            if known.facts and known.items:
                chat.say("")
            if known.items:
                chat.show(memory_table(known.items))
            if not known:
                chat.quiet("nothing is remembered of you yet")
        case "forget" if name:
            gone = await remembrance.forget(name)
            chat.quiet(f"forgotten: {gone}")
        case "edit" if name:
            await remembrance.edit(name, text.strip())
            chat.quiet("changed")
        case _:
            raise CozyError(f"`/memory {argument}` says nothing to me", hint=COMMANDS["/memory"].usage)


@command("/model [NAME]", "which model answers, or another one from now on", words=_models)
async def _model(chat: Chat, name: str) -> None:
    conversation = chat.conversation
    if name == AUTO:
        conversation.model = None
    elif name:
        conversation.place.check_model(name)
        conversation.model = name
    first, *others = conversation.models
    rest = f", else {', '.join(others)}" if others else ""
    chat.quiet(f"{first}{rest}" + ("" if conversation.model else " (the personality's own)"))


@command("/reload", "read the personalities again")
async def _reload(chat: Chat, _: str) -> None:
    result = await chat.conversation.place.reload()
    if text := result.text():
        chat.say(text)
    if result.errors:
        chat.say("nothing was changed: mend these first", "yellow")
    else:
        chat.quiet(f"{len(chat.conversation.place.engine.library.ids())} personalities are in use now")


@command("/retry", "the last turn again, in its own place")
async def _retry(chat: Chat, _: str) -> None:
    chat.waiting = await chat.conversation.again()
    chat.quiet(f"again: {one_line(chat.waiting.text, chat.width - 8)}")


@command("/save-test [PATH]", "write a fixture for `cozy test` from the last turn")
async def _save_test(chat: Chat, path: str) -> None:
    chat.quiet(await chat.conversation.place.save_test(_last(chat), path or None))


@command("/quit", "leave; so does ctrl+d")
async def _quit(chat: Chat, _: str) -> None:
    chat.leaving = True


def _last(chat: Chat) -> Said:
    if chat.conversation.last is None:
        raise CozyError("nothing has been said yet")
    return chat.conversation.last


def _remembrance(chat: Chat) -> Remembrance:
    """What the engines of this personality remember."""
    place, engines = chat.conversation.place, chat.conversation.graph.persona.engines
    memories, profiles = place.memories[engines.memory], place.profiles[engines.profile]
    return Remembrance(memories, profiles, chat.conversation.user_id)
