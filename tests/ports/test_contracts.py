"""Every engine that comes with Cozy holds to the contract of its port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cozy.adapters.extraction import Extractor
from cozy.adapters.mem0_memory import Mem0Memories, Mem0PlatformMemories
from cozy.adapters.memobase_profile import MemobaseProfiles
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.adapters.sql_knowledge import SqlKnowledge
from cozy.adapters.sql_memory import SqlMemories
from cozy.adapters.sql_profile import SqlProfiles
from cozy.adapters.sql_store import SqlStore
from cozy.ports.knowledge import KnowledgeBase
from cozy.storage.database import Database, open_database
from cozy.testing.contracts import (
    DOCUMENTS,
    Contract,
    KnowledgeContract,
    MemoriesContract,
    ProfilesContract,
    ScriptedKnowledgeContract,
    ScriptedMemoriesContract,
    ScriptedProfilesContract,
)
from cozy.turn import UserId
from tests.adapters.teaching import AnsweringLLM
from tests.engines import opened
from tests.engines.fake_cognee import fake_cognee
from tests.engines.fake_mem0 import fake_mem0, fake_mem0_platform
from tests.engines.fake_memobase import fake_memobase


class Stored(Contract):
    """Users are known in the database."""

    database: Database

    async def new_user(self) -> UserId:
        self.users = getattr(self, "users", 0) + 1
        return await SqlStore(self.database).user(f"user {self.users}")


class OnSqlite(Stored):
    @pytest.fixture(autouse=True)
    async def _database(self, sqlite_url: str) -> AsyncIterator[None]:
        async with open_database(sqlite_url) as self.database:
            yield


class OnBoth(Stored):
    @pytest.fixture(autouse=True)
    async def _database(self, database: Database) -> None:
        self.database = database


async def filled(knowledge: KnowledgeBase) -> KnowledgeBase:
    for (dataset, name), text in DOCUMENTS.items():
        await knowledge.add(dataset=dataset, name=name, text=text)
    return knowledge


class TestSqlKnowledge(OnBoth, KnowledgeContract):
    @pytest.fixture
    async def knowledge(self, _database: None) -> KnowledgeBase:
        return await filled(SqlKnowledge(self.database))


class TestCogneeKnowledge(OnSqlite, KnowledgeContract):
    @pytest.fixture
    async def knowledge(self, _database: None) -> AsyncIterator[KnowledgeBase]:
        async with fake_cognee() as fake, opened.cognee(fake, self.database) as knowledge:
            yield await filled(knowledge)


class TestScriptedKnowledge(ScriptedKnowledgeContract):
    @pytest.fixture
    def knowledge(self) -> ScriptedKnowledge:
        passages = [
            {"text": text, "source": name, "dataset": dataset, "score": 1 / place}
            for place, ((dataset, name), text) in enumerate(DOCUMENTS.items(), 1)
        ]
        return ScriptedKnowledge({"passages": passages})


class TestSqlMemories(OnBoth, MemoriesContract):
    @pytest.fixture
    def memories(self, _database: None) -> SqlMemories:
        return SqlMemories(self.database, Extractor(AnsweringLLM()))


class TestMem0Memories(OnSqlite, MemoriesContract):
    @pytest.fixture
    async def memories(self, _database: None) -> AsyncIterator[Mem0Memories | Mem0PlatformMemories]:
        async with fake_mem0() as fake, opened.mem0(fake, self.database) as memories:
            yield memories


class TestMem0PlatformMemories(OnSqlite, MemoriesContract):
    @pytest.fixture
    async def memories(self, _database: None) -> AsyncIterator[Mem0Memories | Mem0PlatformMemories]:
        async with (
            fake_mem0_platform() as fake,
            opened.mem0(fake, self.database, "mem0_platform") as memories,
        ):
            yield memories


class TestScriptedMemories(ScriptedMemoriesContract):
    @pytest.fixture
    def memories(self) -> ScriptedMemories:
        items = [{"text": "The user drinks water", "score": 0.9}, {"text": "The user swims", "score": 0.4}]
        return ScriptedMemories({"items": items})


class TestSqlProfiles(OnBoth, ProfilesContract):
    @pytest.fixture
    def profiles(self, _database: None) -> SqlProfiles:
        return SqlProfiles(self.database, Extractor(AnsweringLLM()))


class TestMemobaseProfiles(OnSqlite, ProfilesContract):
    @pytest.fixture
    async def profiles(self, _database: None) -> AsyncIterator[MemobaseProfiles]:
        async with fake_memobase() as fake, opened.memobase(fake, self.database) as profiles:
            yield profiles


class TestScriptedProfiles(ScriptedProfilesContract):
    @pytest.fixture
    def profiles(self) -> ScriptedProfiles:
        facts = [{"sub_topic": "name", "content": "Ada"}, {"sub_topic": "city", "content": "Rome"}]
        return ScriptedProfiles({"facts": facts})
