"""Access and refresh tokens: JWTs, signed with HS256 and with nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import jwt
from jwt.utils import base64url_decode, base64url_encode

from cozy.adapters.account_rules import LONGEST_CREDENTIAL
from cozy.adapters.signing_keys import SigningKey
from cozy.errors import InvalidToken
from cozy.turn import UserId

_jwt: Any = jwt  # its own types know no key without the package `cryptography`, which HS256 does not need

ISSUER = "cozy"
ALGORITHM = "HS256"
LEEWAY = timedelta(seconds=10)
"""How far the clocks of two machines may differ."""

Kind = Literal["access", "refresh"]

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_CLAIMS = ("iss", "sub", "jti", "fam", "gen", "typ", "iat", "exp")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Neither a role nor a name: those are read where the user is."""

    kind: Kind
    user_id: UserId
    id: UUID
    family: UUID
    """The login that it came from."""
    generation: int
    """Of the user's tokens: a new password or a closed account begins a new one, and ends the others."""
    issued_at: datetime
    expires_at: datetime


def signed(claims: Claims, key: SigningKey) -> str:
    """The token itself."""
    values = {
        "iss": ISSUER,
        "sub": str(claims.user_id),
        "jti": claims.id.hex,
        "fam": claims.family.hex,
        "gen": claims.generation,
        "typ": claims.kind,
        "iat": int(claims.issued_at.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
    }
    return _jwt.encode(values, key.secret, ALGORITHM, headers={"kid": key.id})


def key_id_of(token: str) -> str:
    """Which key a token says it was signed with. Raises InvalidToken for what is no token of ours."""
    if len(token) > LONGEST_CREDENTIAL or not _SHAPE.fullmatch(token):
        raise InvalidToken("malformed")
    signature = token.rpartition(".")[2]
    # the last character has two bits that no decoder reads: one token is to have one spelling
    if base64url_encode(base64url_decode(signature)).decode() != signature:
        raise InvalidToken("malformed")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    key_id = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(key_id, str):
        raise InvalidToken("malformed")
    return key_id


def claims_of(token: str, key: SigningKey, kind: Kind, now: datetime) -> Claims:
    """What a token of this kind says, once its signature and its time are found good.

    Raises InvalidToken.
    """
    try:
        values: dict[str, Any] = _jwt.decode(
            token,
            key.secret,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            # the times are compared below, with the clock that also wrote them
            options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_aud": False},
        )
        claims = Claims(
            kind=values["typ"],
            user_id=UserId(UUID(values["sub"])),
            id=UUID(values["jti"]),
            family=UUID(values["fam"]),
            generation=int(values["gen"]),
            issued_at=datetime.fromtimestamp(values["iat"], UTC),
            expires_at=datetime.fromtimestamp(values["exp"], UTC),
        )
    except jwt.InvalidSignatureError:
        raise InvalidToken("signature") from None
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
        raise InvalidToken("malformed") from None
    if claims.kind != kind:
        raise InvalidToken("wrong kind")
    if claims.expires_at + LEEWAY <= now:
        raise InvalidToken("expired")
    return claims
