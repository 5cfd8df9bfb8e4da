"""What stages need of the world, not how it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cozy.ports.context import Context
from cozy.ports.effects import Effects
from cozy.ports.jobs import Jobs, Unbounded
from cozy.ports.llm import LLM
from cozy.ports.memory import Memories
from cozy.ports.operations import Audit
from cozy.ports.profile import Profiles
from cozy.ports.store import Store
from cozy.ports.tools import Toolbox
from cozy.usage import Usage


class TokenCounter(Protocol):
    """Counts tokens as a model's vocabulary does, or nearly; never waits for a network."""

    def count(self, text: str, model: str) -> int:
        """Tokens of `text` for `provider/name`, leaning to the high side where it is an estimate."""
        ...

    def learn(self, model: str, estimated: int, usage: Usage) -> None:
        """What a server counted for a prompt that we took to be `estimated` tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The bundle that a turn is given."""

    llm: LLM
    tools: Toolbox
    profiles: Profiles
    memories: Memories
    """As `profiles`, of the engine that the configuration chooses: for who looks after what is known."""
    context: Context
    """Knowledge, profile and memory as turns ask for them, of whichever engine a personality names."""
    store: Store
    tokens: TokenCounter
    effects: Effects
    audit: Audit
    jobs: Jobs = field(default_factory=Unbounded)
    """Those who do what turns leave to be done."""
