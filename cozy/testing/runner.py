"""Runs a fixture: the real engine and storage, and ports that do what the fixture says."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid5

import anyio

from cozy.adapters.engine_context import EngineContext
from cozy.adapters.extraction import Extractor
from cozy.adapters.scripted import ScriptedLLM, ScriptError
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.adapters.sql_audit import SqlAudit
from cozy.adapters.sql_effects import SqlEffects
from cozy.adapters.sql_knowledge import SqlKnowledge
from cozy.adapters.sql_memory import SqlMemories
from cozy.adapters.sql_profile import SqlProfiles
from cozy.adapters.sql_requests import SqlRequests
from cozy.adapters.sql_store import SqlStore
from cozy.adapters.sql_summaries import SqlSummaries
from cozy.adapters.token_counter import EstimatingTokens
from cozy.engine.engine import Engine, open_engine
from cozy.engine.learning import learning, summarizing
from cozy.engine.library import Library
from cozy.engine.worker import Worker
from cozy.events import Event, StageStarted, TextDelta, ToolStarted, TurnFinished
from cozy.ports import Ports
from cozy.ports.knowledge import Knowledge
from cozy.ports.llm import LLMRequest
from cozy.ports.store import TurnRecord
from cozy.stages.budget import exchanges
from cozy.storage.database import Database, open_database
from cozy.storage.migrate import upgrade
from cozy.storage.outbox import SqlOutbox
from cozy.storage.tables import messages, outbox
from cozy.testing.fixture import NOBODY, CutSpec, Fixture, TurnSpec, names
from cozy.testing.ports import DocumentKnowledge, FixtureStore, ListeningLLM, Trouble
from cozy.testing.reading import Case
from cozy.turn import Message, Sampling, SessionId, Turn, TurnId, UserId

LIMIT_S = 60.0
"""How long a fixture may take; one that hangs ends here."""
MAIN_USER, MAIN_SESSION = "ada", "main"
_IDS = UUID("6f2d3f0e-5a64-4c3c-9f54-0d9a4a3c1f10")
"""What ids of turns follow from, so that they are the same in every run."""
_turn_number: ContextVar[int] = ContextVar("turn_number", default=0)


@dataclass(frozen=True, slots=True)
class Row:
    """A message on disk."""

    turn_id: UUID
    session_id: UUID
    role: str
    status: str
    content: str
    tool_calls: Sequence[Mapping[str, str]]
    metadata: Mapping[str, Any]
    deleted: bool
    """Nobody sees it any more."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in the outbox."""

    turn_id: UUID
    target: str
    state: str
    last_error: str | None


@dataclass(slots=True)
class TurnOutcome:
    """What came of one turn."""

    number: int
    """From 1."""
    spec: TurnSpec
    turn: Turn
    events: list[Event] = field(default_factory=list[Event])
    requests: list[LLMRequest] = field(default_factory=list[LLMRequest])
    """What models were sent, in the order in which they were asked."""

    @property
    def said(self) -> str:
        """Every word of the answer that the reader got."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fixture."""

    case: Case
    turns: Sequence[TurnOutcome]
    rows: Sequence[Row]
    """Every message that is on disk, in the order of its session."""
    jobs: Sequence[QueuedJob]
    learned: Mapping[str, Sequence[str]]
    """What the engines know of each user when the worker has run."""
    requests: Sequence[LLMRequest]
    """What models were sent outside of turns: by the worker."""
    names: Mapping[UUID, str]
    """What ids are called: users, sessions, turns."""
    problems: Sequence[str]
    """Where the fixture does not fit what happened: replies that nobody asked for, and the like."""


@asynccontextmanager
async def migrated_file() -> AsyncGenerator[Path]:
    """A database without a row, to be copied for each fixture."""
    with TemporaryDirectory(prefix="cozy-test-") as folder:
        path = Path(folder) / "empty.db"
        await upgrade(f"sqlite:///{path}")
        yield path


async def run_case(case: Case, empty: Path) -> Outcome:
    """Run one fixture on a copy of the database `empty`. Raises TimeoutError for one that does not end."""
    with TemporaryDirectory(prefix="cozy-test-") as folder:
        file = shutil.copy(empty, Path(folder) / "cozy.db")
        with anyio.fail_after(LIMIT_S):
            async with open_database(f"sqlite:///{file}") as database:
                return await _Bench(case, database).run()


class _Bench:
    """One fixture's installation."""

    def __init__(self, case: Case, database: Database) -> None:
        fixture, self.case, self.database = case.fixture, case, database
        self.outcomes: list[TurnOutcome] = []
        self.requests: list[LLMRequest] = []
        self.users: dict[str, UserId] = {}
        self.sessions: dict[str, SessionId] = {}
        self.names: dict[UUID, str] = {}
        self.problems: list[str] = []
        self.model = ScriptedLLM(replies=fixture.model)
        llm = ListeningLLM(self.model, self._heard)
        extractor = Extractor(llm)
        self.plain = SqlStore(database)
        learns = fixture.worker == "run"
        self.memories = SqlMemories(database, extractor) if learns and fixture.memory is None else None
        self.profiles = SqlProfiles(database, extractor) if learns and fixture.profile is None else None
        knowledge = self._knowledge(fixture)
        profiles = self.profiles or ScriptedProfiles(fixture.profile)
        memories = self.memories or ScriptedMemories(fixture.memory)
        self.ports = Ports(
            llm=llm,
            tools=case.tools.toolbox,
            profiles=profiles,
            memories=memories,
            context=EngineContext.of(knowledge, profiles, memories, case.graph.persona.engines),
            store=FixtureStore(
                database, Trouble(fixture.store.history), Trouble(fixture.store.save), fixture.summary
            ),
            tokens=EstimatingTokens(),
            effects=SqlEffects(database),
            audit=SqlAudit(database),
        )

    def _knowledge(self, fixture: Fixture) -> Knowledge:
        self.documents = SqlKnowledge(self.database)
        if fixture.knowledge is not None and fixture.knowledge.documents:
            return DocumentKnowledge(self.documents, fixture.knowledge)
        return ScriptedKnowledge(fixture.knowledge)

    def _heard(self, request: LLMRequest) -> None:
        number = _turn_number.get()
        (self.outcomes[number - 1].requests if number else self.requests).append(request)

    async def run(self) -> Outcome:
        await self._fill()
        async with open_engine(Library([self.case.graph]), self.ports) as engine:
            for group in _groups(self.case.fixture.turns):
                said = [await self._turn(number, spec) for number, spec in group]
                async with anyio.create_task_group() as tasks:
                    for outcome in said:
                        tasks.start_soon(self._say, engine, outcome)
                if self.case.fixture.worker == "run":
                    await self._work()
        return Outcome(
            case=self.case,
            turns=self.outcomes,
            rows=await self._rows(),
            jobs=await self._jobs(),
            learned=await self._learned(),
            requests=self.requests,
            names=self.names,
            problems=tuple(self._script_problems()),
        )

    # -- before ----------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Put what the fixture says is there into the database."""
        fixture = self.case.fixture
        if fixture.knowledge is not None:
            for document in fixture.knowledge.documents:
                await self.documents.add(dataset=document.dataset, name=document.name, text=document.text)
        said = [spec.message for spec in fixture.history]
        if not said:
            return
        user, session = await self._user(MAIN_USER), await self._session(MAIN_USER, MAIN_SESSION)
        for i, exchange in enumerate(exchanges(said), 1):
            turn_id = TurnId(uuid5(_IDS, f"earlier turn {i}"))
            self.names[turn_id] = f"earlier turn {i}"
            await self.plain.save_turn(
                TurnRecord(turn_id, user, session, self.case.graph.id, exchange, "complete", 0, {})
            )

    async def _user(self, name: str) -> UserId:
        if name not in self.users:
            self.users[name] = user = await self.plain.user(name)
            self.names[user] = f"user {name}"
        return self.users[name]

    async def _session(self, user: str, name: str) -> SessionId | None:
        if name == NOBODY:
            return None
        if name not in self.sessions:
            made = await self.plain.create_session(await self._user(user), self.case.graph.id)
            self.sessions[name] = made.id
            self.names[made.id] = f"session {name}"
        return self.sessions[name]

    async def _turn(self, number: int, spec: TurnSpec) -> TurnOutcome:
        again = self.outcomes[spec.retry_of - 1].turn.id if spec.retry_of else None
        user = await self._user(spec.user)
        resumed = self.outcomes[spec.resumes - 1] if spec.resumes else None
        turn = Turn(
            text=spec.say,
            user_id=user,
            personality_id=self.case.graph.id,
            session_id=await self._session(spec.user, spec.session),
            channel=spec.channel,
            language=spec.language,
            history=spec.brought,
            client_system=spec.client_system,
            model=spec.model,
            retry_of=again,
            sampling=Sampling(**spec.sampling.model_dump()) if spec.sampling else None,
            tools=spec.client_tools,
            tool_choice=spec.tool_choice,
            rounds=await self._rounds(resumed) if resumed else (),
            results=tuple(result.message for result in spec.results),
            resumes=resumed.turn.id if resumed and resumed.turn.session_id else None,
            allowed_tools=names(spec.allowed_tools) if spec.allowed_tools else None,
            denied_tools=names(spec.denied_tools),
            personalized=spec.personalized,
            id=TurnId(uuid5(_IDS, f"turn {number}")),
            received_at=self.case.fixture.now,
        )
        self.names[turn.id] = f"turn {number}"
        self.outcomes.append(TurnOutcome(number, spec, turn))
        return self.outcomes[-1]

    async def _rounds(self, resumed: TurnOutcome) -> tuple[Message, ...]:
        """What has followed the user's message until a turn ended with calls of the client's tools."""
        turn, last = resumed.turn, resumed.events[-1]
        before = (*turn.rounds, *turn.results)
        if turn.session_id is not None:
            kept = await self.plain.messages(turn.user_id, turn.session_id)
            said = [row.message for row in kept if row.turn_id == turn.id]
            return (*before, *(m for m in said if m.role != "user" and m not in turn.results))
        if not isinstance(last, TurnFinished):
            return before
        calls = last.tool_calls
        hidden = await SqlRequests(self.database).pending(turn.user_id, [call.id for call in calls])
        return (*before, *(hidden or [Message("assistant", last.text, tool_calls=calls)]))

    # -- a turn ----------------------------------------------------------------------------------------

    async def _say(self, engine: Engine, outcome: TurnOutcome) -> None:
        _turn_number.set(outcome.number)
        interrupt, leave = outcome.spec.interrupt, outcome.spec.leave
        async with engine.run(outcome.turn) as running:
            async for event in running:
                outcome.events.append(event)
                if interrupt is not None and self._is_time(interrupt, event, outcome):
                    running.interrupt(interrupt.heard)
                    interrupt = None
                if leave is not None and self._is_time(leave, event, outcome):
                    leave = None
                    break
        if interrupt is not None or leave is not None:
            self.problems.append(f"turn {outcome.number} never came to where it is to be cut off")
        self.model.open(f"turn {outcome.number}")

    def _is_time(self, cut: CutSpec, event: Event, outcome: TurnOutcome) -> bool:
        if cut.tool is not None:
            return isinstance(event, ToolStarted) and event.name == cut.tool
        if cut.after:
            return isinstance(event, TextDelta) and cut.after in outcome.said
        nodes = self.case.graph.nodes
        return isinstance(event, StageStarted) and any(
            node.id == event.stage and node.info.speaks for node in nodes
        )

    # -- after -----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        names = self.case.graph.persona.engines
        worker = Worker(
            SqlOutbox(self.database),
            {
                **learning({names.memory: self.ports.memories}, {names.profile: self.ports.profiles}),
                "summary": summarizing(SqlSummaries(self.database, self.ports.llm)),
            },
            lease_s=LIMIT_S,
            max_attempts=1,
            at_once=1,  # so that models are asked in one order
        )
        await worker.drain(LIMIT_S)

    async def _learned(self) -> dict[str, Sequence[str]]:
        """What the embedded engines know of each user now."""
        learned: dict[str, Sequence[str]] = {}
        for name, user in self.users.items():
            if self.memories:
                learned[f"memory of {name}"] = [item.text for item in await self.memories.items(user)]
            if self.profiles:
                facts = await self.profiles.facts(user)
                learned[f"profile of {name}"] = [f"{f.topic}/{f.sub_topic}: {f.content}" for f in facts]
        return learned

    async def _rows(self) -> list[Row]:
        query = messages.select().order_by(messages.c.position)
        found = await self.database.read(lambda connection: connection.execute(query).all())
        return [
            Row(
                turn_id=row.turn_id,
                session_id=row.session_id,
                role=row.role,
                status=row.status,
                content=row.content,
                tool_calls=row.tool_calls or (),
                metadata=row.metadata,
                deleted=row.deleted_at is not None,
            )
            for row in found
        ]

    async def _jobs(self) -> list[QueuedJob]:
        query = outbox.select().order_by(outbox.c.seq)
        found = await self.database.read(lambda connection: connection.execute(query).all())
        # a job that is done has lost its payload; its id still tells whose it is
        turns = {uuid5(o.turn.id, r.target): o.turn.id for o in self.outcomes for r in found}
        # there is one engine of a kind here, and its name says nothing
        return [QueuedJob(turns[r.id], r.target.partition("/")[0], r.state, r.last_error) for r in found]

    def _script_problems(self) -> Iterator[str]:
        yield from self.problems
        for script in (self.model, self.case.tools.scripted):
            try:
                script.finish()
            except ScriptError as error:
                yield str(error)


def _groups(turns: Sequence[TurnSpec]) -> Iterator[list[tuple[int, TurnSpec]]]:
    """Turns with their numbers; those of one group are said at the same time."""
    group: list[tuple[int, TurnSpec]] = []
    for number, spec in enumerate(turns, 1):
        if group and not spec.together:
            yield group
            group = []
        group.append((number, spec))
    yield group
