"""What lies beneath an error of a library's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        current = todo.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        # anyio gathers the errors of several addresses; aiohttp keeps the system's error in an attribute
        todo.extend(getattr(current, "exceptions", ()))
        todo.append(current.__cause__ or current.__context__)
        todo.extend(getattr(current, name, None) for name in ("os_error", "certificate_error"))
