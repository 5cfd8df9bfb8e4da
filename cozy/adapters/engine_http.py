"""One pool of connections to an engine outside: bounded in time and size, its failures in our words.

Answers are JSON. Nothing of them, and nothing that is sent, is logged.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

import anyio
from anyio import to_thread

from cozy.adapters.causes import why_unreachable
from cozy.adapters.engine_words import complaint, error_of, private_texts, shown
from cozy.adapters.openai_errors import retry_after_s
from cozy.errors import EngineError, EngineInitError, EngineTimeout, EngineUnavailable
from cozy.settings import EngineSettings
from cozy.storage.schema import storable, to_json

if TYPE_CHECKING:
    import httpx2

KEEPALIVE_S = 90.0
CONNECT_S = 5.0
JSON_TYPE = {"content-type": "application/json"}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; of `body`, `form` and `file` there is at most one (a file may have fields)."""

    method: str
    path: str
    body: Any = None
    """JSON."""
    query: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    file: tuple[str, bytes] | None = None
    """Name and content, sent as `data`."""
    timeout_s: float | None = None
    """In place of the engine's."""
    reads: bool = False
    """It changes nothing, as a GET never does: it may be sent twice."""
    private: Sequence[str] = ()
    """What people said that is not in the request, and may be in the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of any status, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    private: Sequence[str] = ()
    """What was said in the request, which no error may repeat."""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def fields(self) -> Mapping[str, Any]:
        """Of the object that it holds; none where it holds something else."""
        try:
            value: Any = json.loads(self.content)
        except (ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


Explain = Callable[[str, Answer, str], EngineError | None]
"""What an answer means that only one kind of engine gives: of the engine's name, the answer, and what may be
shown of its words. None: as its status says."""


class Credentials(Protocol):
    """Who we are to an engine."""

    async def headers(self) -> Mapping[str, str]:
        """For a request. Raises EngineError where a login fails."""
        ...

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether there are others than those that were refused. Raises EngineError."""
        ...

    @property
    def secrets(self) -> Sequence[str]:
        """What no error may repeat."""
        ...


class _UnansweredError(Exception):
    """The connection was closed before a word of the answer."""


class EngineHttp:
    """Requests to one engine. Made by `engine_http`."""

    def __init__(self, name: str, url: str, settings: EngineSettings, client: httpx2.AsyncClient) -> None:
        self.name = name
        self.settings = settings
        self.explain: Explain = lambda _name, _answer, _said: None
        self._url = url
        self._client = client
        self._credentials: Credentials | None = None

    def authenticate(self, credentials: Credentials) -> None:
        """From now on requests carry these."""
        self._credentials = credentials

    async def value(self, ask: Ask, *, authenticated: bool = True) -> Any:
        """What the JSON of a good answer says. Raises EngineError."""
        return self.read(await self.answer(ask, authenticated=authenticated))

    async def answer(self, ask: Ask, *, authenticated: bool = True) -> Answer:
        """An answer of whatever status; after a 401, with credentials that can be renewed, a second one."""
        credentials = self._credentials if authenticated else None
        if credentials is None:
            return await self._send(ask, {})
        headers = await credentials.headers()
        answer = await self._send(ask, headers)
        if answer.status == 401 and await credentials.renew(headers):
            answer = await self._send(ask, await credentials.headers())
        return answer

    def read(self, answer: Answer) -> Any:
        """The JSON of a good answer, None for one that has no body. Raises EngineError."""
        if not answer.is_good:
            raise self.error(answer)
        if answer.status == 204:
            return None
        try:
            return json.loads(answer.content, parse_constant=_refuse)
        except (ValueError, RecursionError):
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            page = "a web page" if kind == "text/html" else "no JSON"
            self.nonsense(f"answered with {page}")

    def error(self, answer: Answer) -> EngineError:
        """What an answer that is not good means."""
        secrets = self._credentials.secrets if self._credentials else ()
        said = shown(complaint(answer.content), secrets, answer.private)
        own = self.explain(self.name, answer, said)
        return own or error_of(self.name, answer.status, said, retry_after_s(answer.headers))

    def nonsense(self, message: str, *, hint: str | None = None) -> NoReturn:
        """Raise EngineUnavailable: the answer is not what this kind of engine gives."""
        raise EngineUnavailable(
            self.name, message, hint=hint or f"is `engines.{self.name}.url` the address of this service?"
        )

    async def _send(self, ask: Ask, credentials: Mapping[str, str]) -> Answer:
        timeout_s = self.settings.timeout_s if ask.timeout_s is None else ask.timeout_s
        with anyio.move_on_after(timeout_s):
            if ask.reads or ask.method == "GET":
                with suppress(_UnansweredError):  # it was closed while it lay idle: the next one is new
                    return await self._exchange(ask, credentials, timeout_s)
            try:
                return await self._exchange(ask, credentials, timeout_s)
            except _UnansweredError as error:
                raise self._away("closed the connection unanswered") from error
        raise EngineTimeout(self.name, f"did not answer within {timeout_s:g} s")

    async def _exchange(self, ask: Ask, credentials: Mapping[str, str], timeout_s: float) -> Answer:
        import httpx2

        connect_s = min(CONNECT_S, 0.9 * timeout_s)  # before the whole is over: it tells more
        spoken = False
        try:
            request = self._request(ask, credentials, httpx2.Timeout(timeout_s, connect=connect_s))
            response = await self._client.send(request, stream=True)
            spoken = True
            try:
                content = await self._read(response)
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
        except httpx2.TimeoutException as error:
            if isinstance(error, httpx2.ConnectTimeout):
                raise EngineTimeout(self.name, f"no connection within {connect_s:g} s") from error
            raise EngineTimeout(self.name, f"was silent for {timeout_s:g} s") from error
        except httpx2.InvalidURL:
            hint = f"check `engines.{self.name}.url`"
            raise EngineInitError(self.name, "what it has for an address is no address", hint=hint) from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError, EOFError) as error:
            if not isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
                raise self._away(why_unreachable(error)) from error
            if not spoken:
                raise _UnansweredError from error
            raise self._away("broke off in the middle of the answer") from error
        private = (*private_texts(ask.body, ask.file, ask.query), *ask.private)
        return Answer(response.status_code, dict(response.headers), content, private)

    def _request(self, ask: Ask, credentials: Mapping[str, str], timeout: httpx2.Timeout) -> httpx2.Request:
        if not all(value.isascii() and value.isprintable() for value in credentials.values()):
            raise EngineInitError(
                self.name,
                "its key cannot be sent: it has a character that no request can carry",
                hint=f"look for a line break in the variable that `engines.{self.name}` names",
            )
        extra: dict[str, Any] = {}
        headers = dict(credentials)
        if ask.body is not None:
            extra["content"] = to_json(ask.body).encode()
            headers |= JSON_TYPE
        elif ask.file is not None:
            extra["files"] = {"data": (*ask.file, "text/plain")}
        if ask.form:
            extra["data"] = {key: storable(value) for key, value in ask.form.items()}
        return self._client.build_request(
            ask.method,
            self._url + ask.path,
            params=dict(ask.query) or None,
            headers=headers,
            timeout=timeout,
            **extra,
        )

    def _away(self, why: str) -> EngineUnavailable:
        hint = f"is it running, and is `engines.{self.name}.url` right?"
        return EngineUnavailable(self.name, why, hint=hint)

    async def _read(self, response: httpx2.Response) -> bytes:
        """The body, never more of it than is allowed."""
        most = self.settings.max_answer_bytes
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            self.nonsense("answered in an encoding that it was not asked for")
        told = response.headers.get("content-length", "")
        held = bytearray()
        if not (told.isdecimal() and int(told) > most):
            async for piece in response.aiter_raw(65_536):
                if len(held) + len(piece) > most:
                    break
                held += piece
            else:
                return bytes(held)
        raise EngineUnavailable(
            self.name,
            f"answered with more than {most} bytes",
            hint=f"`engines.{self.name}.max_answer_bytes` is how much is read",
        )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"`{constant}` is no JSON")


def relevance(value: Any) -> float:
    """A score as it is told here: more is better, from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    if isinstance(value, float) and not math.isfinite(value):
        return 0.0
    return float(min(1, max(0, value)))  # a whole number may be too large for a float


@asynccontextmanager
async def engine_http(name: str, settings: EngineSettings, url: str) -> AsyncGenerator[EngineHttp]:
    """Connections that close when the block is left."""
    client = await to_thread.run_sync(_client, settings)
    try:
        yield EngineHttp(name, url.rstrip("/"), settings, client)
    finally:
        with anyio.CancelScope(shield=True):
            await client.aclose()


def _client(settings: EngineSettings) -> httpx2.AsyncClient:
    import httpx2

    limits = httpx2.Limits(
        max_connections=settings.connections,
        max_keepalive_connections=settings.connections,
        keepalive_expiry=KEEPALIVE_S,
    )
    return httpx2.AsyncClient(
        limits=limits,
        # a packed answer could be a thousand times as long as what was counted
        headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "cozy"},
        # a login sets a cookie, which would go with requests of others
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        # the environment's proxies are not for this machine
        mounts={f"all://{host}": None for host in _LOOPBACK},
    )
