"""Titles of conversations that nobody has named."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import anyio
import httpx2
import pytest

from cozy.interfaces.http.cozychat.titles import as_title, give_title
from cozy.ports.store import Session, TurnRecord
from cozy.turn import Message, Turn, TurnId, UserId
from tests.interfaces.http.serving import Served, served
from tests.upstream import Answer, Hold, Upstream, plain, says

PATH = "/v1/chat/completions"


@pytest.fixture
async def user(house: Served) -> UserId:
    return (await house.user("ann")).id


async def talked(
    house: Served, user: UserId, *, turns: int = 4, title: str | None = "新会话", personality: str = "mia"
) -> Session:
    """A conversation of some length."""
    session = await house.service.sessions.create(user, personality, title=title)
    for number in range(turns):
        said = (Message("user", f"我睡不着，第{number}次。怎么办？"), Message("assistant", f"试试{number}。"))
        record = TurnRecord(TurnId(uuid4()), user, session.id, personality, said, "complete", 1, {})
        await house.service.engine.ports.store.save_turn(record)
    return session


def turn_in(session: Session) -> Turn:
    return Turn("", session.user_id, session.personality_id, session_id=session.id)


async def title_of(house: Served, session: Session) -> str | None:
    return (await house.service.engine.ports.store.session(session.user_id, session.id)).title


async def test_a_long_conversation_is_named_by_its_personalitys_model(
    house: Served, user: UserId, up: Upstream
) -> None:
    session = await talked(house, user, turns=6)
    up.then(says("标题：《失眠", "怎么办》"))
    await give_title(house.service, turn_in(session))
    assert await title_of(house, session) == "失眠怎么办"
    [asked] = up.requests
    told = asked.body["messages"][-1]["content"]
    assert "第4次" in told  # the first ten messages
    assert "第5次" not in told


@pytest.mark.parametrize("turns", [1, 3])
async def test_a_short_conversation_has_no_subject_yet(
    house: Served, user: UserId, up: Upstream, turns: int
) -> None:
    session = await talked(house, user, turns=turns)
    await give_title(house.service, turn_in(session))
    assert await title_of(house, session) == "新会话"
    assert up.requests == []


async def test_a_conversation_that_has_a_name_keeps_it(house: Served, user: UserId, up: Upstream) -> None:
    session = await talked(house, user, title="mine")
    await give_title(house.service, turn_in(session))
    assert await title_of(house, session) == "mine"
    assert up.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(plain({"error": {"message": "no"}}, 500), id="fails"),
        pytest.param(says("！？"), id="says nothing"),
        pytest.param(says("失眠时可以：\n1. 喝牛奶\n2. 早睡\n3. 散步"), id="goes on with the conversation"),
    ],
)
async def test_where_the_model_finds_none_the_first_words_stand(
    house: Served, user: UserId, up: Upstream, answer: Answer
) -> None:
    session = await talked(house, user)
    up.then(answer)
    await give_title(house.service, turn_in(session))
    assert await title_of(house, session) == "我睡不着，第0次"


async def test_the_first_words_stand_while_the_model_thinks_and_a_rename_wins(
    house: Served, user: UserId, up: Upstream
) -> None:
    session = await talked(house, user)
    up.then(Answer((Hold("thinking"), *says("失眠").steps)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_title, house.service, turn_in(session))
        await up.reached("thinking")
        assert await title_of(house, session) == "我睡不着，第0次"
        await house.service.sessions.change(user, session.id, title="my own")
        up.open("thinking")
    assert await title_of(house, session) == "my own"


async def test_the_demo_model_is_not_asked(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url) as house:
        session = await talked(house, (await house.user("ann")).id, personality="default")
        await give_title(house.service, turn_in(session))
        assert await title_of(house, session) == "我睡不着，第0次"


async def test_the_front_end_finds_the_title_in_its_list(
    house: Served, ann: httpx2.AsyncClient, up: Upstream, user: UserId
) -> None:
    session = await talked(house, user, turns=3)
    up.then(says("好的"), says("睡眠"))
    sent = {
        "messages": [{"role": "user", "content": "谢谢"}],
        "personality_id": "mia",
        "session_id": str(session.id),
        "stream": True,
        "use_memory": True,
    }
    assert (await ann.post(PATH, json=sent)).status_code == 200
    with anyio.fail_after(30):
        while True:
            listed = (await ann.get("/v1/sessions", params={"page_size": 100})).json()["sessions"]
            [title] = [one["title"] for one in listed if one["session_id"] == str(session.id)]
            if title == "睡眠":
                break
            await anyio.sleep(0.02)


# words


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("睡眠", "睡眠"),
        ("“睡眠问题”。", "睡眠问题"),
        ("标题：《睡眠》", "睡眠"),
        ("**Title: Better sleep**", "Better sleep"),
        ("<think>what do they\nwant?</think>\nSleep", "Sleep"),
        ("<think>never ends", ""),
        ("新会话", ""),
        ("?!…", ""),
        ("", ""),
        ("a\nb\nc", ""),
        ("很" * 60, "很" * 50),
        ("长" * 101, ""),
        ("two   spaces\tand tabs", "two spaces and tabs"),
    ],
)
def test_what_a_model_answers_becomes_a_title_or_nothing(answer: str, title: str) -> None:
    assert as_title(answer) == title
