"""Passwords, hashed with argon2id: slow on purpose, so in worker threads, and only a few at once."""

from __future__ import annotations

import secrets
import unicodedata
from base64 import b64encode

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

AT_ONCE = 2
"""Each takes a whole core for a fifth of a second, and 64 MiB."""


class Argon2Passwords:
    """The defaults are RFC 9106's for machines without memory to spare."""

    def __init__(self, *, time_cost: int = 3, memory_kib: int = 65_536, lanes: int = 4) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=lanes)
        self._limiter = CapacityLimiter(AT_ONCE)
        salt, answer = (
            b64encode(secrets.token_bytes(size)).decode().rstrip("=")
            for size in (self._hasher.salt_len, self._hasher.hash_len)
        )
        # what no password gives: comparing with it takes as long as with somebody's
        self._nobodys = f"$argon2id$v=19$m={memory_kib},t={time_cost},p={lanes}${salt}${answer}"

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await to_thread.run_sync(self._hasher.hash, _bytes(password), limiter=self._limiter)

    async def verify(self, kept: str | None, password: str | None) -> bool:
        """Whether it is the one; where there is nothing to compare, it takes the same time to say no."""
        stored, given = kept or self._nobodys, password or ""
        fits = await to_thread.run_sync(self._verify, stored, given, limiter=self._limiter)
        return fits and kept is not None and password is not None

    def is_stale(self, kept: str) -> bool:
        """Whether it was hashed with other costs than are set now."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, _bytes(password))
        except (VerificationError, ValueError):  # ValueError: it is no hash at all
            return False


def _bytes(password: str) -> bytes:
    # RFC 8265: keyboards write the same letter in one code point or in two
    return unicodedata.normalize("NFC", password).encode()
