"""Memory and profile hold what each user said, and nothing that only another one did."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import cycle
from uuid import uuid4

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cozy.adapters.extraction import Extractor
from cozy.adapters.sql_memory import SqlMemories
from cozy.adapters.sql_profile import SqlProfiles
from cozy.adapters.sql_store import SqlStore
from cozy.storage.database import Database
from cozy.turn import UserId
from tests.adapters.teaching import AnsweringLLM, exchange

THINGS = ("rome", "oslo", "tea", "jazz", "rex", "lyon", "北京", "上海", "咖啡", "爬山", "花生", "小明")
FORMS = (
    *("my name is {}", "I live in {}", "I like {}", "I hate {}", "I'm allergic to {}", "call me {}"),
    *("remember that {} is great", "what is {}?", "she said I like {}", "{}"),
    *(
        "我叫{}",
        "我住在{}",
        "我喜欢{}",
        "我讨厌{}",
        "我对{}过敏",
        "请记住{}很好",
        "你知道{}吗？",
        "如果我住在{}",
    ),
)
words = st.lists(st.builds(str.format, st.sampled_from(FORMS), st.sampled_from(THINGS)), max_size=4)


def things_in(text: str) -> set[str]:
    return {thing for thing in THINGS if re.search(re.escape(thing), text, re.IGNORECASE)}


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(ada_said=["I live in rome"], bo_said=["I live in rome", "I like tea"])
@example(ada_said=["我住在北京"], bo_said=[])
@given(ada_said=words, bo_said=words)
async def test_nobody_meets_a_word_that_only_somebody_else_said(
    database: Database, ada_said: Sequence[str], bo_said: Sequence[str]
) -> None:
    store, extractor = SqlStore(database), Extractor(AnsweringLLM())
    memories, profiles = SqlMemories(database, extractor), SqlProfiles(database, extractor)
    said = {await store.user(f"user-{uuid4()}"): ada_said, await store.user(f"user-{uuid4()}"): bo_said}
    for user_id, sentences in said.items():
        for sentence in sentences:
            await memories.learn(exchange(user_id, sentence, f"So you said: {sentence}"))
            await profiles.learn(exchange(user_id, sentence, f"So you said: {sentence}"))
    for user_id, sentences in said.items():
        own = things_in(" ".join(sentences))
        assert things_in(await everything_about(user_id, memories, profiles)) <= own


async def everything_about(user_id: UserId, memories: SqlMemories, profiles: SqlProfiles) -> str:
    seen = [f"{fact.topic} {fact.sub_topic} {fact.content}" for fact in await profiles.facts(user_id)]
    for query in ("", " ".join(THINGS), *map(str.format, FORMS, cycle(THINGS))):
        seen += [item.text for item in await memories.search(query, user_id=user_id, top_k=100)]
    seen += [item.text for item in await memories.items(user_id)]
    return "\n".join(seen)
