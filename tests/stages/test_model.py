"""Settings of a model, those of a stage over those of the personality."""

from __future__ import annotations

from cozy.ports.llm import ModelCard
from cozy.stages.base import ModelChoice
from cozy.stages.model import ModelSettings

MIA = ModelSettings(name="test/big", temperature=0.5, context_tokens=2048, fallbacks=("test/small",))


def test_a_stage_says_what_is_different_and_leaves_the_rest() -> None:
    made = ModelSettings(temperature=0).over(MIA)
    assert made == MIA.model_copy(update={"temperature": 0})


def test_the_window_of_one_model_is_not_that_of_another() -> None:
    assert ModelSettings(name="test/cheap").over(MIA).context_tokens is None
    assert ModelSettings(name="test/cheap", context_tokens=512).over(MIA).context_tokens == 512
    assert ModelSettings(name="test/big").over(MIA).context_tokens == 2048


def test_a_window_that_was_told_is_the_first_models() -> None:
    choice = ModelChoice(("test/big", "test/small"), context_tokens=2048)
    assert choice.window("test/big", ModelCard("test/big", 8192)) == 2048
    assert choice.window("test/small", ModelCard("test/small", 8192)) == 8192
    assert ModelChoice(("test/big",)).window("test/big", ModelCard("test/big", 8192)) == 8192
