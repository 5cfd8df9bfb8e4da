"""`cozy serve`, which tells what it holds whenever it gets SIGUSR1: for those who look for leaks.

Each time a line of JSON is appended to the file that `OBSERVED` names: the event loop's tasks by the function
that each one runs, the objects that the garbage collector knows, and the process's memory.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from cozy.cli import app


def name_of(task: asyncio.Task[object]) -> str:
    """What it runs: anyio names its tasks so, asyncio numbers them."""
    coroutine: Any = task.get_coro()
    return coroutine.__qualname__ if task.get_name().startswith("Task-") else task.get_name()


def tell(_number: int, _frame: object) -> None:
    """In the main thread, between two instructions of whatever the loop is doing."""
    tasks = Counter(map(name_of, asyncio.all_tasks(asyncio.get_running_loop())))
    gc.collect()
    with suppress(OSError, AttributeError):  # what is free goes back to the system, so that growth is growth
        ctypes.CDLL(None).malloc_trim(0)
    held = {"tasks": tasks, "objects": len(gc.get_objects()), "memory": psutil.Process().memory_info().rss}
    with Path(os.environ["OBSERVED"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(held) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    app(["serve", *sys.argv[1:]])
