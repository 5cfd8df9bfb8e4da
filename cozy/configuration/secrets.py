"""What belongs in the environment and not in a file, and what is not shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
"""`${NAME}` and `${NAME:-default}`."""

_SECRET_KEY = re.compile(
    r"(^|[-_.])(api[-_]?key|key|secret|token|password|auth|authorization|cookie|credentials?)$", re.IGNORECASE
)
_PASSWORD = re.compile(
    r"(?P<address>://[^/?#@:\s]*:)[^@\s]+(?=@)|(?P<query>[?&][a-z_]*password=)[^&\s]+", re.IGNORECASE
)
"""In an address."""


def holds_secret(name: str, value: Any) -> bool:
    """Whether a value of this name gives away what only the environment should know."""
    if isinstance(value, bool | int | float):  # `limits.per_key` is none
        return False
    text = str(value)
    references = list(REFERENCE.finditer(text))
    if _SECRET_KEY.search(name) and not any(not reference[2] for reference in references):
        return True
    # what a reader of the file sees: nothing of the environment's values, the defaults in full
    return bool(_PASSWORD.search(REFERENCE.sub(lambda reference: reference[2] or "", text)))


def masked(key: Sequence[str], value: Any) -> Any:
    """A value as it may be shown: a provider's headers, what is named like a secret, and the password of an
    address are not."""
    if not isinstance(value, str) or not value:
        return value
    if _SECRET_KEY.search(key[-1]) or "headers" in key[:-1]:
        return "***"
    return without_passwords(value)


def without_passwords(text: str) -> str:
    """The text with `***` for the passwords of addresses in it."""
    return _PASSWORD.sub(lambda found: f"{found['address'] or found['query']}***", text)
