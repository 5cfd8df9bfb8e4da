"""One-time codes of an authenticator (TOTP, RFC 6238): six digits, new every 30 seconds."""

from __future__ import annotations

from datetime import datetime
from hmac import compare_digest

from pyotp import random_base32
from pyotp.totp import TOTP

from cozy.ports.identity import NewSecondFactor

STEP_S = 30
WINDOW = 1
"""Codes of so many steps before and after are taken too: clocks differ, and typing takes time."""


def new_second_factor(username: str) -> NewSecondFactor:
    secret = random_base32()
    return NewSecondFactor(secret, TOTP(secret).provisioning_uri(name=username, issuer_name="Cozy"))


def step_of(secret: str, code: object, now: datetime, *, after: int | None) -> int | None:
    """The time step whose code this is; None where it is none, or none later than the step `after`."""
    if not isinstance(code, str) or len(code) > 16:
        return None
    digits = code.replace(" ", "")
    if not (len(digits) == 6 and digits.isascii() and digits.isdigit()):
        return None
    totp, current = TOTP(secret), int(now.timestamp()) // STEP_S
    for step in range(current - WINDOW, current + WINDOW + 1):
        if compare_digest(totp.at(step * STEP_S), digits) and (after is None or step > after):
            return step
    return None
