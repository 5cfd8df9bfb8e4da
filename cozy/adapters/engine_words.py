"""What an engine outside says of an error → EngineError, with nothing in it that must not be told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInitError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
)
from cozy.storage.schema import storable

MAX_SHOWN_CHARS = 200
READ_CHARS = 800
"""Of a server's words, before what must not be told is taken out."""
COMPARED_CHARS = 50_000
"""Where more was said than this, a server's words are not shown: to look for it all in them takes time."""
WINDOW = 6
"""So many characters in a row of what was said are taken for a quotation."""
_ADDRESS = re.compile(
    r"\w[\w+.-]*://\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\S+@\S+"
    r"|\[[\da-fA-F:.]+\]:\d+|\b[\w-]+(?:\.[\w-]+)+:\d+|\b[A-Za-z][\w-]*:\d{4,5}\b"
)
_KEY = re.compile(r"\b(?:sk|pk|m0|m0sk)[-_][\w-]+|\b(?=[\w-]*\d)[\w-]{20,}")
"""What looks like one, be it not ours: services tell of the keys that they use themselves."""
_USERS_WORDS = {"content", "query", "text", "topic", "sub_topic"}
_NESTED = 6


def private_texts(
    body: Any, file: tuple[str, bytes] | None = None, query: Mapping[str, Any] | None = None
) -> Sequence[str]:
    """What people said, in a request."""
    found = list(_said(body))
    found += [str(value) for key, value in (query or {}).items() if key in _USERS_WORDS]
    if file is not None:
        found.append(file[1].decode(errors="replace"))
    return found


def _said(value: Any, key: str = "") -> Sequence[str]:
    if isinstance(value, str):
        return [value] if key in _USERS_WORDS and value.strip() else []
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return [text for name, item in fields.items() for text in _said(item, name)]
    if isinstance(value, list | tuple):
        return [text for item in cast("Sequence[Any]", value) for text in _said(item, key)]
    return []


def shown(text: str, secrets: Sequence[str], private: Sequence[str]) -> str:
    """A server's words in one short line: without keys, addresses, and what people have said."""
    if sum(map(len, private)) > COMPARED_CHARS:
        return ""
    for secret in filter(None, secrets):  # first, so that none is cut and then not known
        text = text.replace(secret, "…")
    line = storable(" ".join(text[:READ_CHARS].split()))
    line = _KEY.sub("…", _ADDRESS.sub("…", line))
    for said in private:
        line = _without(line, " ".join(said.split()))
    return line if len(line) <= MAX_SHOWN_CHARS else line[: MAX_SHOWN_CHARS - 1] + "…"


def _without(line: str, said: str) -> str:
    """`line` without the pieces that it shares with `said`."""
    width = min(WINDOW, len(said))
    quoted = [False] * len(line)
    for at in range(len(line) - width + 1):
        if width and line[at : at + width] in said:
            quoted[at : at + width] = [True] * width
    left = "".join("\x00" if is_quoted else letter for letter, is_quoted in zip(line, quoted, strict=True))
    return re.sub("\x00+", "…", left)


def complaint(content: bytes) -> str:
    """What the body of an error says, in any of the shapes that these services use; a page says nothing."""
    try:
        said: Any = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    for _ in range(_NESTED):
        if isinstance(said, Mapping):
            fields = cast("Mapping[str, Any]", said)
            if "msg" in fields and "loc" in fields:  # not `input`, which is what somebody said
                return f"{_place(fields['loc'])}: {fields['msg']}"
            names = ("detail", "details", "error", "message", "errmsg")
            said = next((fields[name] for name in names if fields.get(name)), "")
        elif isinstance(said, list):
            said = next(iter(cast("list[Any]", said)), "")
    return said if isinstance(said, str) else ""


def _place(loc: Any) -> str:
    parts = cast("list[Any]", loc) if isinstance(loc, list) else [loc]
    return ".".join(str(part) for part in parts)


def error_of(name: str, status: int, said: str = "", retry_after: float | None = None) -> EngineError:
    """The error for a status, or for a code that stands for one; `said`: what may be told of it."""
    tail = f": {said}" if said else ""
    details = {"status": status}
    variables = f"`engines.{name}`"
    if 300 <= status < 400:  # of every request: once `url` is right, what waits can be sent
        return EngineInitError(
            name,
            f"sends requests on to another address ({status})",
            hint=f"set `engines.{name}.url` to where it is: what users say is not sent on",
            details=details,
        )
    if status in (401, 403):
        refused = "refused our credentials" if status == 401 else "does not let us do this"
        return EngineAuthError(
            name, f"{refused}{tail}", hint=f"check the key or the account of {variables}", details=details
        )
    if status == 402:
        return EngineAuthError(
            name, f"has no credit left{tail}", hint=f"check the account of {variables}", details=details
        )
    if status == 429:
        wait = f", for {retry_after:g} s" if retry_after is not None else ""
        return EngineRateLimited(
            name, f"asks us to slow down{wait}{tail}", details=details, retry_after_s=retry_after
        )
    if status in (408, 504):
        return EngineTimeout(name, f"gave up on the request ({status}){tail}", details=details)
    if 400 <= status < 500 and status not in (421, 423, 425):
        return EngineInvalidRequest(name, f"refused the request ({status}){tail}", details=details)
    return EngineUnavailable(name, f"failed ({status}){tail}", details=details, retry_after_s=retry_after)
