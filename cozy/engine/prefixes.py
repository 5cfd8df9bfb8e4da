"""How much of each prompt a model's server has seen before: what prompt caches can work with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from cozy.turn import Message


class PrefixLog:
    """The last prompt of each conversation, as hashes: no text is kept."""

    def __init__(self, conversations: int = 2048) -> None:
        self._last: OrderedDict[Hashable, tuple[int, ...]] = OrderedDict()
        self._conversations = conversations

    def matched(self, conversation: Hashable, messages: Sequence[Message]) -> int:
        """How many messages at the beginning are as in the prompt before; remembers this one."""
        hashes = tuple(hash((m.role, m.content, m.tool_calls, m.tool_call_id)) for m in messages)
        before = self._last.pop(conversation, ())
        self._last[conversation] = hashes
        if len(self._last) > self._conversations:
            self._last.popitem(last=False)
        same = 0
        for new, old in zip(hashes, before, strict=False):
            if new != old:
                break
            same += 1
        return same
