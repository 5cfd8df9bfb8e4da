"""A long conversation keeps its beginning: the whole way from the turn to the next turn's prompt."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from cozy.app import App, open_app
from cozy.configuration import load_settings
from cozy.engine.preview import previews
from cozy.ports.store import Session, TurnRecord
from cozy.storage.outbox import SqlOutbox
from cozy.turn import Message, Turn, TurnId

MIA = "id: mia\nname: 米娅\nlanguage: zh-CN\nprompt: 你叫米娅。\nmodel:\n  name: demo/demo\n"


async def said_before(app: App, session: Session, turns: int) -> None:
    """So many turns on disk, whose first tells something worth keeping."""
    for i in range(turns):
        text = "我叫小明，对青霉素过敏" if i == 0 else f"今天第{i}次喝茶"
        said = (Message("user", text), Message("assistant", "好的。"))
        record = TurnRecord(TurnId(uuid4()), session.user_id, session.id, "mia", said, "complete", 0, {})
        await app.store.save_turn(record)


async def prompt_of(app: App, session: Session) -> str:
    """What a model would be sent now."""
    turn = Turn("我能吃什么药？", session.user_id, "mia", session.id, personalized=False)
    (preview,) = await previews(app.engine.library.graph("mia"), turn, app.engine.ports)
    return "\n".join(message.content for message in preview.prompt.messages)


@pytest.mark.parametrize(("turns", "is_kept"), [(40, True), (5, False)])
async def test_what_was_said_at_the_start_of_a_long_session_is_in_the_prompt(
    turns: int, is_kept: bool, tmp_path: Path
) -> None:
    (tmp_path / "personalities").mkdir()
    (tmp_path / "personalities" / "mia.yaml").write_text(MIA, encoding="utf-8")
    async with open_app(load_settings(tmp_path, {})) as app:
        session = await app.store.create_session(await app.store.user("ada"), "mia")
        await said_before(app, session, turns - 1)
        assert ("青霉素" in await prompt_of(app, session)) is not is_kept
        last = Turn("再来一杯", session.user_id, "mia", session.id)
        async with app.engine.run(last) as running:
            async for _ in running:
                pass
        with anyio.fail_after(30):
            while await SqlOutbox(app.database).depth():
                await anyio.sleep(0.01)
        prompt = await prompt_of(app, session)
        assert ("此前的对话：用户说：我叫小明，对青霉素过敏\n" in prompt) is is_kept
        assert prompt.count("青霉素") == 1
