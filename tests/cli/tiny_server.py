"""A small application behind the server and the supervisor of `cozy serve`, as a program of its own.

`/` tells the process, `/stream?s=2` speaks for two seconds and notes in the file that `LEFT` names when it is
cut off, `/die` kills the process, `/block` has it hear nothing any more. `SLOW_START_S` and `DIES_AT_START`
make its children misbehave.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

if "--child" in sys.argv and Path(os.environ.get("DIES_AT_START", "no such file")).exists():
    sys.exit(7)  # before it has loaded anything: there are many who die

import anyio

from cozy.cli.json_logs import configure_logs
from cozy.cli.listener import address_of, bound
from cozy.cli.serve import Orders, answer
from cozy.cli.shared_metrics import open_shares
from cozy.cli.supervisor import Supervisor
from cozy.settings import ServerSettings

SETTINGS = ServerSettings(port=0, grace_s=float(os.environ.get("GRACE_S", "60")))


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["path"] == "/die":
        os._exit(3)
    if scope["path"] == "/stream":
        try:
            for _ in range(int(float(scope["query_string"].partition(b"=")[2]) * 10)):
                await send({"type": "http.response.body", "body": b"word ", "more_body": True})
                await anyio.sleep(0.1)
        except anyio.get_cancelled_exc_class():
            Path(os.environ.get("LEFT", os.devnull)).write_text("kept")
            raise
    if scope["path"] == "/block":
        await send({"type": "http.response.body", "body": b"word ", "more_body": True})
        time.sleep(60)
    await send({"type": "http.response.body", "body": b"end of %d" % os.getpid()})


async def run(listener: socket.socket, control: socket.socket | None) -> int:
    orders = Orders()
    async with anyio.create_task_group() as tasks:

        async def end_at_once() -> None:
            await orders.now.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(end_at_once)
        if control is None:
            orders.obey_signals()
            print(f"listening on {address_of(listener)}", file=sys.stderr, flush=True)
        else:
            tasks.start_soon(orders.obey_supervisor, control)
            control.send(b"r")
        await answer(app, listener, SETTINGS, orders)
        tasks.cancel_scope.cancel()
    return 128 + orders.signal if orders.signal else 0


def main() -> int:
    configure_logs("text")
    if "--child" in sys.argv:
        time.sleep(float(os.environ.get("SLOW_START_S", "0")))
        listener, control = (socket.socket(fileno=int(n)) for n in sys.argv[-1].split(",")[:2])
        return anyio.run(run, listener, control)
    listener = bound(SETTINGS)
    workers = int(os.environ.get("WORKERS", "1"))
    if workers == 1:
        return anyio.run(run, listener, None)
    with open_shares() as shares:
        supervisor = Supervisor(
            listener,
            [sys.executable, "-m", "tests.cli.tiny_server"],
            workers,
            shares,
            grace_s=SETTINGS.grace_s,
            on_ready=lambda: print(f"listening on {address_of(listener)}", file=sys.stderr, flush=True),
            quick_s=float(os.environ.get("QUICK_S", "0.2")),
            longest_pause_s=0.2,
            leaving_s=4,  # connections take two
            haste_s=float(os.environ.get("HASTE_S", "60")),
        )
        return anyio.run(supervisor.run)


if __name__ == "__main__":
    sys.exit(main())
