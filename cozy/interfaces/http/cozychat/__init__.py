"""The API of CozyChat's front end. Nothing outside this folder knows of it but who mounts it."""

from __future__ import annotations

from cozy.interfaces.http.cozychat import (
    audio,
    config,
    health,
    keys,
    memory,
    personalities,
    preferences,
    profiles,
    sessions,
    tools,
    users,
)
from cozy.interfaces.http.cozychat.chat import DIALECT

ENDPOINTS = (
    *users.ENDPOINTS,
    *preferences.ENDPOINTS,
    *keys.ENDPOINTS,
    *profiles.ENDPOINTS,
    *sessions.ENDPOINTS,
    *personalities.ENDPOINTS,
    *tools.ENDPOINTS,
    *memory.ENDPOINTS,
    *config.ENDPOINTS,
    *audio.ENDPOINTS,
    *health.ENDPOINTS,
)

__all__ = ["DIALECT", "ENDPOINTS"]
