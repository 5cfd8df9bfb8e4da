"""The secrets that tokens are signed with: from the environment, or else from the database."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol

import anyio
from sqlalchemy import Connection, bindparam, delete, insert, select

from cozy.adapters.sql_locks import alone
from cozy.errors import ConfigError, Conflict
from cozy.storage.database import Database
from cozy.storage.schema import utc_now
from cozy.storage.tables import signing_keys

VARIABLE = "COZY_JWT_KEYS"
SHORTEST_BYTES = 32
"""RFC 7518, section 3.2: a key for HS256 is as long as its hash, or longer."""
RELOAD_S = 60.0
"""After so long a key that another process has made is signed with here too."""
PATIENCE_S = 1.0
"""The database is asked for unknown ids at most so often; whoever brings one waits that long."""

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HINT = f"write `{VARIABLE}` as `id=secret`, several with commas; the first signs"


@dataclass(frozen=True, slots=True)
class SigningKey:
    id: str
    secret: bytes = field(repr=False)


class SigningKeys(Protocol):
    async def current(self) -> SigningKey:
        """What new tokens are signed with."""
        ...

    async def named(self, key_id: str) -> SigningKey | None: ...

    async def rotate(self) -> str:
        """Sign with a new one from now on; gives its id."""
        ...


def signing_keys_from(
    environ: Mapping[str, str],
    database: Database,
    *,
    lifetime_s: float,
    now: Callable[[], datetime] = utc_now,
) -> SigningKeys:
    """Those of `COZY_JWT_KEYS`, or else those of the database. Raises ConfigError, without the secrets."""
    written = environ.get(VARIABLE, "")
    if written.strip():
        return EnvironmentKeys(_read(written))
    return SqlSigningKeys(database, lifetime_s=lifetime_s, now=now)


def check_environment(environ: Mapping[str, str]) -> None:
    """Raises ConfigError for what `COZY_JWT_KEYS` cannot be, without the secrets."""
    if (written := environ.get(VARIABLE, "")).strip():
        _read(written)


def _read(written: str) -> Sequence[SigningKey]:
    keys: dict[str, SigningKey] = {}
    for place, entry in enumerate(written.split(","), start=1):
        key_id, found, secret = entry.strip().partition("=")
        if not found or not _KEY_ID.fullmatch(key_id):
            raise ConfigError(f"`{VARIABLE}`: entry {place} does not begin with an id and `=`", hint=_HINT)
        if len(secret.encode("utf-8", "surrogateescape")) < SHORTEST_BYTES:
            raise ConfigError(
                f"`{VARIABLE}`: the secret of entry {place} has fewer than {SHORTEST_BYTES} bytes",
                hint="make one with `python -c 'import secrets; print(secrets.token_urlsafe(48))'`",
            )
        if key_id in keys:
            raise ConfigError(f"`{VARIABLE}`: the id of entry {place} is there twice", hint=_HINT)
        keys[key_id] = SigningKey(key_id, secret.encode("utf-8", "surrogateescape"))
    return list(keys.values())


class EnvironmentKeys:
    """Fills SigningKeys from what an operator hands to every process alike."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._keys = {key.id: key for key in keys}
        self._current = keys[0]

    async def current(self) -> SigningKey:
        return self._current

    async def named(self, key_id: str) -> SigningKey | None:
        return self._keys.get(key_id)

    async def rotate(self) -> str:
        raise Conflict(
            f"the signing keys come from `{VARIABLE}`",
            hint="put a new `id=secret,` at its beginning; take the old one out when its tokens have ended",
        )


_KEYS = select(signing_keys.c.kid, signing_keys.c.secret, signing_keys.c.created_at).order_by(
    signing_keys.c.created_at.desc(), signing_keys.c.kid
)
_FORGET = delete(signing_keys).where(signing_keys.c.kid == bindparam("id"))


class SqlSigningKeys:
    """Fills SigningKeys from the database; the first is made when it is needed.

    An old key is deleted by the first `rotate` after `lifetime_s`, the longest that a token may live, has
    gone by since it was last signed with.
    """

    def __init__(
        self, database: Database, *, lifetime_s: float, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._kept = timedelta(seconds=lifetime_s + RELOAD_S)
        self._now = now
        self._keys: dict[str, SigningKey] = {}
        self._loading = anyio.Lock()
        self._loaded_at = float("-inf")

    async def current(self) -> SigningKey:
        if (oldest := monotonic() - RELOAD_S) > self._loaded_at:
            await self._load_since(oldest)
        if not self._keys:
            self._take(await self._database.write(lambda connection: self._made(connection, first=True)))
        return next(iter(self._keys.values()))

    async def named(self, key_id: str) -> SigningKey | None:
        if key_id not in self._keys and _KEY_ID.fullmatch(key_id):
            await self._load_since(monotonic())
        return self._keys.get(key_id)

    async def rotate(self) -> str:
        keys = await self._database.write(lambda connection: self._made(connection, first=False))
        self._take(keys)
        return keys[0].id

    async def _load_since(self, moment: float) -> None:
        """Read them, unless somebody has begun to since `moment`: whoever comes meanwhile shares one read."""
        async with self._loading:
            if self._loaded_at >= moment:
                return
            await anyio.sleep(max(0.0, self._loaded_at + PATIENCE_S - monotonic()))
            began = monotonic()
            rows = await self._database.read(lambda connection: connection.execute(_KEYS).all())
            self._take([SigningKey(row[0], row[1].encode()) for row in rows])
            self._loaded_at = began

    def _take(self, keys: Sequence[SigningKey]) -> None:
        self._keys = {key.id: key for key in keys}

    def _made(self, connection: Connection, *, first: bool) -> Sequence[SigningKey]:
        """All keys, the new one foremost; with `first` one is made only where there is none."""
        alone(connection, "signing keys")
        rows = connection.execute(_KEYS).all()
        if not (first and rows):
            now = self._now()
            # later than its predecessor, whatever the clocks of two machines say
            made_at = max(now, rows[0][2] + timedelta(microseconds=1)) if rows else now
            row = (secrets.token_hex(8), secrets.token_urlsafe(48), made_at)
            connection.execute(insert(signing_keys).values(row))
            rows = [row, *rows]
        kept = [
            old
            for place, old in enumerate(rows)
            # the one before it in the list has followed it, and it has not been signed with since
            if place == 0 or rows[place - 1][2] + self._kept > self._now()
        ]
        for row in rows[len(kept) :]:
            connection.execute(_FORGET, {"id": row[0]})
        return [SigningKey(row[0], row[1].encode()) for row in kept]
