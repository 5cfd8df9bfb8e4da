"""The bytes of a chat completion → chunks, streamed or whole, in any server's dialect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from cozy.adapters.loose_json import CharacterJoin, parsed, whole_number
from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_errors import complaint_of, shown, stream_error
from cozy.adapters.openai_request import WireRequest
from cozy.adapters.sse import ServerSentEvent, SSEOverflow, SSEParser
from cozy.adapters.tool_call_join import NamelessCall, ToolCallJoin
from cozy.errors import EngineError, EngineUnavailable
from cozy.events import FinishReason
from cozy.ports.llm import Chunk, FinishChunk, ReasoningChunk, TextChunk, ToolCallChunk
from cozy.usage import Usage

MAX_BODY_BYTES = 32 * 1024 * 1024

# What servers call the end, beyond OpenAI's own words; anything else is `stop`
_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
}
# Ends that are failures: vLLM and SGLang, DeepSeek, Mistral, Zhipu
_BROKEN_ENDS = frozenset({"abort", "insufficient_system_resource", "error", "network_error"})

# `obfuscation` is padding against eavesdroppers
_KNOWN_FIELDS = frozenset({"id", "object", "created", "model", "choices", "usage", "obfuscation"})
_KNOWN_CHOICE_FIELDS = frozenset({"index", "delta", "message", "finish_reason"})
_KNOWN_DELTA_FIELDS = frozenset(
    {
        "role",
        "content",
        "tool_calls",
        "function_call",
        "reasoning",
        "reasoning_content",
        "refusal",
    }
)


class CompletionReader:
    """Reads one answer. `feed` and `end` raise EngineError where it is none, after what came before."""

    def __init__(self, server: OpenAIServer, request: WireRequest) -> None:
        self._server = server
        self._request = request
        self._sse = SSEParser()
        self._form: str | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._calls = ToolCallJoin()
        self._joins = {TextChunk: CharacterJoin(), ReasoningChunk: CharacterJoin()}
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._extra: dict[str, Any] = {}
        self.spoken = False
        """Something that the user or a tool may see has come."""
        self.done = False
        """The server has said that nothing follows."""

    @property
    def finished(self) -> bool:
        """The answer is whole; at most its usage is still to come."""
        return self._reason is not None

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """The chunks that these bytes complete."""
        if self._form == "stream":
            yield from self._events(data)
            return
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES:
            raise self._nonsense("a body without an end")
        if self._form is None:
            start = b"".join(self._body)
            self._form = _form(start)
            if self._form == "stream":
                self._body.clear()
                yield from self._events(start)

    def end(self, headers: Mapping[str, str]) -> Iterator[Chunk]:
        """The last chunks, FinishChunk among them, when nothing more comes."""
        if self._form != "stream":
            yield from self._whole(b"".join(self._body))
        elif not self.done:
            yield from self._events(b"\n\n")  # a last event that no blank line closed
        if self._reason is None:
            where = "in the middle of the answer" if self.spoken else "before the first word"
            raise EngineUnavailable(self._server.name, f"{self._server.shown_url} stopped {where}")
        if self._reason.lower() in _BROKEN_ENDS:
            raise EngineUnavailable(
                self._server.name, f"{self._server.shown_url} broke the answer off: {self._reason}"
            )
        try:
            yield from self._calls.finish()
        except NamelessCall as error:
            raise self._nonsense(str(error)) from error
        request_id = headers.get("x-request-id")
        if request_id:
            self._extra["request_id"] = request_id
        if self._request.unsent:
            self._extra["unsent"] = self._request.unsent
        for kind, join in self._joins.items():
            if half := join.end():
                yield kind(half)
        yield FinishChunk(self._finish_reason(self._reason), self._usage, self._model or None, self._extra)

    def _finish_reason(self, said: str) -> FinishReason:
        reason = _REASONS.get(said.lower())
        if reason is None:
            self._extra["finish_reason"] = said
        if reason in (None, "stop", "tool_calls"):
            return "tool_calls" if self._calls.has_calls else "stop"
        return reason

    def _whole(self, body: bytes) -> list[Chunk]:
        """The chunks of a server that does not stream, or the error that it answered with."""
        text = body.decode("utf-8-sig", errors="replace").strip()
        try:
            answer = parsed(text)
        except ValueError:
            raise self._nonsense(_described(text)) from None
        if isinstance(answer, dict) and "choices" in answer:
            return self._take(cast("dict[str, Any]", answer))
        if complaint_of(answer).message:
            raise stream_error(self._server, self._request.model, answer)
        raise self._nonsense("JSON without `choices`")

    def _events(self, data: bytes) -> Iterator[Chunk]:
        try:
            events = self._sse.feed(data)
        except SSEOverflow as error:
            raise self._nonsense(str(error)) from error
        for event in events:
            if event.data.strip() == "[DONE]":
                self.done = True
            if self.done:
                return
            answer = self._parsed(event)
            if answer is not None:
                yield from self._take(answer)

    def _parsed(self, event: ServerSentEvent) -> dict[str, Any] | None:
        """The event's object; None for one that says nothing."""
        try:
            answer = parsed(event.data)
        except ValueError:
            if not event.data.strip():
                return None
            if event.name == "error":
                raise stream_error(self._server, self._request.model, event.data) from None
            raise self._nonsense(f"an event that is no JSON: {event.data[:120]}") from None
        if event.name == "error":
            raise stream_error(self._server, self._request.model, answer)
        if not isinstance(answer, dict):
            return None
        answer = cast("dict[str, Any]", answer)
        if answer.get("error") or answer.get("object") == "error":
            raise stream_error(self._server, self._request.model, answer)
        return answer

    def _take(self, answer: dict[str, Any]) -> list[Chunk]:
        """Read one chunk, or one whole answer."""
        for name, value in answer.items():
            if name not in _KNOWN_FIELDS:
                self._keep(name, value)
        if self._model is None:
            self._model = _text(answer.get("model"))
            self._keep("id", answer.get("id"))
        usage = answer.get("usage")
        if isinstance(usage, dict):
            self._usage = _usage(cast("dict[str, Any]", usage))
            self._extra["usage"] = usage
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            return []
        choice = cast("list[Any]", choices)[0]
        if not isinstance(choice, dict) or whole_number(cast("dict[str, Any]", choice).get("index")):
            return []
        chunks = self._joined(self._choice(cast("dict[str, Any]", choice)))
        if chunks:
            self.spoken = True
        return chunks

    def _choice(self, choice: dict[str, Any]) -> list[Chunk]:
        # some servers repeat all that was said under `message`, beside the delta
        delta = choice["delta"] if "delta" in choice else choice.get("message")
        for name, value in choice.items():
            if name not in _KNOWN_CHOICE_FIELDS:
                self._keep(name, value)
        self._reason = _text(choice.get("finish_reason")) or self._reason
        return self._delta(cast("dict[str, Any]", delta)) if isinstance(delta, dict) else []

    def _delta(self, delta: dict[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought and isinstance(thought, str):
            chunks.append(ReasoningChunk(thought))
        content = delta.get("content")
        if isinstance(content, str):
            if content:
                chunks.append(TextChunk(content))
        elif isinstance(content, list):
            chunks.extend(_parts(cast("list[Any]", content)))
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            chunks.append(TextChunk(refusal))
        calls = delta.get("tool_calls")
        if not calls and isinstance(delta.get("function_call"), dict):
            calls = [{"index": 0, "function": delta["function_call"]}]
        if isinstance(calls, list):
            chunks.extend(self._named(chunk) for chunk in self._calls.feed(cast("list[Any]", calls)))
        for name, value in delta.items():
            if name not in _KNOWN_DELTA_FIELDS:
                self._keep(name, value)
        return chunks

    def _joined(self, chunks: list[Chunk]) -> list[Chunk]:
        """The chunks with whole characters only."""
        whole: list[Chunk] = []
        for chunk in chunks:
            if isinstance(chunk, TextChunk | ReasoningChunk):
                text = self._joins[type(chunk)].feed(chunk.text)
                if text == chunk.text:
                    whole.append(chunk)
                elif text:
                    whole.append(type(chunk)(text))
            else:
                whole.append(chunk)
        return whole

    def _named(self, chunk: ToolCallChunk) -> ToolCallChunk:
        """The chunk with Cozy's name of the tool."""
        name = self._request.tool_names.get(chunk.name)
        if name is None:
            return chunk
        return ToolCallChunk(chunk.index, chunk.id, name, chunk.arguments)

    def _keep(self, name: str, value: Any) -> None:
        """Keep a field that nobody here reads; lists grow from chunk to chunk."""
        if value is None:
            return
        before = self._extra.get(name)
        if isinstance(before, list) and isinstance(value, list):
            cast("list[Any]", before).extend(cast("list[Any]", value))
        else:
            self._extra[name] = value

    def _nonsense(self, what: str) -> EngineError:
        return EngineUnavailable(
            self._server.name,
            f"{self._server.shown_url} answered with {shown(self._server, what)}, not with a model's words",
            hint=f"check `base_url` of the provider `{self._server.name}`",
        )


def _form(start: bytes) -> str | None:
    """What a body is, by its first character; None: not to be told yet."""
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head or start in (b"\xef", b"\xef\xbb"):
        return None
    return "body" if head[:1] in (b"{", b"[", b"<") else "stream"


def _described(text: str) -> str:
    """What a body is that should have been JSON."""
    if not text:
        return "an empty body"
    kind = "a web page" if text.startswith("<") else "something that is no JSON"
    return f"{kind}: {' '.join(complaint_of(text).message.split())[:120]}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parts(parts: list[Any]) -> list[Chunk]:
    """Content as a list: Mistral's reasoning models write `thinking` parts beside `text`."""
    chunks: list[Chunk] = []
    for part in parts:
        if not isinstance(part, dict):
            continue
        part = cast("dict[str, Any]", part)
        text = part.get("text")
        if isinstance(text, str) and text:
            chunks.append(TextChunk(text))
        thinking = part.get("thinking")
        if isinstance(thinking, list):
            inner = (
                cast("dict[str, Any]", p).get("text")
                for p in cast("list[Any]", thinking)
                if isinstance(p, dict)
            )
            chunks.extend(ReasoningChunk(t) for t in inner if isinstance(t, str) and t)
        elif isinstance(thinking, str) and thinking:
            chunks.append(ReasoningChunk(thinking))
    return chunks


def _usage(usage: dict[str, Any]) -> Usage:
    """OpenAI's counts; DeepSeek's and others' names for cached tokens too."""
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = (
        _count(prompt, "cached_tokens")
        or _count(usage, "prompt_cache_hit_tokens")
        or _count(usage, "cached_tokens")
    )
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=cached,
        reasoning_tokens=_count(completion, "reasoning_tokens") or _count(usage, "reasoning_tokens"),
    )


def _count(counts: Any, name: str) -> int:
    if not isinstance(counts, dict):
        return 0
    return whole_number(cast("dict[str, Any]", counts).get(name)) or 0
