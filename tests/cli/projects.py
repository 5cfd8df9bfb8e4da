"""Projects on disk for servers that are processes of their own."""

from __future__ import annotations

from pathlib import Path

from cozy.adapters.identity import open_identity
from cozy.adapters.memory_limits import MemoryLimits
from cozy.settings import AuthSettings
from cozy.storage.database import open_database

TALK = """\
stages:
  history:
    type: fetch_context
    source: history
  prompt:
    type: render_prompt
  answer:
    type: llm
  save:
    type: persist
"""


async def key_of(url: str) -> str:
    """An API key of a new user, `ada`, in the database at `url`."""
    async with (
        open_database(url) as database,
        open_identity(database, AuthSettings(), MemoryLimits()) as identity,
    ):
        ada = await identity.create_user("ada")
        _, words = await identity.create_key(ada.id, "test")
        return words


def project(folder: Path, model_url: str, database_url: str, *, server: str = "") -> None:
    """A project with `mia`, who speaks for the model at `model_url`; `server` is that section's lines."""
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "talk.yaml").write_text(TALK, "utf-8")
    (folder / "personalities").mkdir()
    (folder / "personalities" / "mia.yaml").write_text(
        "id: mia\nname: Mia\nprompt: You are Mia.\nmodel:\n  name: house/fake\npipeline: talk\n", "utf-8"
    )
    (folder / "cozy.toml").write_text(
        f'[providers.house]\nbase_url = "{model_url}"\n[database]\nurl = "{database_url}"\n'
        f"[limits]\nper_address = 0\nper_user = 0\nper_key = 0\n[server]\n{server}\n",
        "utf-8",
    )
