"""`/save-test`: the last turn of a chat as a fixture for `cozy test`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cozy.errors import CozyError
from cozy.testing import FOLDER
from cozy.testing.recording import Recorder

if TYPE_CHECKING:
    from cozy.app import App
    from cozy.interfaces.repl.conversation import Said
    from cozy.ports.store import StoredMessage

ROWS = 100
"""How much of the session's history a fixture takes along."""


async def save_test(app: App, recorder: Recorder, said: Said, path: str | None) -> str:
    """Write the fixture of a turn; gives what to tell. Raises CozyError where it cannot be written."""
    from cozy.testing.recorded import fixture_of
    from cozy.testing.write import to_yaml

    turn = said.turn
    summary = await app.store.summary(turn.user_id, turn.session_id) if turn.session_id else ""
    fixture = fixture_of(turn, said.events, recorder, await _before(app, said), summary)
    file = _file(app.settings.root, path, said)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8", newline="\n") as out:
            out.write(to_yaml(fixture))
    except FileExistsError:
        raise CozyError(f"{file} is there already", hint="name another one") from None
    except OSError as error:
        raise CozyError(f"{file} cannot be written: {error.strerror}") from None
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"wrote {shown}; run `cozy test --update {shown}`, read the snapshot, keep both"


async def _before(app: App, said: Said) -> list[StoredMessage]:
    """What the session held when the turn was said."""
    turn = said.turn
    if turn.session_id is None:
        return []
    rows = await app.store.messages(turn.user_id, turn.session_id, limit=ROWS)
    return [row for row in rows if row.turn_id not in (turn.id, turn.retry_of)]


def _file(root: Path, path: str | None, said: Said) -> Path:
    """A name alone is one in the project's folder of fixtures; none is made up from what was said."""
    if path is None:
        words = re.findall(r"[a-z0-9]+", said.turn.text.lower())[:5]
        path = "_".join(words) or f"{said.turn.personality_id}_{said.turn.received_at:%Y%m%d_%H%M%S}"
    file = Path.cwd() / path if "/" in path or "\\" in path else root / FOLDER / path
    return file if file.suffix in (".yaml", ".yml") else file.with_name(f"{file.name}.yaml")
