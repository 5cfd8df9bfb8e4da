"""What an installation can be told: frozen, with a default for everything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_not_taken_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise PydanticCustomError("bool_given", "must not be true or false")
        return value


def _is_address(value: str, scheme: re.Pattern[str]) -> bool:
    """Whether it is `scheme://host`, with a port that can be, and anything behind it."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises for one that cannot be
    except ValueError:
        return False
    return bool(scheme.fullmatch(parts.scheme) and parts.hostname) and not re.search(r"\s", value)


def _variable(name: str | None, secret: str) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        # it may be the secret itself: it is not repeated
        raise ValueError(f"must be the name of an environment variable, not {secret}")
    return name


def _is_origin(value: str) -> bool:
    """As browsers write it: no path and no closing slash, or it would fit no page."""
    return _is_address(value, re.compile(r"[a-z][a-z0-9+.-]*")) and not re.search(
        r"[/?#@*A-Z]", value.partition("://")[2]
    )


def _is_host(value: str) -> bool:
    if ":" in value or re.fullmatch(r"[\d.]*", value):  # IPv6 may name an interface: `fe80::1%eth0`
        try:
            ip_address(value)
        except ValueError:
            return False
        return True
    return re.fullmatch(r"[\w.-]{1,253}", value) is not None


class PathSettings(Part):
    """Folders; relative ones are taken from where `cozy.toml` lies."""

    personalities: tuple[Path, ...] = (Path("personalities"),)
    """Searched in this order, then the shipped ones."""
    pipelines: tuple[Path, ...] = (Path("pipelines"),)
    """Searched in this order, then the shipped ones."""
    data: Path = Path("data")
    """The database, token encodings, the terminal's history."""


class ModelInstallation(Part):
    """Which models there are for personalities."""

    default: str = "auto"
    """For a personality that names none: `provider/model`; `auto` is the first provider that is configured,
    and the demo model until one is."""
    allow: tuple[str, ...] = ()
    """Patterns of `provider/model` that personalities may name; none means all."""


class CardSettings(Part):
    """What Cozy cannot know of a model by itself."""

    context_tokens: int | None = Field(default=None, ge=512)
    """Its window, prompt and answer together."""
    encoding: str | None = None
    """tiktoken's name of its vocabulary."""
    price_in: float | None = Field(default=None, ge=0)
    """Per million prompt tokens."""
    price_cached: float | None = Field(default=None, ge=0)
    """Per million prompt tokens that the server had seen before."""
    price_out: float | None = Field(default=None, ge=0)
    """Per million tokens of the answer."""


Flavour = Literal["openai", "azure", "ollama", "lmstudio", "vllm", "deepseek", "mistral", "generic"]
"""Whose quirks a model server has."""


class ProviderSettings(Part):
    """A server that speaks OpenAI's API."""

    base_url: str | None = None
    """Up to and including `/v1`."""
    api_key_env: str | None = None
    """The environment variable that holds its key."""
    flavour: Flavour | None = None
    """Whose quirks it has; none given: told from the address."""
    default_model: str | None = None
    """What `auto` takes of it."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with each request. What is secret in them comes from the environment: `Bearer ${NAME}`."""
    connect_timeout_s: float = Field(default=5, gt=0, le=60)
    read_timeout_s: float = Field(default=60, gt=0, le=3600)
    """How long it may be silent in the middle of an answer."""
    models: dict[str, CardSettings] = Field(default_factory=dict)
    """Its models, by name."""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not _is_address(value, re.compile("https?")):
            raise ValueError("must be an address such as `http://127.0.0.1:8000/v1`")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        return _variable(value, "a key")


class DatabaseSettings(Part):
    url: str = ""
    """`sqlite:///path` or `postgresql://user:${NAME}@host/name`, the password from the environment; empty:
    `cozy.db` in the data folder."""

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value and not re.match(r"(sqlite|postgres(ql)?)(\+\w+)?://", value):
            raise ValueError("must begin with `sqlite:///` or `postgresql://`")
        return value


class ToolSettings(Part):
    allow: tuple[str, ...] = ()
    """Patterns of tools that personalities may use; none means all."""
    admins_only: tuple[str, ...] = ()
    """Patterns of tools that are run for admins alone."""
    timezone: str = "local"
    """For `current_time` when nobody names one: an IANA name, or `local`."""


class ServerSettings(Part):
    """`cozy serve`."""

    host: str = "127.0.0.1"
    """The address to listen at; `0.0.0.0` or `::` is every address of the machine."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0: one that the system picks."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer."""
    watch: bool = False
    """Reload personalities and pipelines when their files change."""
    grace_s: float = Field(default=30, ge=0, le=3600)
    """How long answers under way may go on when the server is being stopped."""
    max_body_bytes: int = Field(default=20_000_000, ge=1024)
    """The longest request body that is taken; longer ones get 413."""
    max_header_bytes: int = Field(default=32_768, ge=1024)
    """The longest head of a request, its path and all headers together; longer ones get 431."""
    head_timeout_s: float = Field(default=10, gt=0, le=3600)
    """How long a request's head may take to arrive, from its first byte or, the first time, from the
    connection's beginning."""
    body_timeout_s: float = Field(default=30, gt=0, le=3600)
    """How long a request's body may take to arrive."""
    write_timeout_s: float = Field(default=30, gt=0, le=3600)
    """How long a reader may take nothing of an answer before it is cut off."""
    ping_s: float = Field(default=10, gt=0, le=300)
    """A stream that has been silent for so long carries a comment, so that proxies keep it open."""
    max_connections: int = Field(default=1000, ge=1)
    """Connections that are open at once in one process; more get 503."""
    max_turns: int = Field(default=256, ge=1)
    """Turns under way at once in one process."""
    queue: int = Field(default=256, ge=0)
    """Requests that may wait for a turn; more get 503."""
    queue_timeout_s: float = Field(default=10, ge=0, le=600)
    """How long one may wait before it gets 503."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may call the API; `*` is all of them: no cookies are used."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` is believed."""
    models: tuple[str, ...] = ()
    """Patterns of `provider/model` that clients may name beside personalities; empty: none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text where stderr is a terminal, else JSON. JSON goes to stdout, text to stderr."""
    log_content: bool = False
    """Show in the log what errors say, be it a user's words or a key: to find a fault, not for every day."""

    @field_validator("host")
    @classmethod
    def _can_be_bound(cls, value: str) -> str:
        if not _is_host(value):
            raise ValueError(f"`{value}` is no address and no name of a machine, such as `127.0.0.1`")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin not in ("*", "null") and not _is_origin(origin):
                raise ValueError(f"`{origin}` is no origin such as `https://chat.example.org`, and not `*`")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                ip_network(name, strict=False)
            except ValueError:
                raise ValueError(f"`{name}` is no address and no network such as `10.0.0.0/8`") from None
        return value


class AuthSettings(Part):
    """Who may come in. `COZY_JWT_KEYS` (`id=secret`, several with commas, the first signs) takes the place of
    the signing keys in the database."""

    registration: Literal["open", "closed"] = "open"
    """Whether anybody may make an account over HTTP."""
    registrations_per_hour: int = Field(default=20, ge=0)
    """Accounts that may be made from one network address in an hour; 0 is no limit."""
    access_ttl_s: int = Field(default=2_592_000, ge=60)
    """How long an access token is good. CozyChat's front end cannot renew its own: 30 days."""
    refresh_ttl_s: int = Field(default=7_776_000, ge=60)
    """How long a refresh token is good: 90 days."""
    login_attempts: int = Field(default=5, ge=1, le=1000)
    """Wrong passwords of one name from one address that are answered at once; after that it slows down.
    From all addresses together, and of all names from one address, five times as many."""
    login_refill_s: float = Field(default=60, gt=0)
    """After so long one more is answered."""


class LimitSettings(Part):
    """Requests a minute, each counted by itself; 0 is no limit."""

    per_address: int = Field(default=600, ge=0)
    """From one network address."""
    per_user: int = Field(default=300, ge=0)
    """Of one user, over all keys and tokens."""
    per_key: int = Field(default=300, ge=0)
    """With one API key."""


class RedisSettings(Part):
    url: str = ""
    """`redis://host:6379/0`, the password from the environment; empty: each process counts for itself."""
    prefix: str = "cozy"
    """What every key begins with."""

    @field_validator("url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with `redis://`, `rediss://` or `unix://`")
        return value


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
    """An engine is left alone after so many failures within `breaker_window_s`, if they are half of all, or
    after twice as many in a row."""
    breaker_window_s: float = Field(default=30, gt=0, le=3600)
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
    """How long it may take to take in what a turn teaches."""
    max_answer_bytes: int = Field(default=4_000_000, ge=1024)
    """A longer answer is not read."""
    connections: int = Field(default=20, ge=1, le=1000)
    """Connections at once."""
    datasets: tuple[str, ...] = ()
    """`cognee`: names or ids of the datasets that may be searched; a personality's own are among them."""

    @field_validator("api_key_env")
    @classmethod
    def _names_a_key(cls, value: str | None) -> str | None:
        return _variable(value, "a key")

    @field_validator("password_env")
    @classmethod
    def _names_a_password(cls, value: str | None) -> str | None:
        return _variable(value, "a password")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not _is_address(value, re.compile("https?")):
            raise ValueError("must be an address such as `http://127.0.0.1:8019`")
        return value.rstrip("/")


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


class Settings(Part):
    """The whole configuration."""

    root: Path = Path()
    """Where `cozy.toml` lies, or the working directory."""
    file: Path | None = None
    paths: PathSettings = PathSettings()
    model: ModelInstallation = ModelInstallation()
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    database: DatabaseSettings = DatabaseSettings()
    tools: ToolSettings = ToolSettings()
    context: ContextSettings = ContextSettings()
    engines: dict[str, EngineSettings] = Field(default_factory=dict)
    workers: WorkerSettings = WorkerSettings()
    outbox: OutboxSettings = OutboxSettings()
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    redis: RedisSettings = RedisSettings()

    @property
    def version(self) -> str:
        """Changes whenever a value does."""
        return blake2b(self.model_dump_json(exclude={"root", "file"}).encode(), digest_size=6).hexdigest()


# Providers that need no entry: name → (address, environment variable of the key, model of `auto`)
KNOWN_PROVIDERS: Mapping[str, tuple[str, str | None, str | None]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-4.1-mini"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "deepseek-chat"),
    "ollama": ("http://127.0.0.1:11434/v1", None, None),
    "lmstudio": ("http://127.0.0.1:1234/v1", None, None),
    "vllm": ("http://127.0.0.1:8000/v1", None, None),
}

DEMO_MODEL = "demo/demo"


def shipped(folder: str) -> Path:
    """A folder that comes with Cozy: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "shipped" / folder
    return installed if installed.is_dir() else package.parent / folder
