"""Whatever is sent to any route: it answers as `/openapi.json` says, and never with an error of its own.

To look further than CI has time for, serve a project and run schemathesis against it by hand:

    PYTHONPATH=. st --config-file tests/interfaces/http/schemathesis.toml run \\
        http://127.0.0.1:8000/openapi.json -H "Authorization: Bearer $KEY" --max-examples 500
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio

from tests.interfaces.http.serving import Served

CONFIG = Path(__file__).with_name("schemathesis.toml")
ROOT = Path(__file__).parents[3]


async def problems(
    house: Served,
    folder: Path,
    *options: str,
    examples: int,
    credential: str | None = None,
    session: str = "new",
) -> str:
    """What schemathesis has to say of the server; empty where all is well.

    Chats that name a session go into `session`.
    """
    sent = ["--header", f"Authorization: Bearer {credential}"] if credential else []
    # the same requests in every run
    fixed = ["--generation-deterministic", "--max-examples", str(examples)]
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    done = await anyio.run_process(
        [*program, *fixed, *sent, *options, f"{house.url}/openapi.json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COZY_SESSION": session},
        check=False,
        stderr=None,
    )
    return f"schemathesis ended with {done.returncode}\n{done.stdout.decode()}" if done.returncode else ""


async def test_whatever_an_admin_sends_is_answered_as_the_document_says(
    house: Served, tmp_path: Path
) -> None:
    token = await house.token("root", admin=True)
    # a logout that goes well would end the login of this run
    options = ("--phases", "coverage", "--exclude-path-regex", "/logout$")
    async with house.http(token) as client:
        session = (await client.post("/v1/sessions", json={})).json()["session_id"]
    found = await problems(house, tmp_path, *options, examples=1, credential=token, session=session)
    assert not found, found


async def test_whatever_a_user_sends_with_a_key_is_answered_as_the_document_says(
    house: Served, ada: str, tmp_path: Path
) -> None:
    # and what one answer gives goes into other requests
    options = ("--phases", "fuzzing,stateful")
    found = await problems(house, tmp_path, *options, examples=2, credential=ada)
    assert not found, found


async def test_whatever_a_stranger_sends_is_answered_with_401_alone(house: Served, tmp_path: Path) -> None:
    checks = "not_a_server_error,status_code_conformance,response_schema_conformance,nobody_is_let_in"
    # keys are made up by schemathesis, or left out
    options = ("--phases", "fuzzing", "--checks", checks)
    found = await problems(house, tmp_path, *options, examples=1)
    assert not found, found
