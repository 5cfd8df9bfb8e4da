"""Every model of the installation behind one port: `provider/name` goes to the provider's adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager

from cozy.errors import EngineInitError, did_you_mean
from cozy.ports.llm import LLM, Chunk, LLMRequest, ModelCard


class LLMRouter:
    """Adapters by the name of their provider."""

    def __init__(self, providers: Mapping[str, LLM]) -> None:
        self._providers = dict(providers)

    def card(self, model: str) -> ModelCard:
        """What is known of `provider/name`. Raises EngineInitError for a provider that is not there."""
        return self._adapter(model).card(model)

    def stream(self, request: LLMRequest) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """The answer of the adapter. Raises EngineInitError for a provider that is not there."""
        return self._adapter(request.model).stream(request)

    def _adapter(self, model: str) -> LLM:
        provider, _, name = model.partition("/")
        if not name:
            raise EngineInitError(
                model, "a model is named by its provider and its name", hint=self._suggestion(model)
            )
        adapter = self._providers.get(provider)
        if adapter is None:
            raise EngineInitError(
                provider,
                f"no provider of this name is configured, so there is no model `{model}`",
                hint=f"{did_you_mean(provider, self._providers) or 'there are no providers'}; "
                f"a new one goes under `[providers.{provider}]` in cozy.toml",
            )
        return adapter

    def _suggestion(self, model: str) -> str:
        provider = next((p for p in self._providers if p != "demo"), "openai")
        return f"write `{provider}/{'NAME' if '/' in model or not model else model}`"
