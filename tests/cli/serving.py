"""Servers as processes of their own, and a client that reads what they say while they say it."""

from __future__ import annotations

import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cli.terminal import environment

PATIENCE_S = 60.0


class Running:
    """A server that was started."""

    def __init__(self, command: Sequence[str], folder: Path, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environment(folder, **environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, kept), daemon=True)
            for stream, kept in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterator[str], kept: list[str]) -> None:
        for line in stream:
            kept.append(line)
            self._lines.put(line)

    def said(self, words: str) -> str:
        """Wait for a line with these words; gives it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            # looked at first: what it said before it ended is then read below, or waits to be
            ended = not any(reader.is_alive() for reader in self._readers)
            for line in [*self.err, *self.out]:
                if words in line:
                    return line
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"`{words}` was not said, but:\n{''.join([*self.err, *self.out])}")
            try:
                self._lines.get(timeout=0.1)
            except queue.Empty:
                continue

    @property
    def port(self) -> int:
        found = re.search(r":(\d+)$", self.said("listening on http://").strip())
        assert found
        return int(found[1])

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for it to end; gives the exit code."""
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code


@contextmanager
def running(command: Sequence[str], folder: Path, **environ: str) -> Iterator[Running]:
    """A server that is killed, with its children, when the block is left."""
    server = Running(command, folder, **environ)
    try:
        yield server
    finally:
        server.process.kill()  # children see that their supervisor is gone
        server.end()
        for stream in (server.process.stdout, server.process.stderr):
            assert stream
            stream.close()


class Stream:
    """An answer under way."""

    def __init__(self, port: int, path: str, *, method: str = "GET", key: str = "", body: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close"]
        lines += [f"authorization: Bearer {key}"] if key else []
        if method != "GET":
            lines += ["content-type: application/json", f"content-length: {len(body.encode())}"]
        self._socket.sendall("\r\n".join([*lines, "", body]).encode())
        self.text = ""

    def read_until(self, words: str) -> None:
        while words not in self.text:
            got = self._socket.recv(65536)
            assert got, f"it ended with {self.text!r}"
            self.text += got.decode()

    def rest(self) -> str:
        """Everything, to the end of the connection."""
        while True:
            try:
                got = self._socket.recv(65536)
            except ConnectionError:
                got = b""
            if not got:
                self._socket.close()
                return self.text
            self.text += got.decode()


def get(port: int, path: str) -> str:
    """A whole answer, headers included; empty where the connection was cut."""
    return Stream(port, path).rest()


def until(holds: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
