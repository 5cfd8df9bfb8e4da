"""What a user may be called, and what a password may be; hostile values of any type are refused in words."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast, get_args
from uuid import UUID

from cozy.errors import InvalidRequest, InvalidToken
from cozy.ports.identity import Scope, UserRole

SHORTEST_NAME, LONGEST_NAME = 3, 50
SHORTEST_WIDE_NAME = 2
"""Of a name with Chinese, Japanese or Korean characters: 小明 is a whole name."""
SHORTEST_PASSWORD, LONGEST_PASSWORD = 6, 1000
LONGEST_EMAIL = 254
LONGEST_CREDENTIAL = 4096
"""Ten times what a token has."""
LONGEST_LABEL = 100
"""Of what is shown beside: display names, names of keys."""
MOST_BYTES: Mapping[str, int] = {"profile": 8_000_000, "preferences": 65_536}
"""As JSON. A picture of the user stands in the profile, as front ends send it."""

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)+")
# letters and marks by their category, nothing on a screen
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]")

_BREAKING = {"Cc", "Cs", "Zl", "Zp"}
_CONTROL = _BREAKING | {"Cf", "Co", "Cn"}


def user_name(given: object) -> str:
    """A new user's name, in the form in which it is kept: two that differ in case or width are one.

    Raises InvalidRequest.
    """
    if not isinstance(given, str) or len(given) > 4 * LONGEST_NAME:
        raise InvalidRequest(
            f"a user name has {SHORTEST_NAME} to {LONGEST_NAME} characters", param="username"
        )
    name = canonical(given)
    if name != name.strip() or not _is_plain(name):
        raise InvalidRequest(
            "a user name has no spaces at its ends, and nothing in it that cannot be seen", param="username"
        )
    if "@" in name:
        raise InvalidRequest(
            "a user name has no `@`", param="username", hint="an e-mail address goes into `email`"
        )
    if id_in(name):
        raise InvalidRequest("a user name is no id", param="username")
    shortest = SHORTEST_WIDE_NAME if any(map(_is_wide, name)) else SHORTEST_NAME
    if not shortest <= len(name) <= LONGEST_NAME:
        raise InvalidRequest(f"a user name has {shortest} to {LONGEST_NAME} characters", param="username")
    return name


def canonical(text: str) -> str:
    """One spelling for all that read alike: compatible forms unified, case folded."""
    while (folded := unicodedata.normalize("NFKC", text).casefold()) != text:
        text = folded
    return text


def email_address(given: object) -> str | None:
    """In the form in which it is kept: in lower case. Raises InvalidRequest."""
    if given is None:
        return None
    if isinstance(given, str) and len(given) <= LONGEST_EMAIL:
        address = unicodedata.normalize("NFC", given.strip()).lower()
        if _EMAIL.fullmatch(address) and _is_plain(address):
            return address
    raise InvalidRequest("this is no e-mail address", param="email", hint="for example `ann@example.com`")


def new_password(given: object) -> str:
    """Raises InvalidRequest."""
    if not isinstance(given, str) or not SHORTEST_PASSWORD <= len(given) <= LONGEST_PASSWORD:
        raise InvalidRequest(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters", param="password"
        )
    if not _is_text(given):
        raise InvalidRequest("the password is no valid Unicode text", param="password")
    return given


def credential(given: object) -> str:
    """A bearer token or API key that somebody brings. Raises InvalidToken for what cannot be one."""
    if isinstance(given, str) and 0 < len(given) <= LONGEST_CREDENTIAL:
        return given
    raise InvalidToken("malformed")


def entered_password(given: object) -> str | None:
    """What somebody says their password is; None for what cannot be anybody's."""
    if isinstance(given, str) and len(given) <= LONGEST_PASSWORD and _is_text(given):
        return given
    return None


def entered_name(given: object) -> str:
    """What somebody says they are called, as `canonical` spells it; empty for what cannot be anybody's."""
    if isinstance(given, str) and len(given) <= LONGEST_EMAIL and _is_text(given):
        return canonical(given.strip())
    return ""


def id_in(given: object) -> UUID | None:
    """What somebody says is an id."""
    try:
        return UUID(given) if isinstance(given, str) and len(given) <= LONGEST_EMAIL else None
    except ValueError:
        return None


def label(given: object, param: str) -> str:
    """A name that is only shown. Raises InvalidRequest."""
    if isinstance(given, str) and len(given) <= 4 * LONGEST_LABEL:
        text = unicodedata.normalize("NFC", given.strip())
        if 0 < len(text) <= LONGEST_LABEL and not any(unicodedata.category(c) in _BREAKING for c in text):
            return text
    raise InvalidRequest(
        f"expected 1 to {LONGEST_LABEL} characters, none of them a control character", param=param
    )


def role(given: object) -> UserRole:
    """Raises InvalidRequest."""
    for known in get_args(UserRole):
        if given == known:
            return known
    raise InvalidRequest(f"a role is one of {_listed(get_args(UserRole))}", param="role")


def scopes(given: object) -> tuple[Scope, ...]:
    """Each once, in the order in which they are documented. Raises InvalidRequest."""
    known: tuple[Scope, ...] = get_args(Scope)
    if isinstance(given, list | tuple | set | frozenset):
        wanted = list(cast("Iterable[object]", given))
        if wanted and all(scope in known for scope in wanted):
            return tuple(scope for scope in known if scope in wanted)
    raise InvalidRequest(f"expected one or more of {_listed(known)}", param="scopes")


def later(given: object, now: datetime, param: str) -> datetime | None:
    """A moment to come, or none. Raises InvalidRequest."""
    if given is None or (isinstance(given, datetime) and given.tzinfo is not None and given > now):
        return given
    raise InvalidRequest("expected a moment to come, with its time zone", param=param)


def merged(before: Mapping[str, Any], change: Mapping[str, Any], param: str) -> dict[str, Any]:
    """`before` with the keys of `change`. Raises InvalidRequest for what is no JSON, or too much of it."""
    after = {**before, **change}
    try:
        size = len(json.dumps(after, allow_nan=False, ensure_ascii=False).encode("utf-8", "replace"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidRequest("expected an object of plain JSON values", param=param) from None
    if size > MOST_BYTES[param]:
        raise InvalidRequest(f"more than {MOST_BYTES[param]:,} bytes are not kept", param=param)
    return after


def _is_plain(text: str) -> bool:
    """Whether every character can be seen, or is a space."""
    return not _UNSEEN.search(text) and all(
        (category := unicodedata.category(c)) not in _CONTROL and (category != "Zs" or c == " ") for c in text
    )


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF" and unicodedata.category(character) == "Lo"


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
