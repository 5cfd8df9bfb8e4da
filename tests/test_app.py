"""The composition root: what comes out of it, what it loads, and in which order it is left."""

from __future__ import annotations

import traceback
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.app import check_all, compile_all, open_app
from cozy.configuration import load_settings
from cozy.engine.library import Library
from cozy.errors import EngineUnavailable, NotFound, PersonalityError
from cozy.ports.context import EngineChoice
from cozy.ports.store import Job, TurnRecord
from cozy.storage.outbox import SqlOutbox
from cozy.turn import Turn, TurnId

MIA = "id: mia\nname: 米娅\nprompt: 你叫米娅。\n"
PIPELINE = """\
pipeline:
  stages:
    prompt:
      type: render_prompt
    answer:
      type: llm
      model:
        name: openai/gpt-4o
      fallbacks:
        - deepseek/deepseek-chat
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


# -- what is left out and what is refused --------------------------------------------------------------


async def test_it_opens_where_a_shipped_personality_asks_for_what_is_not_allowed(tmp_path: Path) -> None:
    write(tmp_path, "cozy.toml", '[tools]\nallow = ["calculator"]\n')
    async with open_app(load_settings(tmp_path, {})) as app:
        ids = app.engine.library.ids()
    assert "minimal" in ids
    assert "default" not in ids


async def test_it_does_not_open_where_a_personality_of_ones_own_does(tmp_path: Path) -> None:
    write(tmp_path, "cozy.toml", '[tools]\nallow = ["calculator"]\n')
    write(tmp_path, "personalities/mia.yaml", MIA + "tools: current_time\n")
    with pytest.raises(PersonalityError, match="current_time"):
        async with open_app(load_settings(tmp_path, {})):
            pass


# -- models --------------------------------------------------------------------------------------------


def test_the_models_of_single_stages_count_among_those_that_may_be_asked(tmp_path: Path) -> None:
    write(tmp_path, "personalities/mia.yaml", MIA + PIPELINE)
    settings = load_settings(tmp_path, {})
    graphs = compile_all(check_all(settings), settings, BuiltinTools())
    [mia] = [graph for graph in graphs if graph.id == "mia"]
    assert Library([mia]).models == ["deepseek/deepseek-chat", "demo/demo", "openai/gpt-4o"]


def test_the_engines_of_the_configuration_serve_personalities_that_name_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        "cozy.toml",
        '[engines.wiki]\nkind = "cognee"\ndatasets = ["plants"]\n'
        '[engines.mem0]\nkind = "mem0"\n[context]\nknowledge = "wiki"\n',
    )
    write(tmp_path, "personalities/mia.yaml", MIA + "engines:\n  memory: mem0\n")
    settings = load_settings(tmp_path, {})
    result = check_all(settings)
    assert not result.errors, result.text()
    graphs = {g.id: g.persona.engines for g in compile_all(result, settings, BuiltinTools())}
    assert graphs["mia"] == EngineChoice("wiki", "embedded", "mem0")
    assert graphs["minimal"] == EngineChoice("wiki", "embedded", "embedded")


def test_an_engine_that_is_not_configured_is_refused_before_anything_starts(tmp_path: Path) -> None:
    write(tmp_path, "cozy.toml", '[engines.wiki]\nkind = "cognee"\ndatasets = ["plants"]\n')
    write(tmp_path, "personalities/mia.yaml", MIA + "engines:\n  knowledge: wikki\n  memory: wiki\n")
    found = check_all(load_settings(tmp_path, {})).diagnostics
    assert [(d.code, d.hint) for d in found] == [
        ("CZ110", "did you mean `wiki`?"),
        ("CZ111", "for memory there is `embedded`"),
    ]


def test_a_dataset_that_no_engine_is_asked_about_is_told_before_anything_starts(tmp_path: Path) -> None:
    write(tmp_path, "cozy.toml", '[engines.wiki]\nkind = "cognee"\ndatasets = ["plants"]\n')
    stage = "stages:\n  knowledge:\n    datasets: palnts\n"
    write(tmp_path, "personalities/mia.yaml", MIA + "engines:\n  knowledge: wiki\n" + stage)
    found = check_all(load_settings(tmp_path, {})).diagnostics
    assert [(d.code, d.hint) for d in found] == [("CZ117", "did you mean `plants`?")]


async def test_a_reload_loads_the_models_that_have_come_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app(load_settings(tmp_path, {})) as app:
        loaded: list[str] = []

        async def load(*models: str) -> None:
            loaded.extend(models)

        monkeypatch.setattr(app.models.tokens, "load", load)
        write(tmp_path, "personalities/mia.yaml", MIA + PIPELINE)
        result = await app.reload()
        assert not result.errors, result.text()
        assert "mia" in app.engine.library.ids()
        assert {"openai/gpt-4o", "deepseek/deepseek-chat"} <= set(loaded)


async def test_a_reload_with_errors_leaves_the_old_personalities(tmp_path: Path) -> None:
    write(tmp_path, "personalities/mia.yaml", MIA)
    async with open_app(load_settings(tmp_path, {})) as app:
        before = app.engine.library.graph("mia")
        write(tmp_path, "personalities/mia.yaml", MIA + "pipeline: nowhere\n")
        assert (await app.reload()).errors
        assert app.engine.library.graph("mia") is before


# -- leaving -------------------------------------------------------------------------------------------


async def test_an_error_of_the_block_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable) as caught:
        async with open_app(load_settings(tmp_path, {})):
            raise EngineUnavailable("house", "it is away") from OSError("refused")
    assert isinstance(caught.value.__cause__, OSError)
    assert "ExceptionGroup" not in "".join(traceback.format_exception(caught.value))


async def test_an_error_out_of_task_groups_of_the_block_comes_out_alone(tmp_path: Path) -> None:
    async def lost() -> None:
        raise NotFound("session", "x")

    with pytest.raises(NotFound):
        async with open_app(load_settings(tmp_path, {})), anyio.create_task_group() as tasks:
            tasks.start_soon(lost)


async def test_errors_that_came_together_stay_together(tmp_path: Path) -> None:
    both = BaseExceptionGroup("both", [NotFound("session", "x"), NotFound("session", "y")])
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_app(load_settings(tmp_path, {})):
            raise both
    assert len(caught.value.exceptions) == 2


async def test_a_cancelled_block_is_cancelled_and_nothing_else(tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with open_app(load_settings(tmp_path, {})):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_turn_that_is_under_way_when_the_app_is_left_still_teaches(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    async with open_app(settings) as app:
        user = await app.store.user("ada")
        session = await app.store.create_session(user, "default")
        # as a request that goes on while the server is being stopped
        await app.engine.run(Turn("my name is Ada", user, "default", session.id)).__aenter__()
    async with open_app(settings) as app:
        assert [memory.text for memory in await app.memories.items(user)] == ["The user's name is Ada"]


async def test_an_app_whose_jobs_are_done_is_left_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cozy.app.DRAIN_S", 600.0)
    with anyio.fail_after(60):
        async with open_app(load_settings(tmp_path, {})):
            pass


async def test_an_app_whose_jobs_go_on_is_left_after_a_while_and_gives_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cozy.app.DRAIN_S", 0.1)
    settings, began = load_settings(tmp_path, {}), anyio.Event()

    async def hangs(_job: Job) -> None:
        began.set()
        await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with open_app(settings) as app:
            monkeypatch.setattr(app.worker, "_handlers", {"memory/embedded": hangs})
            user = await app.store.user("ada")
            jobs = (Job(uuid4(), "memory/embedded", user, {}),)
            await app.store.save_turn(
                TurnRecord(TurnId(uuid4()), user, None, "mia", (), "complete", 0, {}, jobs)
            )
            app.worker.wake()
            await began.wait()
        async with open_app(settings, works=False) as app:
            [lease] = await SqlOutbox(app.database).claim(limit=9, lease_s=60)
    assert lease.attempts == 1
