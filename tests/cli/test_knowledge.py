"""`cozy knowledge`, from adding to removing."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.cli.terminal import called


def test_the_life_of_a_dataset(here: Path) -> None:
    docs = here / "docs"
    docs.mkdir()
    (docs / "water.md").write_text("# 饮食\n\n## 喝水\n\n每天喝水 1500 毫升。\n", encoding="utf-8")
    (docs / "sleep.txt").write_text("Sleep eight hours every night.\n", encoding="utf-8")
    (docs / "old.txt").write_bytes("每天早睡早起，多喝水。".encode("gbk"))

    added = called("knowledge", "add", "docs", "--dataset", "health")
    assert added.code == 1, "one of the files cannot be read"
    assert added.out == "docs/sleep.txt: 1 passage\ndocs/water.md: 1 passage\n"
    assert "error: docs/old.txt: not UTF-8 (byte 3)" in added.err
    assert "iconv -f GB18030 -t UTF-8" in added.err
    assert "2 of 3 files are in `health` now" in added.err

    listed = called("knowledge", "list").out.splitlines()
    assert [line.split()[:4] for line in listed[1:]] == [
        ["health", "docs/sleep.txt", "1", "31"],
        ["health", "docs/water.md", "1", "27"],
    ]
    found = json.loads(called("knowledge", "search", "每天喝多少水", "--json").out)
    assert found[0]["source"].startswith("docs/water.md")
    shown = called("knowledge", "search", "sleep", "--dataset", "health").out
    assert "docs/sleep.txt" in shown
    assert "Sleep eight hours" in shown
    assert called("knowledge", "search", "sleep", "--dataset", "other").err == "nothing found\n"
    assert "每天喝水 1500 毫升" in called("render", "health_assistant", "每天喝多少水？").out

    wrong = called("knowledge", "remove", "--dataset", "health", "docs/watr.md")
    assert (wrong.code, "did you mean `docs/water.md`?" in wrong.err) == (1, True)
    assert called("knowledge", "remove", "--dataset", "health").code == 2
    assert called("knowledge", "remove", "--dataset", "health", "docs/water.md").err == "removed: 1\n"
    assert called("knowledge", "remove", "--dataset", "health", "--all").err == "removed: 1\n"
    assert called("knowledge", "remove", "--dataset", "health", "--all").code == 1
    empty = called("knowledge", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "cozy knowledge add" in empty.err


def test_two_files_of_one_name_do_not_replace_each_other(here: Path) -> None:
    project, other = here, here.parent / "other"
    for folder in (project / "docs", other / "docs"):
        folder.mkdir(parents=True)
        (folder / "a.md").write_text(f"text of {folder}", encoding="utf-8")
    done = called("knowledge", "add", "docs", str(other / "docs"), "--dataset", "d")
    assert done.code == 1
    assert "would be called `docs/a.md` too" in done.err
    assert "1 of 2 files are in `d` now" in done.err


def test_nothing_to_add_is_an_error(here: Path) -> None:
    (here / "docs").mkdir()
    assert "no .md, .markdown or .txt file there" in called("knowledge", "add", "docs", "--dataset", "d").err
    assert "there is no file or folder `nope`" in called("knowledge", "add", "nope", "--dataset", "d").err


def test_another_engine_than_that_of_the_configuration_can_be_named(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (here / "cozy.toml").write_text(
        f'[engines.wiki]\nkind = "cognee"\nurl = "http://127.0.0.1:{port}"\ndatasets = ["plants"]\n'
        '[engines.notes]\nkind = "mem0"\n[context]\nknowledge = "wiki"\n'
    )
    (here / "tea.md").write_text("Green tea wants water at 80 degrees.\n")
    assert called("knowledge", "list").err.startswith("error: wiki: ")
    added = called("knowledge", "add", "tea.md", "--dataset", "plants", "--engine", "embedded")
    assert (added.code, added.out) == (0, "tea.md: 1 passage\n")
    assert "80 degrees" in called("knowledge", "search", "tea", "--engine", "embedded").out
    for name in ("wikki", "notes"):
        wrong = called("knowledge", "list", "--engine", name)
        assert (wrong.code, wrong.err.splitlines()[0]) == (1, f"error: no engine `{name}` brings knowledge")
    assert "did you mean `wiki`?" in called("knowledge", "list", "--engine", "wikki").err
