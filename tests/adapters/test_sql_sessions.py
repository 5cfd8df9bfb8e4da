from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import pytest

from cozy.adapters.sql_sessions import SqlSessions
from cozy.adapters.sql_store import SqlStore
from cozy.errors import NotFound
from cozy.ports.sessions import SessionFilter, SessionPage, Words
from cozy.ports.store import Session, TurnRecord
from cozy.storage.database import Database
from cozy.turn import Message, SessionId, TurnId, UserId

WELCOME = Words("assistant", "你好！", metadata={"is_welcome": True})
NOON = datetime(2026, 1, 13, 12, 0, tzinfo=UTC)


@pytest.fixture
async def sessions(database: Database) -> SqlSessions:
    return SqlSessions(database)


@pytest.fixture
async def store(database: Database) -> SqlStore:
    return SqlStore(database)


@pytest.fixture
async def ann(store: SqlStore) -> UserId:
    return await store.user("ann")


@pytest.fixture
async def ben(store: SqlStore) -> UserId:
    return await store.user("ben")


def turn(session: Session, text: str, reply: str, tokens: int = 7) -> TurnRecord:
    said = (Message("user", text), Message("assistant", reply))
    id_ = TurnId(uuid4())
    return TurnRecord(id_, session.user_id, session.id, session.personality_id, said, "complete", tokens, {})


def titles(page: SessionPage) -> list[str | None]:
    return [session.title for session in page.sessions]


async def texts(store: SqlStore, user_id: UserId, session_id: SessionId) -> Sequence[str]:
    return [row.message.content for row in await store.messages(user_id, session_id)]


# making


async def test_a_session_is_made_with_its_first_messages(
    sessions: SqlSessions, store: SqlStore, ann: UserId
) -> None:
    made = await sessions.create(ann, "default", title="新会话", first=[WELCOME])
    assert await store.session(ann, made.id) == made
    assert (made.title, made.message_count, made.personality_id) == ("新会话", 1, "default")
    assert made.last_message_at == made.created_at
    [row] = await store.messages(ann, made.id)
    assert (row.message, row.metadata) == (Message("assistant", "你好！"), {"is_welcome": True})
    assert (row.position, row.created_at) == (0, made.created_at)


async def test_a_session_without_messages_has_no_last_one(sessions: SqlSessions, ann: UserId) -> None:
    made = await sessions.create(ann, "default")
    assert (made.title, made.message_count, made.last_message_at, made.archived_at) == (None, 0, None, None)


async def test_nobody_makes_a_session_for_a_user_who_does_not_exist(sessions: SqlSessions) -> None:
    with pytest.raises(NotFound, match="no user"):
        await sessions.create(UserId(uuid4()), "default", first=[WELCOME])


async def test_turns_go_on_after_the_first_messages(
    sessions: SqlSessions, store: SqlStore, ann: UserId
) -> None:
    made = await sessions.create(ann, "default", first=[WELCOME])
    await store.save_turn(turn(made, "hi", "hello"))
    assert await texts(store, ann, made.id) == ["你好！", "hi", "hello"]
    assert (await store.session(ann, made.id)).message_count == 3


# lists


@pytest.fixture
async def three(sessions: SqlSessions, store: SqlStore, ann: UserId) -> list[Session]:
    """Made in the order b, C, a; spoken in last: C."""
    made = [
        await sessions.create(ann, "default", title="b"),
        await sessions.create(ann, "coach", title="C"),
        await sessions.create(ann, "default", title="a"),
    ]
    await store.save_turn(turn(made[1], "hi", "hello"))
    return made


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        pytest.param(SessionFilter(), ["C", "a", "b"], id="last spoken in, newest first"),
        pytest.param(SessionFilter(order="asc"), ["b", "a", "C"], id="last spoken in, oldest first"),
        pytest.param(SessionFilter(sort="created_at"), ["a", "C", "b"], id="newest first"),
        pytest.param(SessionFilter(sort="title", order="asc"), ["a", "b", "C"], id="by title, case aside"),
        pytest.param(SessionFilter(personality_id="default"), ["a", "b"], id="of a personality"),
        pytest.param(SessionFilter(archived=True), [], id="archived"),
    ],
)
async def test_sessions_are_listed_as_asked(
    sessions: SqlSessions, ann: UserId, three: list[Session], which: SessionFilter, expected: list[str]
) -> None:
    page = await sessions.page(ann, which)
    assert (titles(page), page.total) == (expected, len(expected))


async def test_a_page_is_part_of_a_list_and_tells_of_all(
    sessions: SqlSessions, ann: UserId, three: list[Session]
) -> None:
    page = await sessions.page(ann, SessionFilter(sort="title", order="asc"), limit=1, offset=1)
    assert (titles(page), page.total) == (["b"], 3)
    beyond = await sessions.page(ann, limit=5, offset=100)
    assert (titles(beyond), beyond.total) == ([], 3)


async def test_sessions_of_another_user_are_in_no_list(
    sessions: SqlSessions, ben: UserId, three: list[Session]
) -> None:
    assert await sessions.page(ben) == SessionPage([], 0)


# changes


async def test_a_title_changes(sessions: SqlSessions, ann: UserId) -> None:
    made = await sessions.create(ann, "default", title="old")
    changed = await sessions.change(ann, made.id, title="睡眠 😴")
    assert changed.title == "睡眠 😴"
    assert changed.updated_at is not None
    assert made.updated_at is not None
    assert changed.updated_at >= made.updated_at


@pytest.mark.parametrize(
    ("before", "only_if", "after"),
    [
        pytest.param("新会话", ["新会话"], "tea", id="still that one"),
        pytest.param("mine", ["新会话", None], "mine", id="renamed meanwhile"),
        pytest.param(None, ["新会话", None], "tea", id="none, and none is meant too"),
        pytest.param(None, ["新会话"], None, id="none, and one is meant"),
    ],
)
async def test_a_title_is_set_only_where_it_is_what_it_was(
    sessions: SqlSessions, ann: UserId, before: str | None, only_if: list[str | None], after: str | None
) -> None:
    made = await sessions.create(ann, "default", title=before)
    changed = await sessions.change(ann, made.id, title="tea", only_if_title=only_if)
    assert changed.title == after
    assert (changed.updated_at == made.updated_at) == (before == after)


async def test_of_two_who_set_a_title_only_if_unchanged_one_wins(sessions: SqlSessions, ann: UserId) -> None:
    made = await sessions.create(ann, "default", title="新会话")
    found: list[str | None] = []

    async def name(title: str) -> None:
        found.append((await sessions.change(ann, made.id, title=title, only_if_title=["新会话"])).title)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(name, f"title {number}")
    assert len(set(found)) == 1


async def test_an_archived_session_leaves_the_list_and_comes_back(sessions: SqlSessions, ann: UserId) -> None:
    made = await sessions.create(ann, "default", title="tea")
    archived = await sessions.change(ann, made.id, archived=True)
    assert archived.archived_at is not None
    assert (await sessions.change(ann, made.id, archived=True)).archived_at == archived.archived_at
    assert (await sessions.page(ann)).total == 0
    assert titles(await sessions.page(ann, SessionFilter(archived=True))) == ["tea"]
    assert titles(await sessions.page(ann, SessionFilter(archived=None))) == ["tea"]
    assert (await sessions.change(ann, made.id, archived=False)).archived_at is None
    assert titles(await sessions.page(ann)) == ["tea"]


async def test_a_change_of_nothing_gives_the_session(sessions: SqlSessions, ann: UserId) -> None:
    made = await sessions.create(ann, "default", title="tea")
    assert await sessions.change(ann, made.id) == made


async def test_a_deleted_session_is_seen_nowhere(sessions: SqlSessions, store: SqlStore, ann: UserId) -> None:
    made = await sessions.create(ann, "default", first=[WELCOME])
    await sessions.delete(ann, made.id)
    assert (await sessions.page(ann, SessionFilter(archived=None))).total == 0
    for attempt in (
        lambda: sessions.delete(ann, made.id),
        lambda: sessions.change(ann, made.id, title="x"),
        lambda: sessions.append(ann, made.id, [WELCOME]),
        lambda: store.session(ann, made.id),
    ):
        with pytest.raises(NotFound):
            await attempt()


async def test_another_users_session_is_as_one_that_does_not_exist(
    sessions: SqlSessions, store: SqlStore, ann: UserId, ben: UserId
) -> None:
    made = await sessions.create(ann, "default", title="tea", first=[WELCOME])
    attempts: list[Callable[[SessionId], Awaitable[object]]] = [
        lambda id_: sessions.delete(ben, id_),
        lambda id_: sessions.change(ben, id_, title="x"),
        lambda id_: sessions.change(ben, id_),
        lambda id_: sessions.append(ben, id_, [WELCOME]),
        lambda id_: sessions.append(ben, id_, []),
    ]
    for session_id in (made.id, SessionId(uuid4())):
        for attempt in attempts:
            with pytest.raises(NotFound) as caught:
                await attempt(session_id)
            assert str(caught.value) == f"no session `{session_id}`"
    assert (await store.session(ann, made.id)) == made


# what no turn has said


async def test_words_are_added_at_the_end_in_their_order(
    sessions: SqlSessions, store: SqlStore, ann: UserId
) -> None:
    made = await sessions.create(ann, "default", first=[WELCOME])
    spoken = [
        Words("user", "几点了？", NOON, {"is_voice_call": True}),
        Words("assistant", "十二点。", NOON + timedelta(seconds=2), {"is_voice_call": True}),
    ]
    assert await sessions.append(ann, made.id, spoken) == 2
    await store.save_turn(turn(made, "hi", "hello"))
    rows = await store.messages(ann, made.id)
    assert [row.message.content for row in rows] == ["你好！", "几点了？", "十二点。", "hi", "hello"]
    assert [row.position for row in rows] == [0, 1, 2, 3, 4]
    assert [row.created_at for row in rows[1:3]] == [NOON, NOON + timedelta(seconds=2)]
    assert rows[1].metadata == {"is_voice_call": True}
    assert rows[1].turn_id != rows[2].turn_id
    assert (await store.session(ann, made.id)).message_count == 5


async def test_words_and_turns_at_once_never_take_one_anothers_place(
    sessions: SqlSessions, store: SqlStore, ann: UserId
) -> None:
    made = await sessions.create(ann, "default")
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            call = [Words("user", f"{number}?"), Words("assistant", f"{number}!")]
            tasks.start_soon(sessions.append, ann, made.id, call)
            tasks.start_soon(store.save_turn, turn(made, f"t{number}?", f"t{number}!"))
    said = await texts(store, ann, made.id)
    assert len(said) == 24
    assert all(
        answer == question.replace("?", "!") for question, answer in zip(said[::2], said[1::2], strict=True)
    )


async def test_no_words_are_nothing_new(sessions: SqlSessions, ann: UserId) -> None:
    made = await sessions.create(ann, "default")
    assert await sessions.append(ann, made.id, []) == 0
    assert await sessions.change(ann, made.id) == made


async def test_stats_count_what_a_user_has_and_every_token(
    sessions: SqlSessions, store: SqlStore, ann: UserId, ben: UserId
) -> None:
    first = await sessions.create(ann, "default", first=[WELCOME])
    second = await sessions.create(ann, "default")
    gone = await sessions.create(ann, "default", first=[WELCOME])
    await store.save_turn(turn(first, "hi", "hello", tokens=30))
    await store.save_turn(turn(second, "hi", "hello", tokens=12))
    await store.save_turn(turn(gone, "hi", "hello", tokens=100))
    await sessions.delete(ann, gone.id)
    stats = await sessions.stats(ann)
    assert (stats.sessions, stats.messages, stats.tokens) == (2, 5, 142)
    none = await sessions.stats(ben)
    assert (none.sessions, none.messages, none.tokens) == (0, 0, 0)
