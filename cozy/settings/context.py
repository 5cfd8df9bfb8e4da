"""Personal context: its engines, and who does the jobs that turns leave for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from cozy.settings.part import Part, digest, is_address, variable


class ContextSettings(Part):
    """Personal context: which engines bring it, how long a turn waits, what is kept of their answers."""

    knowledge: str = "embedded"
    """The engine of personalities that name none: `embedded`, or one of `[engines]`."""
    profile: str = "embedded"
    """The engine of personalities that name none: `embedded`, or one of `[engines]`."""
    memory: str = "embedded"
    """The engine of personalities that name none: `embedded`, or one of `[engines]`."""
    timeout_s: float = Field(default=2.0, gt=0, le=60)
    """How long a turn waits for all its engines together; a stage's own `timeout` may be shorter."""
    cache_bytes: int = Field(default=32_000_000, ge=0)
    """How much of what engines outside have answered one process keeps; 0: nothing, in Redis neither."""
    knowledge_ttl_s: float = Field(default=300, gt=0, le=86_400)
    """How long an answer about documents is good."""
    profile_ttl_s: float = Field(default=300, gt=0, le=86_400)
    """How long a profile is good; what a turn teaches makes it old at once."""
    memory_ttl_s: float = Field(default=60, gt=0, le=86_400)
    """How long memories are good; what a turn teaches makes them old at once."""
    empty_ttl_s: float = Field(default=10, gt=0, le=3600)
    """How long it is good that an engine had nothing."""
    breaker_failures: int = Field(default=5, ge=1, le=1000)
    """An engine is left alone after so many failures within `breaker_window_s`, if they are at least half of
    all, or after twice as many in a row."""
    breaker_window_s: float = Field(default=30, gt=0, le=3600)
    """How long a failure counts."""
    breaker_open_s: float = Field(default=5, gt=0, le=3600)
    """For how long it is left alone the first time; twice as long after each probe that fails."""
    breaker_longest_s: float = Field(default=120, gt=0, le=86_400)
    """For how long at most."""


EngineBrand = Literal["cognee", "memobase", "mem0", "mem0_platform"]
BRINGS: Mapping[EngineBrand, Literal["knowledge", "profile", "memory"]] = {
    "cognee": "knowledge",
    "memobase": "profile",
    "mem0": "memory",
    "mem0_platform": "memory",
}
"""What an engine of each kind is for."""
ENGINE_URLS: Mapping[EngineBrand, str] = {
    "cognee": "http://127.0.0.1:8000",
    "memobase": "http://127.0.0.1:8019",
    "mem0": "http://127.0.0.1:8888",
    "mem0_platform": "https://api.mem0.ai",
}
"""Where an engine of each kind is, if nobody says where."""


class EngineSettings(Part):
    """A service for knowledge (`cognee`), profile (`memobase`) or memory (`mem0`, `mem0_platform`)."""

    kind: EngineBrand
    """What it is: it decides what it can bring."""
    url: str = ""
    """Without the API's own path, as `http://127.0.0.1:8019`; empty: where the kind is by default."""
    api_key_env: str | None = None
    """The environment variable that holds its key."""
    username: str | None = None
    """Of an account, used where there is no key: `cognee` and `mem0`."""
    password_env: str | None = None
    """The environment variable that holds the account's password."""
    timeout_s: float = Field(default=10, gt=0, le=600)
    """How long one request may take; turns wait less (`context.timeout_s`, a stage's `timeout`)."""
    learn_timeout_s: float = Field(default=45, gt=0, le=3600)
    """How long it may take to take in what a turn teaches, or a document."""
    max_answer_bytes: int = Field(default=4_000_000, ge=1024)
    """A longer answer is not read."""
    connections: int = Field(default=20, ge=1, le=1000)
    """Connections at once."""
    datasets: tuple[str, ...] = ()
    """`cognee`: names or ids of the datasets that may be searched and written to; a personality's own are
    among them."""

    @field_validator("api_key_env")
    @classmethod
    def _names_a_key(cls, value: str | None) -> str | None:
        return variable(value, "a key")

    @field_validator("password_env")
    @classmethod
    def _names_a_password(cls, value: str | None) -> str | None:
        return variable(value, "a password")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not is_address(value, re.compile("https?")):
            raise ValueError("must be an address such as `http://127.0.0.1:8019`")
        if "?" in value or "#" in value:  # paths are put behind it
            raise ValueError("must have nothing behind a `?` or `#`")
        return value.rstrip("/")

    @property
    def version(self) -> str:
        """Changes whenever a value does: then what it answered before is not used any more."""
        return digest(self.model_dump_json())


class WorkerSettings(Part):
    """Who does the jobs that turns leave."""

    lease_s: float = Field(default=60, gt=0, le=3600)
    """After so long without a sign of life of its worker a job is given to another; one that takes longer is
    held on to."""
    job_timeout_s: float = Field(default=300, gt=0, le=86_400)
    """How long one attempt at a job may take."""
    max_attempts: int = Field(default=20, ge=1, le=1000)
    """After so many failures a job is kept as dead: with the pauses between them, 20 take about an hour."""


OnFull = Literal["slow", "drop_oldest", "drop_new", "reject"]


class OutboxSettings(Part):
    """How many jobs of turns may wait for a worker, in all processes together, and what happens then. Erasing
    a user's data is not among them: it is never dropped and never refused."""

    max_jobs: int = Field(default=10_000, ge=1)
    """It is full with so many."""
    max_age_s: float = Field(default=0, ge=0)
    """It is full when the oldest has waited for longer; 0 is no limit."""
    on_full: OnFull = "slow"
    """`slow`: a turn's end waits for room, then its jobs are taken all the same; `drop_oldest`: the oldest
    jobs make room; `drop_new`: the turn is stored without its jobs; `reject`: new turns get 503."""
    slow_s: float = Field(default=2, ge=0, le=60)
    """How long `slow` waits at most, and never longer than half of the time that the stage has left."""
