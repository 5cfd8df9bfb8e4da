from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cozy.adapters.jwt_tokens import LEEWAY, Claims, claims_of, key_id_of, signed
from cozy.adapters.signing_keys import SigningKey
from cozy.errors import InvalidToken
from cozy.turn import UserId

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEY = SigningKey("k1", b"s" * 43)
CLAIMS = Claims("access", UserId(UUID(int=1)), UUID(int=2), UUID(int=3), 4, NOW, NOW + timedelta(hours=1))
TOKEN = signed(CLAIMS, KEY)
VALUES: dict[str, Any] = jwt.decode(TOKEN, options={"verify_signature": False})


def reads(token: str, now: datetime = NOW) -> Claims:
    """As whoever gets a token reads it."""
    if key_id_of(token) != KEY.id:
        raise InvalidToken("unknown key")
    return claims_of(token, KEY, "access", now)


def refusal(token: str, now: datetime = NOW) -> str:
    with pytest.raises(InvalidToken) as raised:
        reads(token, now)
    return raised.value.reason


def made(values: dict[str, Any], secret: bytes = KEY.secret, **header: Any) -> str:
    return jwt.encode(values, secret, "HS256", headers={"kid": KEY.id} | header)


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_token_says_what_was_signed() -> None:
    assert reads(TOKEN) == CLAIMS
    assert jwt.get_unverified_header(TOKEN) == {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    assert VALUES.keys() == {"iss", "sub", "jti", "fam", "gen", "typ", "iat", "exp"}
    assert VALUES["iss"] == "cozy"


def test_it_ends_with_a_few_seconds_of_grace_for_clocks() -> None:
    assert reads(TOKEN, CLAIMS.expires_at + LEEWAY - timedelta(seconds=1)) == CLAIMS
    assert refusal(TOKEN, CLAIMS.expires_at + LEEWAY) == "expired"
    assert reads(TOKEN, NOW - timedelta(minutes=1)) == CLAIMS, "the clock that wrote it was ahead"


def test_a_refresh_token_is_no_access_token_and_the_other_way_round() -> None:
    refresh = signed(Claims("refresh", *[getattr(CLAIMS, name) for name in list(Claims.__slots__)[1:]]), KEY)
    assert refusal(refresh) == "wrong kind"
    assert claims_of(refresh, KEY, "refresh", NOW).kind == "refresh"
    with pytest.raises(InvalidToken, match="not valid"):
        claims_of(TOKEN, KEY, "refresh", NOW)


def test_another_secret_is_another_installation() -> None:
    assert refusal(made(VALUES, b"x" * 43)) == "signature"
    assert refusal(made(VALUES | {"iss": "other"})) == "malformed"


@pytest.mark.parametrize("name", sorted(VALUES))
def test_every_claim_is_needed(name: str) -> None:
    assert refusal(made({k: v for k, v in VALUES.items() if k != name})) == "malformed"


@pytest.mark.parametrize(
    "wrong", [None, "", "x", [], {}, [1], True, -(10**30), float("inf"), float("nan"), "\ud800", "x" * 1000]
)
@pytest.mark.parametrize("name", ["sub", "jti", "fam", "gen", "typ", "iat", "exp"])
def test_claims_of_any_type_are_refused_or_read(name: str, wrong: Any) -> None:
    token = made(VALUES | {name: wrong})
    with suppress(InvalidToken):
        assert reads(token).user_id == CLAIMS.user_id


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "RS256", "ES256", "HS384", "HS512", "", None, 5]
)
@pytest.mark.parametrize("signature", ["", TOKEN.rpartition(".")[2]], ids=["unsigned", "signed"])
def test_no_other_algorithm_is_taken(algorithm: object, signature: str) -> None:
    header = {"alg": algorithm, "typ": "JWT", "kid": KEY.id}
    with pytest.raises(InvalidToken) as raised:
        reads(f"{part(header)}.{part(VALUES)}.{signature}")
    assert raised.value.reason == "malformed"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_our_own_secret_does_not_help_another_algorithm(algorithm: str) -> None:
    token = jwt.encode(VALUES, KEY.secret * 2, algorithm, headers={"kid": KEY.id})
    with pytest.raises(InvalidToken):
        claims_of(token, KEY, "access", NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256"},
        {"alg": "HS256", "kid": None},
        {"alg": "HS256", "kid": 5},
        {"alg": "HS256", "kid": ["k1"]},
        {"alg": "HS256", "kid": {"k1": 1}},
        {"alg": "HS256", "kid": "k1", "crit": ["exp"]},
        {"alg": "HS256", "kid": "k1", "b64": False},
        [],
        "HS256",
        None,
        5,
    ],
    ids=repr,
)
def test_a_header_that_is_not_ours_is_refused(header: object) -> None:
    with pytest.raises(InvalidToken):
        reads(f"{part(header)}.{part(VALUES)}.{TOKEN.rpartition('.')[2]}")


@pytest.mark.parametrize("key_id", ["../../etc/passwd", "' OR 1=1 --", "\x00", "k" * 1500, "小明"])
def test_an_id_is_handed_on_as_it_is(key_id: str) -> None:
    assert key_id_of(made(VALUES, kid=key_id)) == key_id


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        TOKEN[:-1],
        TOKEN[1:],
        TOKEN + "=",
        TOKEN + ".",
        TOKEN + " ",
        TOKEN + "\n",
        " " + TOKEN,
        TOKEN.replace(".", "..", 1),
        TOKEN.rpartition(".")[0],
        TOKEN.rpartition(".")[0] + ".",
        "Bearer " + TOKEN,
        "\x00" * 200,
        "\ud800" * 200,
        "小明" * 100,
        "ａ.ｂ." + "ｃ" * 43,
        "A" * 10_000_000,
        part("[" * 2000) + "." + part(VALUES) + "." + "A" * 43,
        urlsafe_b64encode(b"[" * 2900).decode().rstrip("=") + ".e30." + "A" * 43,
        part({"alg": "HS256", "kid": "k1"}) + ".////." + "A" * 43,
    ],
    ids=lambda token: repr(token)[:20],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        reads(token)


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(place=st.integers(0, len(TOKEN) - 1), put=st.sampled_from(ALPHABET + ".=+/ \n\x00é"))
@example(place=len(TOKEN) - 1, put=ALPHABET[ALPHABET.index(TOKEN[-1]) ^ 1])
@example(place=len(TOKEN) - 1, put=ALPHABET[ALPHABET.index(TOKEN[-1]) ^ 2])
@example(place=len(TOKEN) - 1, put=ALPHABET[ALPHABET.index(TOKEN[-1]) ^ 3])
def test_no_changed_character_goes_unnoticed(place: int, put: str) -> None:
    changed = TOKEN[:place] + put + TOKEN[place + 1 :]
    if changed != TOKEN:
        with pytest.raises(InvalidToken):
            reads(changed)


@given(place=st.integers(0, len(TOKEN)), put=st.text(ALPHABET + ".=!+/ \n", min_size=1, max_size=4))
def test_nothing_can_be_put_in(place: int, put: str) -> None:
    changed = TOKEN[:place] + put + TOKEN[place:]
    with pytest.raises(InvalidToken):
        reads(changed)


@given(st.integers(0, len(TOKEN) - 2), st.integers(1, 255), st.integers(0, 2))
def test_no_changed_byte_of_any_part_goes_unnoticed(place: int, flip: int, which: int) -> None:
    parts = TOKEN.split(".")
    content = bytearray(urlsafe_b64decode(parts[which] + "=="))
    content[place % len(content)] ^= flip
    parts[which] = urlsafe_b64encode(bytes(content)).decode().rstrip("=")
    with pytest.raises(InvalidToken):
        reads(".".join(parts))


@given(st.text())
def test_any_text_is_refused_as_a_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        key_id_of(text)
