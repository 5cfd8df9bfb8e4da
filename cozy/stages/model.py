"""Which model answers, and how: the same settings for a personality and for one stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cozy.stages.base import ModelChoice, Names, Settings
from cozy.turn import Sampling


class ModelSettings(Settings):
    """Which model answers, and how it chooses its words."""

    name: str | None = Field(default=None, pattern=r"^(auto|[^\s/]+/\S+)$")
    """`provider/model`; `auto`, or nothing, is the installation's default."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 always takes the likeliest word, 2 is wild."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Only words among the likeliest that together have this probability."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Upper bound of the answer, in tokens."""
    stop: Names = ()
    """Texts at which the answer ends."""
    seed: int | None = None
    """The same seed asks the server for the same answer."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Above 0 it turns to new subjects sooner."""
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Above 0 it repeats its words less."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    """How long a reasoning model may think."""
    context_tokens: int | None = Field(default=None, ge=512)
    """The model's window, where Cozy does not know it or knows it wrongly."""
    fallbacks: Names = ()
    """Models to try in turn while no word has been spoken."""

    def over(self, base: ModelSettings) -> ModelSettings:
        """These settings where they are given, the others' where they are not."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if self.name is not None and self.name != base.name:
            given.setdefault("context_tokens", None)  # the others' is another model's window
        return base.model_copy(update=given)

    def choice(self, default: str) -> ModelChoice:
        """The models to try, first to last; `default` stands for `auto`."""
        named = (self.name or "auto", *self.fallbacks)
        return ModelChoice(
            names=tuple(dict.fromkeys(default if name == "auto" else name for name in named)),
            sampling=Sampling(
                temperature=self.temperature,
                top_p=self.top_p,
                max_tokens=self.max_tokens,
                stop=self.stop,
                seed=self.seed,
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
                reasoning_effort=self.reasoning_effort,
            ),
            context_tokens=self.context_tokens,
        )
