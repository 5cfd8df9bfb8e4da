"""What connections need of the system; what they do is in tests/interfaces/http/test_connections.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import logging, resource, sys
from cozy.cli.connections import make_room
logging.basicConfig(format="%(message)s")
now, most, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
make_room(connections)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
CASES = {
    "too few at first": (256, 2000, 1000, "1500 2000", False),
    "enough at first": (1800, 2000, 1000, "1800 2000", False),
    "too few at most": (256, 1200, 1000, "1200 1200", True),
}


@pytest.mark.parametrize(("now", "most", "connections", "then", "warns"), CASES.values(), ids=CASES.keys())
def test_as_many_files_may_be_open_as_connections_need(
    now: int, most: int, connections: int, then: str, warns: bool
) -> None:
    command = [sys.executable, "-c", SCRIPT, str(now), str(most), str(connections)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == then
    assert ("too few files" in done.stderr) is warns
