"""What every engine of the personal context holds to, as tests for those who write one.

Subclass the class of your port, and give it your engine as a fixture of the port's name:

    import pytest
    from cozy.testing.contracts import MemoriesContract

    class TestMyMemories(MemoriesContract):
        @pytest.fixture
        async def memories(self):
            async with open_my_memories() as engine:
                yield engine

anyio's plugin, which comes with Cozy, runs them; `pyproject.toml` has to say so:

    [tool.pytest.ini_options]
    anyio_mode = "auto"

The fixture gives an engine that knows nothing of the users that `new_user` makes; one for knowledge already
holds `DOCUMENTS`. What it learns may be put in its own words: the tests look for the words that matter.
`ScriptedKnowledgeContract` and its sisters are the part that holds for stand-ins too, which know no more than
they were made with.
"""

from cozy.testing.contracts.base import Contract
from cozy.testing.contracts.knowledge import DOCUMENTS, KnowledgeContract, ScriptedKnowledgeContract
from cozy.testing.contracts.memories import MemoriesContract, ScriptedMemoriesContract
from cozy.testing.contracts.profiles import ProfilesContract, ScriptedProfilesContract

__all__ = [
    "DOCUMENTS",
    "Contract",
    "KnowledgeContract",
    "MemoriesContract",
    "ProfilesContract",
    "ScriptedKnowledgeContract",
    "ScriptedMemoriesContract",
    "ScriptedProfilesContract",
]
