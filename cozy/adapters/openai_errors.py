"""What goes wrong at a server that speaks OpenAI's API → EngineError, with what to do about it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urljoin, urlsplit, urlunsplit

from cozy.adapters.causes import causes_of
from cozy.adapters.model_servers import OpenAIServer
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
)

MAX_SHOWN_CHARS = 300
LONGEST_WAIT_S = 86_400.0
"""Nobody waits longer for a server, whatever it asks for."""
_NESTED = 8
"""How deep an error is looked for within others."""

_HOW_TO_START: Mapping[str, str] = {
    "ollama": "is Ollama running at {url}? start it with `ollama serve`",
    "lmstudio": "is LM Studio's server running at {url}? start it with `lms server start`",
    "vllm": "is vLLM running at {url}? start it with `vllm serve MODEL`",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a server says is wrong."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str = ""
    is_structured: bool = False
    """Whether it came as an error object; a web page may come from anything in between."""

    @property
    def words(self) -> str:
        """Everything that may tell the kind of error, in lower case."""
        return f"{self.code} {self.type} {self.message}".lower()


def complaint_of(body: Any) -> Complaint:
    """What the body of an error answer says, in any of the shapes that servers use."""
    for _ in range(_NESTED):
        if isinstance(body, list) and body:
            body = cast("list[Any]", body)[0]
        elif isinstance(body, Mapping) and isinstance(cast("Mapping[str, Any]", body).get("error"), Mapping):
            body = cast("Mapping[str, Any]", body)["error"]
    if isinstance(body, str):
        return Complaint(_page_text(body))
    if not isinstance(body, Mapping):
        return Complaint()
    fields = cast("Mapping[str, Any]", body)
    # Mistral, vLLM, FastAPI: the text under `message` or `detail`, sometimes one more level down
    said = next((v for k in ("error", "message", "detail") if (v := fields.get(k))), "")
    return Complaint(
        _nested_text(said),
        *(_nested_text(fields.get(key) or "") for key in ("code", "type", "param")),
        is_structured=True,
    )


def _nested_text(said: Any) -> str:
    """The first text or number within lists and objects; a problem of a field after the field's name."""
    for _ in range(_NESTED):
        if isinstance(said, Mapping):
            fields = cast("Mapping[str, Any]", said)
            if "msg" in fields and "loc" in fields:
                where, said = fields["loc"], fields["msg"]
                parts = cast("list[Any]", where) if isinstance(where, list) else [where]
                return f"{'.'.join(_nested_text(part) for part in parts)}: {_nested_text(said)}".lstrip(": ")
            said = next(iter(fields.values()), "")
        elif isinstance(said, list):
            said = next(iter(cast("list[Any]", said)), "")
    return str(said) if isinstance(said, str | int | float) else ""


def _page_text(text: str) -> str:
    """A web page's title, or the text itself."""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title:
        return title[1]
    return re.sub(r"<[^>]*>", " ", text) if text.lstrip().startswith("<") else text


def status_error(
    server: OpenAIServer, model: str, status: int, body: Any, headers: Mapping[str, str]
) -> EngineError:
    """The error for an answer with a status of 300 or more."""
    complaint = complaint_of(body)
    details = {
        key: value
        for key, value in (
            ("status", status),
            ("code", complaint.code),
            ("type", complaint.type),
            ("param", complaint.param),
            ("model", model),
            ("request_id", headers.get("x-request-id", "")),
        )
        if value
    }
    if 300 <= status < 400 and (place := headers.get("location")):
        return _sent_on(server, place, details)
    return _error(server, model, status, complaint, details, retry_after_s(headers))


def _sent_on(server: OpenAIServer, place: str, details: Mapping[str, Any]) -> EngineError:
    """Redirects are not followed: what users say, and headers with keys, would go to whoever is named."""
    try:
        parts = urlsplit(urljoin(server.url, place))
        place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        place = "an address that is none"
    return EngineInvalidRequest(
        server.name,
        f"{server.shown_url} sends requests on to {shown(server, place)}",
        hint=f"if that is right, set `base_url` of the provider `{server.name}` to it",
        details=details,
    )


def stream_error(server: OpenAIServer, model: str, body: Any) -> EngineError:
    """The error for an error object where an answer, or the rest of one, was expected."""
    complaint = complaint_of(body)
    status = int(complaint.code) if re.fullmatch(r"[1-5]\d\d", complaint.code) else _status_of(complaint)
    details = {"code": complaint.code, "type": complaint.type, "model": model}
    return _error(server, model, status, complaint, {k: v for k, v in details.items() if v}, None)


def _status_of(complaint: Complaint) -> int:
    """The status that an error would have had as an answer of its own."""
    words = complaint.words
    for pattern, status in (
        (r"rate.?limit|too many requests|insufficient_quota", 429),
        (r"authentication|invalid_api_key|unauthorized", 401),
        (r"permission", 403),
        (r"not_found|model_not_found", 404),
        (r"invalid_request|badrequest|context_length", 400),
        (r"timeout|timed out", 408),
    ):
        if re.search(pattern, words):
            return status
    return 500


def _error(
    server: OpenAIServer,
    model: str,
    status: int,
    complaint: Complaint,
    details: Mapping[str, Any],
    retry_after: float | None,
) -> EngineError:
    said = shown(server, complaint.message)
    tail = f": {said}" if said else ""
    url = server.shown_url
    if status == 402 or "insufficient_quota" in complaint.words or "insufficient balance" in complaint.words:
        return EngineAuthError(
            server.name,
            f"the account has no credit left{tail}",
            hint=f"add credit at {url}, or choose another model",
            details=details,
        )
    if status == 401:
        refused = "refused the API key" if server.api_key else "wants an API key, and none is set"
        return EngineAuthError(
            server.name,
            f"{url} {refused}{tail}",
            hint=f"set {server.key_name} to a valid key" if server.api_key else f"set {server.key_name}",
            details=details,
        )
    if status == 403:
        return EngineAuthError(
            server.name,
            f"{url} does not let this key use `{model}`{tail}",
            hint=f"check the rights of the key in {server.key_name}, or choose another model",
            details=details,
        )
    if status == 404:
        return _not_found(server, model, complaint, tail, details)
    if status == 429:
        wait = f", for {retry_after:g} s" if retry_after is not None else ""
        return EngineRateLimited(
            server.name,
            f"{url} asks us to slow down{wait}{tail}",
            hint="wait, or name `fallbacks` for the model",
            details=details,
            retry_after_s=retry_after,
        )
    if status in (408, 504):
        return EngineTimeout(server.name, f"{url} gave up on the request ({status}){tail}", details=details)
    if 400 <= status < 500 and status not in (409, 425):
        return _refused(server, model, status, complaint, tail, details)
    return EngineUnavailable(
        server.name,
        f"{url} failed ({status}){tail}",
        details=details,
        retry_after_s=retry_after,
    )


def _not_found(
    server: OpenAIServer, model: str, complaint: Complaint, tail: str, details: Mapping[str, Any]
) -> EngineError:
    if not complaint.is_structured or "model" not in complaint.words:
        return EngineInvalidRequest(
            server.name,
            f"there are no chat completions at {server.shown_url}{tail}",
            hint=f"check `base_url` of the provider `{server.name}`: most servers want it to end in `/v1`",
            details=details,
        )
    hint = (
        f"fetch it with `ollama pull {model}`"
        if server.kind == "ollama"
        else f"check the model's name; {server.shown_url}/models lists those of the server"
    )
    return EngineInvalidRequest(
        server.name, f"{server.shown_url} has no model `{model}`{tail}", hint=hint, details=details
    )


def _refused(
    server: OpenAIServer,
    model: str,
    status: int,
    complaint: Complaint,
    tail: str,
    details: Mapping[str, Any],
) -> EngineError:
    if re.search(
        r"context.?length|context window|maximum context|too many tokens|prompt is too long", complaint.words
    ):
        return EngineInvalidRequest(
            server.name,
            f"the prompt is longer than `{model}` reads{tail}",
            hint=f"set `context_tokens` of `{server.name}/{model}` to what the server gives it",
            details=details,
        )
    return EngineInvalidRequest(
        server.name,
        f"{server.shown_url} refused the request for `{model}` ({status}){tail}",
        # what is wrong with a request, its writer has to know
        details={**details, "complaint": said} if (said := shown(server, complaint.message)) else details,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the server asks us to wait, in seconds; None where it does not say."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return min(float(value) * scale, LONGEST_WAIT_S)
    try:
        at = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), LONGEST_WAIT_S)


def transport_error(server: OpenAIServer, error: BaseException, *, spoken: bool) -> EngineError:
    """The error for a connection that could not be made, or broke; `spoken`: in the middle of an answer."""
    url = server.shown_url
    host = urlsplit(server.url).hostname or url
    causes = tuple(causes_of(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return EngineUnavailable(
            server.name,
            f"the host `{host}` is not known",
            hint=f"check `base_url` of the provider `{server.name}`, and the network",
        )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        reason = next(shown(server, str(cause)) for cause in causes if isinstance(cause, ssl.SSLError))
        return EngineUnavailable(
            server.name,
            f"no safe connection to `{host}`: {reason}",
            hint="a server without TLS wants `http://`; one with a certificate of your own "
            "wants it in the system's store",
        )
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        hint = _HOW_TO_START.get(server.kind, "is the server running at {url}?").format(url=url)
        return EngineUnavailable(server.name, f"nothing listens at {url}", hint=hint)
    # the transports call some broken connections timeouts; only a real one has a TimeoutError beneath
    if any(isinstance(cause, TimeoutError) for cause in causes):
        names = {type(cause).__name__ for cause in causes}
        if names & {"ConnectTimeout", "ConnectionTimeoutError"}:
            return EngineTimeout(
                server.name,
                f"no connection to {url} within {server.connect_timeout_s:g} s",
                hint="is it reachable from here?",
            )
        return EngineTimeout(server.name, f"{url} was silent for {server.read_timeout_s:g} s")
    if spoken:
        return EngineUnavailable(server.name, f"{url} broke off in the middle of the answer")
    reason = next((text for cause in reversed(causes) if (text := shown(server, str(cause)))), "")
    return EngineUnavailable(
        server.name, f"the connection to {url} broke" + (f": {reason}" if reason else "")
    )


def shown(server: OpenAIServer, text: str) -> str:
    """A server's words in one short line, without the key."""
    line = " ".join(text.split())
    if server.api_key:
        line = line.replace(server.api_key, "…")
    for value in server.headers.values():
        line = line.replace(value, "…") if len(value) >= 8 else line
    return line if len(line) <= MAX_SHOWN_CHARS else line[: MAX_SHOWN_CHARS - 1] + "…"
