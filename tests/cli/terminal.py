"""`cozy` as a process of its own, in a folder of the test, on a machine where nothing is configured."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from cozy.cli import app
from cozy.errors import ConfigErrors, CozyError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def cozy(folder: Path, *arguments: str, says: str | bytes = "", **environ: str) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "cozy", *arguments],
        cwd=folder,
        env=environment(folder, **environ),
        input=says.encode() if isinstance(says, str) else says,
        capture_output=True,
        timeout=180,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def called(*arguments: str, says: str = "") -> Ended:
    """The same within this process, which is quicker; where, the fixture `here` has settled."""
    done = CliRunner().invoke(app, arguments, input=says)
    if isinstance(done.exception, CozyError):  # as `main` tells it
        telling = "" if isinstance(done.exception, ConfigErrors) else "error: "
        return Ended(1, done.stdout, f"{done.stderr}{telling}{done.exception}\n")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Nothing of the machine's own but what Python needs to start."""
    kept = {
        k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    }
    home = folder / ".home"
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),  # what a killed server leaves goes with the test
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "COZY_USER": "ada",
        **more,
    }
