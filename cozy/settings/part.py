"""What every table of `cozy.toml` is made of."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_not_taken_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise PydanticCustomError("bool_given", "must not be true or false")
        return value


def digest(text: str) -> str:
    """A short name for a text, the same on every machine."""
    return blake2b(text.encode(), digest_size=6).hexdigest()


def is_address(value: str, scheme: re.Pattern[str]) -> bool:
    """Whether it is `scheme://host`, with a port that can be, and anything behind it."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises for one that cannot be
    except ValueError:
        return False
    return bool(scheme.fullmatch(parts.scheme) and parts.hostname) and not re.search(r"\s", value)


def variable(name: str | None, secret: str) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        # it may be the secret itself: it is not repeated
        raise ValueError(f"must be the name of an environment variable, not {secret}")
    return name
