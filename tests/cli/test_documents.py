"""Which files are taken, what they are called, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cozy.cli.documents import found_in, read_text
from cozy.errors import CozyError


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text", encoding="utf-8")


def names(*paths: str | Path) -> list[str]:
    return [found.name for found in found_in([Path(p) for p in paths])]


def test_a_folder_is_walked_for_text_in_order_without_what_is_hidden(here: Path) -> None:
    write(
        here, "docs/b.md", "docs/a.txt", "docs/sub/c.MARKDOWN", "docs/x.pdf", "docs/.git/d.md", "docs/.e.md"
    )
    assert names("docs") == ["docs/a.txt", "docs/b.md", "docs/sub/c.MARKDOWN"]
    assert names(".") == names("docs")
    assert names(here / "docs") == names("docs")


def test_a_file_that_is_named_may_be_called_anything(here: Path) -> None:
    write(here, "notes.log")
    assert names("notes.log", "./notes.log") == ["notes.log", "notes.log"]


def test_a_file_from_elsewhere_is_not_called_by_its_whole_path(here: Path) -> None:
    write(here.parent, "手册/第一章/a.md", "b.md")
    assert names(here.parent / "手册") == ["手册/第一章/a.md"]
    assert names("../b.md") == ["b.md"]


def test_what_is_not_there_is_an_error(here: Path) -> None:
    with pytest.raises(CozyError, match="there is no file or folder `nope`"):
        names("nope")


def test_a_byte_order_mark_is_no_part_of_the_text(here: Path) -> None:
    (here / "a.md").write_bytes("\ufeff你好".encode())
    assert read_text(here / "a.md") == "你好"


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        pytest.param("每天早睡早起，多喝水。".encode("gbk"), "not UTF-8 (byte 3)", "GB18030", id="GBK"),
        pytest.param("hello".encode("utf-16"), "not UTF-8 (byte 1)", "UTF-16", id="UTF-16"),
        pytest.param("déjà vu".encode("latin-1"), "not UTF-8 (byte 2)", "save it as UTF-8", id="Latin 1"),
        pytest.param(b"a\0b", "NUL", None, id="no text"),
        pytest.param(b" \n", "it is empty", None, id="nothing"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(here: Path, data: bytes, message: str, hint: str | None) -> None:
    (here / "x.md").write_bytes(data)
    with pytest.raises(CozyError) as caught:
        read_text(here / "x.md")
    assert message in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
