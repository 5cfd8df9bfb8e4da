"""Every error a user can meet.

CozyError
├── ConfigError            cozy.toml or the environment says something impossible
│   └── ConfigErrors       all of them at once
├── PersonalityError       a personality or pipeline does not pass the check
├── TurnError              a turn cannot go on
│   ├── StageTimeout       a stage did not end in its time
│   ├── TurnTimeout        the whole turn did not end in its time
│   ├── PromptTooLarge     what cannot be cut is more than the model reads
│   ├── TemplateFailed     a template failed on this turn's values
│   └── NoAnswer           no stage that speaks has run
├── EngineError            something outside (a model, an engine, a tool server) failed, by kind:
│   ├── EngineInitError        it could not be set up
│   ├── EngineTimeout          it did not answer in time
│   ├── EngineAuthError        it refused our credentials
│   ├── EngineRateLimited      it asks us to slow down
│   ├── EngineInvalidRequest   it refused this request; another try would be refused too
│   └── EngineUnavailable      it is away, or answered nonsense
│       └── EngineCircuitOpen      it has failed so often that it is left alone for a while
├── ToolError              a tool cannot be called, or failed
├── StorageError           the database failed
├── InvalidRequest         a request cannot be read, or asks for what cannot be
│   ├── Unsupported            it asks for something that Cozy does not do
│   └── TooLarge               it is longer than is taken
├── AuthError              nobody knows who asks, or they may not
│   ├── AuthRequired           no token and no key came with the request
│   ├── InvalidToken           the token or key is wrong, expired or revoked
│   ├── WrongPassword          name and password do not belong together
│   ├── SecondFactorNeeded     the password is right; a one-time code is wanted too
│   ├── AccountDisabled        an admin has closed the account
│   ├── RegistrationClosed     new users are not taken
│   └── Forbidden              known, and not allowed
├── NotFound               there is no such thing, or it is another user's
├── Conflict               there is one already, or it is being done
├── NotImplementedYet      a route that is there for a later version
├── RateLimited            too many requests from one caller
└── Overloaded             too many from all, or the server is being stopped
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known name, or lists what is known; None where nothing is."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=1, cutoff=0.6) or [n for n in names if n.lower() == name.lower()]
    if near:
        return f"did you mean `{near[0]}`?"
    if not names:
        return None
    shown = ", ".join(f"`{n}`" for n in names[:12])
    return f"known: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")


class CozyError(Exception):
    """An error that says what is wrong and what to do; `code` is stable."""

    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(
        self, message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: Mapping[str, Any] = details or {}

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class ConfigError(CozyError):
    """`cozy.toml` or the environment says something impossible."""

    code = "CONFIG_INVALID"


class ConfigErrors(ConfigError):
    """Everything that is wrong with the configuration; each problem says by itself that it is an error."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        super().__init__("\n".join(f"error: {problem}" for problem in problems))


class PersonalityError(CozyError):
    """A personality or a pipeline does not pass the check."""

    code = "PERSONALITY_INVALID"


class TurnError(CozyError):
    """A turn cannot go on."""

    code = "TURN_FAILED"


class StageTimeout(TurnError):
    code = "ENGINE_TIMEOUT"

    def __init__(self, stage: str, timeout_s: float) -> None:
        super().__init__(
            f"stage `{stage}` did not end within {timeout_s:g} s",
            details={"stage": stage, "timeout_s": timeout_s},
        )


class TurnTimeout(TurnError):
    code = "ENGINE_TURN_TIMEOUT"

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the turn did not end within {timeout_s:g} s", details={"timeout_s": timeout_s})


class PromptTooLarge(TurnError):
    code = "VALIDATION_PROMPT_TOO_LARGE"

    def __init__(self, needed: int, room: int, sections: Mapping[str, int]) -> None:
        parts = ", ".join(f"{name} {tokens}" for name, tokens in sections.items() if tokens)
        if room > 0:
            message = f"what cannot be cut needs {needed} tokens ({parts}), the model has room for {room}"
            shorten = "shorten the message or the personality's prompt, "
        else:
            message = "what is kept free for the answer (`max_tokens`) is all of the model's window, or more"
            shorten = ""
        super().__init__(
            message,
            hint=f"{shorten}lower `max_tokens`, or choose a model with a larger window",
            details={"needed": needed, "room": room, "sections": dict(sections)},
        )


class TemplateFailed(TurnError):
    code = "TURN_TEMPLATE_FAILED"


class NoAnswer(TurnError):
    code = "TURN_NO_ANSWER"


class EngineError(CozyError):
    """Something outside failed; `engine` names it, as in the configuration."""

    code = "ENGINE_UNAVAILABLE"
    retryable: ClassVar[bool] = False
    """Whether another try may go well."""
    counts: ClassVar[bool] = True
    """Whether it speaks against the engine: enough of these, and it is left alone."""

    def __init__(
        self,
        engine: str,
        message: str,
        *,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        wait = {"retry_after_s": retry_after_s} if retry_after_s is not None else {}
        super().__init__(f"{engine}: {message}", hint=hint, details={**(details or {}), **wait})
        self.engine = engine
        self.retry_after_s = retry_after_s


class EngineInitError(EngineError):
    """It is set up wrongly: there is none of this name, or its address or key cannot be used."""

    code = "ENGINE_INIT"


class EngineTimeout(EngineError):
    """It did not answer in time."""

    code = "ENGINE_TIMEOUT"
    retryable = True


class EngineAuthError(EngineError):
    """It refused our credentials, or our quota or credit there is used up."""

    code = "ENGINE_AUTH"


class EngineRateLimited(EngineError):
    """It asks us to slow down; where it says for how long, it is left alone so long."""

    code = "ENGINE_RATE_LIMITED"
    retryable = True


class EngineInvalidRequest(EngineError):
    """It refused this request; another try would be refused too."""

    code = "ENGINE_INVALID_REQUEST"
    counts = False


class EngineUnavailable(EngineError):
    """It is away, or answered nonsense."""

    code = "ENGINE_UNAVAILABLE"
    retryable = True


class EngineCircuitOpen(EngineUnavailable):
    """It has failed so often that it is left alone for a while, and was not asked."""

    code = "ENGINE_CIRCUIT_OPEN"
    retryable = False
    counts = False

    def __init__(self, engine: str, open_s: float) -> None:
        super().__init__(engine, "has failed too often and is left alone for a while", retry_after_s=open_s)


class ToolError(CozyError):
    """A tool cannot be called, or failed; the message goes back to the model."""

    code = "TOOL_FAILED"


class StorageError(CozyError):
    """The database failed."""

    code = "STORAGE_FAILED"


class NotFound(CozyError):
    """There is no such thing, or it is another user's: both answer alike."""

    code = "RESOURCE_NOT_FOUND"

    def __init__(self, kind: str, name: object, *, known: Iterable[str] = ()) -> None:
        super().__init__(f"no {kind} `{name}`", hint=did_you_mean(str(name), known))


class InvalidRequest(CozyError):
    """A request cannot be read, or asks for what cannot be; `param` is where, as OpenAI names it."""

    code = "VALIDATION_FAILED"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.param = param


class Unsupported(InvalidRequest):
    code = "VALIDATION_UNSUPPORTED"


class TooLarge(InvalidRequest):
    code = "VALIDATION_TOO_LARGE"


class AuthError(CozyError):
    """Nobody knows who asks, or they may not."""

    code = "AUTH_FAILED"


class AuthRequired(AuthError):
    code = "AUTH_REQUIRED"

    def __init__(self) -> None:
        super().__init__(
            "this needs a key or a token",
            hint="send `Authorization: Bearer …`; `cozy key create` makes a key",
        )


class InvalidToken(AuthError):
    """Wrong, expired and revoked are told apart in the log, not in the answer."""

    code = "AUTH_INVALID_TOKEN"

    def __init__(self, reason: str = "unknown") -> None:
        super().__init__("the key or token is not valid", hint="log in again, or ask for a new key")
        self.reason = reason
        """For the log: `expired`, `revoked`, `malformed`, `unknown` …"""


class WrongPassword(AuthError):
    code = "AUTH_WRONG_PASSWORD"

    def __init__(self) -> None:
        super().__init__("the user name or the password is wrong")


class SecondFactorNeeded(AuthError):
    code = "AUTH_SECOND_FACTOR_REQUIRED"

    def __init__(self, *, wrong: bool = False) -> None:
        super().__init__(
            "the one-time code is wrong" if wrong else "a one-time code is needed",
            hint="send `code` with the six digits that the authenticator shows",
        )


class AccountDisabled(AuthError):
    code = "AUTH_ACCOUNT_DISABLED"

    def __init__(self) -> None:
        super().__init__("this account is closed")


class RegistrationClosed(AuthError):
    code = "AUTH_REGISTRATION_CLOSED"

    def __init__(self) -> None:
        super().__init__("registration is closed here", hint="ask an admin for an account")


class Forbidden(AuthError):
    code = "AUTH_FORBIDDEN"

    def __init__(self, what: str = "this") -> None:
        super().__init__(f"{what} is not allowed for this user or key")


class Conflict(CozyError):
    """There is one already, or it is being done."""

    code = "RESOURCE_CONFLICT"

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class NotImplementedYet(CozyError):
    """A route that is there for a later version."""

    code = "RESOURCE_NOT_IMPLEMENTED"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not available in this version")


class RateLimited(CozyError):
    """Too many requests from one caller."""

    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(f"too many {what}", hint=f"try again in {max(1, round(retry_after_s))} s")
        self.retry_after_s = retry_after_s


class Overloaded(CozyError):
    """Too many from all callers together, or the server is being stopped."""

    code = "RATE_LIMIT_OVERLOADED"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=f"try again in {max(1, round(retry_after_s))} s")
        self.retry_after_s = retry_after_s
