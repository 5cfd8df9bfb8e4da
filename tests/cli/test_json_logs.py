"""Log lines: what stands in them, and what cannot."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import cozy
from cozy.cli.json_logs import FIELDS, HIDDEN, JsonFormatter, TextFormatter
from cozy.dsl import diagnostics
from cozy.dsl.diagnostics import Diagnostic, Place
from cozy.errors import EngineUnavailable
from tests.cli.terminal import environment

USED = (
    "asyncio",
    "cozy",
    "cozy.http",
    "cozy.turn",
    "cozymetrics",
    "openai",
    "openai._base_client",
    "somelib",
)
PACKAGE = Path(cozy.__file__).parent
WORDS = "my cat is called Whiskerina"
KEY = "sk-proj-Zk3Qw9Xv7Tn5Lm1Pb8Rd"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlZm9ydGVzdHM"
PLANTED = (WORDS, KEY, TOKEN, "Whiskerina", "Zk3Qw9Xv7Tn5")


class Logs:
    """Loggers whose lines are kept."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.out = io.StringIO()
        self.handler = logging.StreamHandler(self.out)
        self.handler.setFormatter(formatter)

    def logger(self, name: str) -> logging.Logger:
        logger = logging.getLogger(name)
        logger.handlers[:] = [self.handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
        return logger

    @property
    def text(self) -> str:
        return self.out.getvalue()

    @property
    def last(self) -> dict[str, Any]:
        return json.loads(self.text.splitlines()[-1])


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    yield
    for name in USED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture
def logs() -> Logs:
    return Logs(JsonFormatter())


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_line_has_a_time_a_level_words_and_the_fields_that_are_there(logs: Logs) -> None:
    fields = {
        "request_id": "req_0123456789abcdef0123456789abcdef",
        "user_id": UUID(int=7),
        "personality_id": "health_assistant",
        "route": "/v1/sessions/{id}",
        "method": "GET",
        "status": 200,
        "latency_ms": 12.345678,
        "degraded": ["memory", "knowledge"],
        "session_id": None,
        "unknown_field": 3,
    }
    logs.logger("cozy.http").info("request", extra=fields)
    line = logs.last
    assert line.pop("timestamp")[-5:-4] == "."
    assert line == {
        "level": "info",
        "logger": "cozy.http",
        "message": "request",
        "request_id": "req_0123456789abcdef0123456789abcdef",
        "user_id": str(UUID(int=7)),
        "personality_id": "health_assistant",
        "method": "GET",
        "route": "/v1/sessions/{id}",
        "status": 200,
        "latency_ms": 12.3457,
        "degraded": ["memory", "knowledge"],
    }
    assert len(logs.text.splitlines()) == 1


def test_an_error_is_its_type_its_code_and_its_way_through_the_code(logs: Logs) -> None:
    try:
        try:
            raise ConnectionResetError(WORDS)
        except ConnectionResetError as cause:
            raise EngineUnavailable("openai", f"it said {KEY}") from cause
    except EngineUnavailable:
        logs.logger("cozy.turn").exception("stage %s of %s failed", "llm", "mia")
    line = logs.last
    assert line["message"] == "stage llm of mia failed"
    assert [(e["type"], e.get("code"), e.get("how")) for e in line["exception"]] == [
        ("cozy.errors.EngineUnavailable", "ENGINE_UNAVAILABLE", None),
        ("ConnectionResetError", None, "because of"),
    ]
    frame = line["exception"][0]["frames"][0]
    assert frame.startswith("test_json_logs.py:")
    assert frame.endswith(":test_an_error_is_its_type_its_code_and_its_way_through_the_code")


@pytest.mark.parametrize(
    ("file", "named"),
    [
        (f"{PACKAGE.as_posix()}/engine/new.py", "cozy/engine/new.py"),
        ("/x/cozy/mine.py", "mine.py"),
        ("/x/cozy/.venv/lib/site-packages/cozy/engine/new.py", "cozy/engine/new.py"),
        ("C:\\x\\mine.py", "mine.py"),
    ],
    ids=["ours", "in a folder of our name", "installed there", "on Windows"],
)
def test_a_file_is_named_without_where_it_lies(logs: Logs, file: str, named: str) -> None:
    try:
        exec(compile("1 / 0", file, "exec"))
    except ZeroDivisionError:
        logs.logger("cozy.turn").exception("turn of %s failed", "mia")
    assert logs.last["exception"][0]["frames"][-1] == f"{named}:1:<module>"


def in_a_group() -> BaseException:
    inner = ExceptionGroup(WORDS, [raised(KeyError(TOKEN)), raised(ValueError(KEY))])
    return raised(BaseExceptionGroup(KEY, [inner, raised(OSError(5, WORDS, KEY))]))


def nested(depth: int) -> BaseException:
    error: BaseException = ValueError(WORDS)
    for _ in range(depth):
        above = RuntimeError(KEY)
        above.__cause__ = error
        error = above
    return raised(error)


def with_notes() -> BaseException:
    error = ValueError(WORDS)
    error.add_note(TOKEN)
    return raised(error)


def in_a_circle() -> BaseException:
    one, two = ValueError(WORDS), KeyError(KEY)
    one.__cause__, two.__cause__ = two, one
    return raised(one)


SPEAKS: dict[str, Callable[[logging.Logger], None]] = {
    "an argument": lambda log: log.info("said %s", WORDS),
    "an argument that looks like an id": lambda log: log.info("with %s and %s", KEY, TOKEN),
    "arguments by name": lambda log: log.info("said %(what)s", {"what": WORDS}),
    "an error as an argument": lambda log: log.info("failed: %s", ValueError(WORDS)),
    "an error as the message": lambda log: log.info(ValueError(WORDS)),
    "an object whose name it is": lambda log: log.info("%r %s", {"a": WORDS}, [WORDS, KEY]),
    "too few arguments": lambda log: log.info("%s %s", *[WORDS]),
    "extra fields": lambda log: log.info(
        "x", extra={"code": WORDS, "engine": KEY, "degraded": [TOKEN], "reason": WORDS, "content": KEY}
    ),
    "an exception": lambda log: log.error("x", exc_info=raised(ValueError(WORDS))),
    "a group": lambda log: log.error("x", exc_info=in_a_group()),
    "causes of causes": lambda log: log.error("x", exc_info=nested(40)),
    "notes": lambda log: log.error("x", exc_info=with_notes()),
    "a circle of causes": lambda log: log.error("x", exc_info=in_a_circle()),
    "the stack": lambda log: log.error("x", exc_info=raised(ValueError(WORDS)), stack_info=True),
}


@pytest.mark.parametrize("name", ["cozy", "cozy.turn", "openai._base_client", "cozymetrics"])
@pytest.mark.parametrize("formatter", [JsonFormatter, TextFormatter])
@pytest.mark.parametrize("speak", SPEAKS.values(), ids=SPEAKS)
def test_nothing_of_a_user_and_no_secret_gets_into_a_line(
    speak: Callable[[logging.Logger], None], formatter: type[logging.Formatter], name: str
) -> None:
    logs = Logs(formatter())
    speak(logs.logger(name))
    assert logs.text
    for planted in PLANTED:
        assert planted not in logs.text


@pytest.mark.parametrize("formatter", [JsonFormatter, TextFormatter])
def test_a_library_that_fills_in_its_words_itself_is_named_by_its_place(
    formatter: type[logging.Formatter],
) -> None:
    logs = Logs(formatter())
    logs.logger("somelib").warning(f"could not send {WORDS} with {KEY}")
    assert not any(planted in logs.text for planted in PLANTED)
    assert "test_json_logs.test_a_library_that_fills" in logs.text


def test_what_asyncio_says_of_a_lost_task_is_told_without_its_error(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio.log, "logger", logs.logger("asyncio"))
    monkeypatch.setattr(asyncio.base_events, "logger", asyncio.log.logger)

    async def lose() -> None:
        raise ValueError(WORDS)

    async def main() -> None:
        task = asyncio.create_task(lose())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    asyncio.run(main())
    assert logs.last["message"] == "Task exception was never retrieved"
    assert logs.last["exception"][0]["type"] == "ValueError"
    assert not any(planted in logs.text for planted in PLANTED)


def test_a_library_s_template_is_told_without_its_arguments(logs: Logs) -> None:
    logs.logger("openai").warning("Retrying request to %s", "/chat?key=" + KEY)
    assert logs.last["message"] == "Retrying request to %s"


def test_with_the_switch_the_messages_are_there() -> None:
    logs = Logs(JsonFormatter(content=True))
    logs.logger("cozy.turn").error(
        "said %s", WORDS, exc_info=raised(ValueError(KEY)), extra={"reason": "why"}
    )
    assert logs.last["message"] == f"said {WORDS}"
    assert logs.last["exception"][0]["message"] == KEY
    assert logs.last["reason"] == "why"


def wrong(message: str, line: int = 3) -> Diagnostic:
    return diagnostics.error("CZ104", message, Place("personalities/米娅.yaml", line, 5))


def test_what_is_wrong_with_a_personality_is_told_with_its_place(logs: Logs) -> None:
    found = [wrong("key `prmpt` is unknown"), wrong(f"`{KEY}` is no number", 4), "x", {"message": WORDS}]
    logs.logger("cozy").error("broken", extra={"diagnostics": found})
    assert logs.last["diagnostics"] == [
        {
            "file": "personalities/米娅.yaml",
            "line": 3,
            "column": 5,
            "code": "CZ104",
            "message": "key `prmpt` is unknown",
        },
        {
            "file": "personalities/米娅.yaml",
            "line": 4,
            "column": 5,
            "code": "CZ104",
            "message": f"`{HIDDEN}` is no number",
        },
    ]


def test_of_many_and_long_diagnostics_the_first_part_is_told(logs: Logs) -> None:
    logs.logger("cozy").error("broken", extra={"diagnostics": [wrong("word " * 10_000)] * 1000})
    assert len(logs.last["diagnostics"]) == 20
    assert len(logs.text) < 10_000


def test_as_text_what_is_wrong_stands_below_the_line() -> None:
    logs = Logs(TextFormatter())
    logs.logger("cozy").error("broken", extra={"diagnostics": [wrong("key `prmpt` is unknown")]})
    assert logs.text.splitlines()[1] == "  personalities/米娅.yaml:3:5: key `prmpt` is unknown [CZ104]"


def test_text_is_one_line_and_an_error_s_way_below_it() -> None:
    logs = Logs(TextFormatter())
    logs.logger("cozy.turn").warning("stage degraded", extra={"stage": "memory", "degraded": ["a", "b"]})
    assert logs.text[9:] == "warning stage degraded stage=memory degraded=a,b\n"
    logs.logger("cozy.turn").error("stage %s failed", "llm", exc_info=raised(ValueError(WORDS)))
    first, kind, frame = logs.text.splitlines()[1:]
    assert first.endswith("error stage llm failed")
    assert kind == "  ValueError"
    assert frame.startswith("    test_json_logs.py:")


def test_every_field_that_is_logged_is_told() -> None:
    given = {
        key.value
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict)
        for key in keyword.value.keys
        if isinstance(key, ast.Constant)
    }
    assert "provider" in given
    assert given - {*FIELDS, "reason"} == set()


@pytest.mark.parametrize("value", ["健康 助手", "a b", "x" * 81, KEY, TOKEN, b"bytes", object(), "", "a\nb"])
def test_a_value_that_is_no_id_is_hidden(logs: Logs, value: object) -> None:
    logs.logger("cozy").info("x", extra={"code": value})
    assert logs.last["code"] == HIDDEN


def test_what_nobody_catches_is_told_without_its_message(tmp_path: Path) -> None:
    script = (
        "import threading\nfrom cozy.cli.json_logs import configure_logs\n"
        "configure_logs('json')\n"
        f"def lose(): raise ValueError({KEY!r})\n"
        "thread = threading.Thread(target=lose); thread.start(); thread.join()\n"
        "class Bad:\n    def __del__(self): lose()\n"
        "Bad()\nimport warnings; warnings.warn(" + repr(WORDS) + ")\n"
        f"raise RuntimeError({WORDS!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("exception", [{}])[0].get("type") for line in lines] == [
        "ValueError",
        "ValueError",
        None,
        "RuntimeError",
    ]
    assert not any(planted in done.stdout for planted in PLANTED)


def _logged(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "_log"
    ]


def test_every_message_of_cozy_is_a_constant() -> None:
    calls = [(path, call) for path in PACKAGE.rglob("*.py") for call in _logged(path)]
    assert len(calls) > 10
    for path, call in calls:
        message = call.args[1 if call.func.attr == "log" else 0]  # type: ignore[attr-defined]
        assert isinstance(message, ast.Constant), f"{path.name}:{call.lineno}"
