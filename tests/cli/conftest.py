"""Fixtures of the commands' tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.terminal import environment


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty project, on a machine where nothing is configured."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in set(os.environ) - {"PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    for name, value in environment(folder.parent).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return folder
