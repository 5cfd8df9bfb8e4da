"""Log lines for machines and for terminals, in which no words of a user, no token and no key can stand.

What may be told is chosen, not what may not: fields of the names below, whose values look like an id; an
error's type and the lines of code it came through, never its message. See `docs/guides/server.md`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from math import isfinite
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any, Literal, TextIO, cast
from uuid import UUID

from cozy.dsl.diagnostics import Diagnostic, visible

LogFormat = Literal["json", "text"]
Plain = str | int | float | bool | None | list[Any] | dict[str, Any]

FIELDS = (
    "request_id",
    "user_id",
    "session_id",
    "turn_id",
    "personality_id",
    "method",
    "route",
    "status",
    "latency_ms",
    "engine",
    "provider",
    "stage",
    "tool",
    "model",
    "code",
    "error",
    "degraded",
    "engines",
    "seconds",
    "target",
    "attempts",
    "job_id",
    "policy",
    "count",
    "jobs",
    "key_id",
    "event",
    "problems",
    "child",
    "exit_code",
    "signal",
    "address",
)
"""Extra fields that are told, in this order. `reason` is none of them: it may quote an upstream's answer."""

ENGINE_FIELDS = ("stage", "engine", "provider", "outcome", "ms", "cache", "items")
"""What is told of each of the `engines` that a turn has asked; what is empty is left out."""
HIDDEN = "…"
"""In place of what is not told."""
MOST_FRAMES, MOST_ERRORS, MOST_ITEMS = 30, 12, 20
LONGEST_MESSAGE = 300
"""Characters of a diagnostic."""

_ID = re.compile(r"[\w.:/@{}+#*-]{1,80}", re.ASCII)
_SECRET = re.compile(r"(?i:^|[^a-z])(?i:sk|pk|key|token|secret|bearer|ghp|xox.)[-_]|eyJ")
_KEY_LIKE = re.compile(r"[^\s`'\"]{16,}")
_LONG = re.compile(r"[A-Za-z0-9_-]{20,}")

# What libraries say without arguments may hold anything: they fill it in themselves. These words are theirs.
_KNOWN = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending!",
    "Unhandled exception in client_connected_cb",
    "Exception in callback",
    "socket.send() raised exception.",
    "Error in ASGI Framework",
    "ASGI Framework Lifespan",
    "Unclosed client session",
    "Unclosed connection",
)


def configure_logs(
    format_: LogFormat, level: str = "info", *, content: bool = False, stream: TextIO | None = None
) -> None:
    """Send everything that is logged to stdout as JSON, or to stderr as text.

    `level` is for Cozy itself; of libraries warnings are told. `content` lets messages of errors through.
    """
    formatter = JsonFormatter(content=content) if format_ == "json" else TextFormatter(content=content)
    handler = logging.StreamHandler(stream or (sys.stdout if format_ == "json" else sys.stderr))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("cozy").setLevel(level.upper())
    logging.captureWarnings(True)
    # else a line that cannot be written is printed with its arguments, and a bug with its message
    logging.raiseExceptions = content
    if not content:
        sys.excepthook = _uncaught
        sys.unraisablehook = lambda given: _uncaught(given.exc_type, given.exc_value, given.exc_traceback)
        threading.excepthook = lambda given: _uncaught(given.exc_type, given.exc_value, given.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None:
        logging.getLogger("cozy").critical("uncaught", exc_info=(kind, error, trace))


class JsonFormatter(logging.Formatter):
    """One object a line."""

    def __init__(self, *, content: bool = False) -> None:
        super().__init__()
        self._content = content

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": said(record, content=self._content),
            **fields(record, content=self._content),
        }
        if found := diagnostics(record):
            line["diagnostics"] = found
        if errors := thrown(record, content=self._content):
            line["exception"] = errors
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """One line for a reader; an error's way below it."""

    def __init__(self, *, content: bool = False) -> None:
        super().__init__()
        self._content = content

    def format(self, record: logging.LogRecord) -> str:
        words = [
            _moment(record).astimezone().strftime("%H:%M:%S"),
            record.levelname.lower(),
            said(record, content=self._content),
            *(f"{name}={_flat(value)}" for name, value in fields(record, content=self._content).items()),
        ]
        lines = [" ".join(words)]
        shown = "  {file}:{line}:{column}: {message} [{code}]"
        lines += [shown.format_map(found) for found in diagnostics(record)]
        for error in thrown(record, content=self._content):
            told = " ".join(error[name] for name in ("how", "type", "code", "message") if name in error)
            lines += [f"  {told}", *(f"    {frame}" for frame in error["frames"])]
        return "\n".join(lines)


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _flat(value: Any) -> str:
    """`memory:embedded:ok:12.3`, with commas between several."""
    if isinstance(value, list):
        return ",".join(map(_flat, cast("list[Any]", value)))
    return (
        ":".join(map(str, cast("dict[str, Any]", value).values())) if isinstance(value, dict) else str(value)
    )


# -- the parts of a line -----------------------------------------------------------------------------------


def said(record: logging.LogRecord, *, content: bool = False) -> str:
    """The message: Cozy's own with ids filled in, a library's as its template."""
    template = cast("object", record.msg)
    if not isinstance(template, str):
        return type(template).__name__
    if content:
        return _filled(template, record.args)
    if _is_own(record):
        arguments = record.args
        if isinstance(arguments, tuple):
            return _filled(template, tuple(plain(argument) for argument in arguments))
        return template
    if record.args:
        return template[:200]
    known = next((words for words in _KNOWN if template.startswith(words)), None)
    return known or f"{record.module}.{record.funcName}"


def _is_own(record: logging.LogRecord) -> bool:
    return record.name == "cozy" or record.name.startswith("cozy.")


def _filled(template: str, arguments: Any) -> str:
    try:
        return template % arguments if arguments else template
    except (TypeError, ValueError, KeyError):
        return template


def fields(record: logging.LogRecord, *, content: bool = False) -> dict[str, Plain]:
    """The extra fields that may be told."""
    given = record.__dict__
    told = {name: plain(given[name]) for name in FIELDS if given.get(name) is not None}
    if content and given.get("reason") is not None:
        told["reason"] = str(given["reason"])
    return told


def diagnostics(record: logging.LogRecord) -> list[dict[str, str | int]]:
    """What is wrong with personalities, the first of it: about authors' files, not what users say."""
    found = record.__dict__.get("diagnostics")
    if not isinstance(found, list | tuple):
        return []
    return [
        {
            "file": d.place.file,
            "line": d.place.line,
            "column": d.place.column,
            "code": d.code,
            "message": _authors(d.message),
        }
        for d in islice(cast("Sequence[object]", found), MOST_ITEMS)
        if isinstance(d, Diagnostic)
    ]


def _authors(text: str) -> str:
    """Words about an author's file, which may quote it: not too many, and no key that was written there."""
    text = text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + HIDDEN
    return _KEY_LIKE.sub(lambda word: HIDDEN if _may_be_secret(word[0]) else word[0], visible(text))


def plain(value: object) -> Plain:
    """A number, an id, several, or how an engine did; whatever else is hidden."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 4) if isfinite(value) else str(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str):
        return value if _ID.fullmatch(value) and not _may_be_secret(value) else HIDDEN
    if isinstance(value, list | tuple | set | frozenset):
        items = list(cast("Sequence[object]", value))
        return [plain(item) for item in items[:MOST_ITEMS]]
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, dict):
        given = cast("dict[str, object]", value)
        return {name: plain(given[name]) for name in ENGINE_FIELDS if given.get(name) not in (None, "")}
    return HIDDEN


def _may_be_secret(text: str) -> bool:
    """Whether it looks like a key or a token: named so, or long with all kinds of characters."""
    return bool(_SECRET.search(text)) or any(
        any(c.isupper() for c in run) and any(c.islower() for c in run) and any(c.isdigit() for c in run)
        for run in _LONG.findall(text)
    )


# -- errors ------------------------------------------------------------------------------------------------


def thrown(record: logging.LogRecord, *, content: bool = False) -> list[dict[str, Any]]:
    """The error of a record and those it came from: their types, and where in the code they were."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return []
    return [_told(how, e, content=content) for how, e in _chain(error)]


def _chain(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Every error that led to this one, nearest first, and what is in groups."""
    waiting: list[tuple[str, BaseException]] = [("", error)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_ERRORS:
        how, found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield how, found
        if isinstance(found, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", found)
            waiting += [("within it", member) for member in group.exceptions]
        if found.__cause__ is not None:
            waiting.append(("because of", found.__cause__))
        elif found.__context__ is not None and not found.__suppress_context__:
            waiting.append(("while handling", found.__context__))


def _told(how: str, error: BaseException, *, content: bool) -> dict[str, Any]:
    kind = type(error)
    named = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    told: dict[str, Any] = {"how": how} if how else {}
    told["type"] = named
    if isinstance(code := getattr(error, "code", None), str):
        told["code"] = plain(code)
    if content:
        told["message"] = str(error)
    told["frames"] = [
        f"{_short(frame.f_code.co_filename)}:{line}:{frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
    ][-MOST_FRAMES:]
    return told


_ROOT = f"{Path(__file__).parents[2].as_posix()}/"


@cache
def _short(path: str) -> str:
    """A file as one would name it: without where Python and its packages lie."""
    path = path.replace("\\", "/")
    for place in ("/site-packages/", f"/python{sys.version_info[0]}.{sys.version_info[1]}/"):
        if place in path:
            return path.rpartition(place)[2]
    return path.removeprefix(_ROOT) if path.startswith(f"{_ROOT}cozy/") else path.rpartition("/")[2]
