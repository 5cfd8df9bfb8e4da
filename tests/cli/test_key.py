"""`cozy key`: what programs come in with."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from cozy.adapters.identity import open_identity
from cozy.adapters.memory_limits import MemoryLimits
from cozy.errors import InvalidToken
from cozy.ports.identity import Caller
from cozy.settings import AuthSettings
from cozy.storage.database import open_database
from cozy.storage.schema import utc_now
from tests.cli.terminal import called
from tests.cli.test_user import audited


@pytest.fixture
def ann(here: Path) -> str:
    return called("user", "create", "ann", "--no-password").out.strip()


def caller_of(here: Path, key: str) -> Caller:
    """Whom a server of this project takes it for."""

    async def ask() -> Caller | InvalidToken:
        async with (
            open_database(f"sqlite:///{here / 'data' / 'cozy.db'}") as database,
            open_identity(database, AuthSettings(), MemoryLimits()) as identity,
        ):
            try:
                return await identity.authenticate(key)
            except InvalidToken as error:
                return error

    found = anyio.run(ask)
    if isinstance(found, InvalidToken):
        raise found
    return found


def test_the_life_of_a_key(here: Path, ann: str) -> None:
    assert "cozy key create" in called("key", "list").err
    made = called("key", "create", "ann", "--name", "laptop", "--expires", "90d")
    assert re.fullmatch(r"cozy_[A-Za-z0-9_-]{43}\n", made.out), "the key alone, for a script to take"
    key = made.out.strip()
    assert made.err.startswith("made `laptop` for chat, account, until ")
    caller = caller_of(here, key)
    assert (str(caller.user_id), caller.scopes) == (ann, {"chat", "account"})

    (listed,) = json.loads(called("key", "list", "ann", "--json").out)
    assert (listed["username"], listed["name"], listed["revoked_at"]) == ("ann", "laptop", None)
    ends = datetime.fromisoformat(listed["expires_at"]) - utc_now()
    assert timedelta(days=89) < ends < timedelta(days=91)
    shown = called("key", "list").out
    assert key[:12] in shown
    assert "good until" in shown
    assert key not in shown

    called("key", "create", "ann", "--scope", "chat")
    revoked = called("key", "revoke", key[:12])
    assert (revoked.code, revoked.err) == (0, f"revoked `laptop` of `ann` ({key[:12]}…)\n")
    with pytest.raises(InvalidToken):
        caller_of(here, key)
    states = [line.split()[-1] for line in called("key", "list", "ann").out.splitlines()[1:]]
    assert states == ["good", "revoked"]

    events = audited(here)
    assert [what for what, _ in events] == ["user.created", "key.created", "key.created", "key.revoked"]
    assert events[1][1]["scopes"] == ["chat", "account"]
    assert key[12:] not in repr(events)


@pytest.mark.parametrize("spelled", ["id", "prefix", "as listed", "whole"])
def test_a_key_is_revoked_by_whatever_names_it(here: Path, ann: str, spelled: str) -> None:
    key = called("key", "create", "ann").out.strip()
    (listed,) = json.loads(called("key", "list", "--json").out)
    given = {"id": listed["id"], "prefix": key[:12], "as listed": f"{key[:12]}…", "whole": key}[spelled]
    assert called("key", "revoke", given).code == 0
    with pytest.raises(InvalidToken):
        caller_of(here, key)


@pytest.mark.parametrize("given", ["", "cozy_", "cozy_AAAAAAA", "cozy_" + "A" * 43, "x"])
def test_what_names_no_key_revokes_none(here: Path, ann: str, given: str) -> None:
    key = called("key", "create", "ann").out.strip()
    done = called("key", "revoke", given)
    assert (done.code, done.err.startswith("error: no key")) == (1, True)
    assert "A" * 20 not in done.err
    caller_of(here, key)


def test_an_admins_scope_is_for_admins(here: Path, ann: str) -> None:
    refused = called("key", "create", "ann", "--scope", "admin")
    assert (refused.code, refused.out) == (1, "")
    assert "`admin` is not allowed" in refused.err
    called("user", "role", "ann", "admin")
    key = called("key", "create", "ann", "--scope", "admin", "--scope", "chat").out.strip()
    assert caller_of(here, key).scopes == {"admin", "chat"}


@pytest.mark.parametrize("span", ["", "0d", "-1d", "1", "d", "1y", "1.5d", "99999999w", "tomorrow"])
def test_a_time_that_is_none_is_told(here: Path, span: str) -> None:
    done = called("key", "create", "ann", "--expires", span)
    assert done.code == 2
    assert "write `90d`" in done.err


def test_a_key_is_for_somebody(here: Path) -> None:
    assert called("key", "create", "nobody").err.startswith("error: no user `nobody`")
    assert called("key", "list", "nobody").err.startswith("error: no user `nobody`")


def test_a_new_signing_key_is_made_and_its_secret_is_not_shown(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (called("key", "rotate-signing") for _ in range(2))
    assert re.fullmatch(r"[0-9a-f]{16}\n", first.out)
    assert first.out != second.out
    assert [what for what, _ in audited(here)] == ["signing_key.rotated"] * 2
    monkeypatch.setenv("COZY_JWT_KEYS", "k=" + "s" * 32)
    refused = called("key", "rotate-signing")
    assert (refused.code, "COZY_JWT_KEYS" in refused.err, "sss" in refused.err) == (1, True, False)
