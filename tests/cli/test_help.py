"""Help is quick: it loads none of the packages that the commands themselves need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cozy.cli import COMMANDS
from tests.cli.terminal import cozy, environment

HEAVY = {
    "alembic",
    "anyio",
    "asyncio",
    "httpx2",
    "hypercorn",
    "jinja2",
    "jsonschema",
    "openai",
    "prompt_toolkit",
    "pydantic",
    "redis",
    "rich",
    "sqlalchemy",
    "starlette",
    "strictyaml",
    "tiktoken",
}


def loaded(folder: Path, *arguments: str) -> set[str]:
    """The top-level packages that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cozy", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    modules = re.findall(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", done.stderr, flags=re.MULTILINE)
    assert "click" in modules, "the list of imports was not read"
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["chat", "--help"], ["knowledge", "--help"]]
)
def test_help_loads_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    assert loaded(tmp_path, *arguments) & HEAVY == set()


def test_a_server_without_redis_does_not_load_its_client() -> None:
    program = "import sys, cozy.service, cozy.startup; print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_help_names_every_command(tmp_path: Path) -> None:
    told = cozy(tmp_path, "--help").out
    assert all(re.search(rf"^  {name}\s", told, flags=re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_of_its_own(name: str) -> None:
    from click.testing import CliRunner

    from cozy.cli import app

    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) > 3


def test_an_unknown_command_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = cozy(tmp_path, "chatt")
    assert done.code == 2
    assert "did you mean `chat`?" in done.err
