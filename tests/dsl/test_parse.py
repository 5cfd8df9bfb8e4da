from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import strictyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cozy.dsl.cache import Cache
from cozy.dsl.diagnostics import Place
from cozy.dsl.parse import Document, parse_file, parse_text

PERSONALITY = """\
# 米娅
id: mia
name: '米娅'
"tools":
  - calculator
  - "mcp/weather/*"
model:
  temperature: 0.7   # 温度
prompt: |
  你是米娅。

    缩进的一行 {{ profile }}
  user: {{ message }}
welcome: >-
  你好，
  {{ personality.name }}！

  第二段 {{ now }}
context: 一行 {{ memory }}
stages:
  intent:
    ask: "第一行\\n第二行 {{ draft.text }}"
  final:
    when: intent.text == "medical"
"""


def _document(text: str) -> Document:
    parsed = parse_text(text, Path("mia.yaml"), "mia.yaml")
    assert parsed.document is not None
    assert not parsed.diagnostics
    return parsed.document


def _at(text: str, place: Place) -> str:
    """What stands in a place."""
    return text.split("\n")[place.line - 1][place.column - 1 : place.end - 1]


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("id",), "id", "mia"),
        (("name",), "name", "'米娅'"),
        (("tools",), '"tools"', '"tools"'),
        (("tools", 0), "calculator", "calculator"),
        (("tools", 1), '"mcp/weather/*"', '"mcp/weather/*"'),
        (("model", "temperature"), "temperature", "0.7"),
        (("prompt",), "prompt", "|"),
        (("stages", "final", "when"), "when", 'intent.text == "medical"'),
    ],
)
def test_a_document_knows_where_keys_and_values_stand(
    path: tuple[str | int, ...], key: str, value: str
) -> None:
    document = _document(PERSONALITY)
    assert _at(PERSONALITY, document.key(*path)) == key
    assert _at(PERSONALITY, document.value(*path)) == value


def test_a_path_that_is_not_in_the_file_leads_to_the_nearest_that_is() -> None:
    document = _document(PERSONALITY)
    assert document.key("model", "name") == document.key("model")
    assert document.key("voice") == document.key("id")
    assert document.key() == document.key("id")


@pytest.mark.parametrize(
    ("path", "line", "needle"),
    [
        (("prompt",), 1, "你是米娅"),
        (("prompt",), 3, "profile"),
        (("prompt",), 4, "message"),
        (("welcome",), 1, "personality"),
        (("welcome",), 2, "now"),
        (("context",), 1, "memory"),
        (("stages", "intent", "ask"), 2, "draft"),
        (("stages", "final", "when"), 1, "intent"),
    ],
)
def test_a_name_is_found_inside_every_kind_of_text(path: tuple[str, ...], line: int, needle: str) -> None:
    document = _document(PERSONALITY)
    place = document.inside(path, line, needle)
    assert _at(PERSONALITY, place) == needle
    value: Any = document.data
    for key in path:
        value = value[key]
    assert needle in value.split("\n")[line - 1]


def test_a_name_in_braces_goes_before_the_same_word_in_the_text() -> None:
    text = "prompt: |\n  the profile, myprofile and {{ profile }}\n"
    place = _document(text).inside(("prompt",), 1, "profile")
    assert (place.line, place.column) == (2, 33)


def test_without_a_needle_the_whole_line_of_a_text_is_meant() -> None:
    place = _document(PERSONALITY).inside(("prompt",), 3, "")
    assert _at(PERSONALITY, place) == "缩进的一行 {{ profile }}"


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mia.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + PERSONALITY.replace("\n", "\r\n").encode())
    parsed = parse_file(path, "mia.yaml")
    document = _document(PERSONALITY)
    assert parsed.document is not None
    assert (parsed.document.data, parsed.document.positions) == (document.data, document.positions)
    assert parsed.text == PERSONALITY


_words = st.text(alphabet="ab中：:#-'\"{}|> \\é👍\t", min_size=0, max_size=12)
_values = st.recursive(
    _words,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text(alphabet="abc中_", min_size=1, max_size=4), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def _written(value: Any, indent: int = 0) -> str:
    """YAML for a value, texts in double quotes."""
    lead = "  " * indent
    if isinstance(value, dict):
        return "".join(f"\n{lead}{key}: {_written(inner, indent + 1)}" for key, inner in value.items())
    if isinstance(value, list):
        return "".join(f"\n{lead}-{_item(inner, indent + 1)}" for inner in value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'


def _item(value: Any, indent: int) -> str:
    """Behind a dash, a collection begins on the next line only if it is a list."""
    if isinstance(value, dict):
        return " " + _written(value, indent).lstrip()
    return (" " if isinstance(value, str) else "") + _written(value, indent)


@settings(max_examples=150)
@given(
    data=st.dictionaries(st.text(alphabet="abc中_", min_size=1, max_size=4), _values, min_size=1, max_size=3)
)
def test_what_was_written_is_read_and_found_where_it_stands(data: dict[str, Any]) -> None:
    text = _written(data).lstrip("\n") + "\n"
    document = _document(text)
    assert document.data == data

    def look(value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, str):
            assert _at(text, document.value(*path)) == _written(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                assert _at(text, document.key(*path, key)) == key
                look(inner, (*path, key))
        else:
            for i, inner in enumerate(value):
                look(inner, (*path, i))

    look(data, ())


@pytest.mark.parametrize("name", ["standard", "critic", "voice", "minimal"])
def test_our_values_are_those_of_strictyaml(name: str) -> None:
    text = (Path(__file__).parents[2] / "pipelines" / f"{name}.yaml").read_text("utf-8")
    assert _document(text).data == strictyaml.load(text).data


# -- files that mean harm ------------------------------------------------------------------------------

HOSTILE: dict[str, Callable[[], bytes]] = {
    "a megabyte in one text": lambda: b"id: " + b"x" * 1_000_000,
    "as much as is read, in one text": lambda: b"id: mia\nprompt: " + b"x" * 262_000,
    "as much as is read, in short lines": lambda: b"prompt: |\n" + b"  x\n" * 65_000,
    "quoted lines": lambda: b'prompt: "\n' + b"  x\n" * 60_000 + b'"',
    "deep nesting": lambda: "".join(" " * i + f"k{i}:\n" for i in range(600)).encode(),
    "dashes in a line": lambda: b"tools:\n  " + b"- " * 100_000 + b"x",
    "question marks": lambda: b"? " * 100_000 + b"x",
    "brackets": lambda: b"a: " + b"[" * 200_000,
    "braces": lambda: b"a: " + b"{" * 200_000,
    "anchors": lambda: b"a: &a\n  b: *a\n" * 5_000,
    "colons": lambda: b"a:" * 100_000,
    "a key without end": lambda: b"a: b\n" + b"k" * 200_000,
    "spaces": lambda: b" " * 200_000 + b"a: b",
    "thousands of keys": lambda: "".join(f"k{i}: v\n" for i in range(20_000)).encode(),
    "thousands of documents": lambda: b"---\n" * 60_000,
    "thousands of comments": lambda: b"id: mia\n" + b"# x\n" * 60_000,
    "ten mistakes and more": lambda: b"a: [\nb: {\nc: *x\n" * 300,
    "NUL bytes": lambda: b"\0" * 10_000,
    "every byte there is": lambda: bytes(range(256)) * 100,
    "UTF-32": lambda: "id: mia\n".encode("utf-32"),
    "half a character": lambda: "id: mia\nname: 米".encode()[:-1],
    "a surrogate": lambda: b"id: \xed\xa0\x80",
    "quotes": lambda: b"'" * 100_001,
    "percent signs": lambda: b"%" * 100_000,
    "bars": lambda: b"a: |\n" * 900,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_ends_soon_and_in_words(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(HOSTILE[kind]())
    start = time.process_time()
    parsed = parse_file(path, "hostile.yaml")
    assert time.process_time() - start < 5
    assert parsed.document or parsed.diagnostics
    for diagnostic in parsed.diagnostics:
        assert diagnostic.place.line <= parsed.text.count("\n") + 1


@settings(max_examples=200)
@example(content=b"\xef\xbb\xbf")
@example(content=b"'")
@example(content=b"? - a\n: b\n")
@example(content=b"a: # c\n  b\n\nc: d\n")
@given(
    content=st.binary(max_size=60)
    | st.text(alphabet="a:- \n\t#'\"|>[]{}&*!%@`?,中：\\.<", max_size=60).map(str.encode)
)
def test_no_file_raises(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    parsed = parse_file(path, "any.yaml")
    assert parsed.document or parsed.diagnostics
    lines = parsed.text.split("\n")
    for diagnostic in parsed.diagnostics:
        assert diagnostic.place.column <= len(lines[diagnostic.place.line - 1]) + 1


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    [diagnostic] = parse_file(pipe, "pipe.yaml").diagnostics  # opening it would wait for a writer
    assert diagnostic.code == "CZ002"


@pytest.mark.parametrize("name", ["missing.yaml", "folder/missing.yaml", "file.yaml/below.yaml", "x" * 300])
def test_a_file_that_is_not_there_is_told_of(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").touch()
    [diagnostic] = parse_file(tmp_path / name, "x").diagnostics
    assert diagnostic.code == "CZ001"


def test_a_link_to_itself_is_told_of(tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(link)
    [diagnostic] = parse_file(link, "link.yaml").diagnostics
    assert diagnostic.code == "CZ001"


def test_a_file_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("id: mia\n", "utf-8")
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    document = parse_file(tmp_path / "link.yaml", "link.yaml").document
    assert document is not None
    assert document.data == {"id": "mia"}


def test_the_parser_reads_on_past_what_is_wrong_with_one_entry() -> None:
    text = (
        "id: mia\ntools: [a]\nwelcome: **hi**\nstages:\n  history：\n    limit: 3\n"
        "  answer:\n    ask: @x\nname: 米娅\n"
    )
    parsed = parse_text(text, Path("f"), "f")
    assert [(d.code, d.place.line) for d in parsed.diagnostics] == [
        ("CZ010", 2),
        ("CZ013", 3),
        ("CZ008", 5),
        ("CZ024", 8),
    ]
    assert parsed.document is not None
    assert parsed.document.data == {"id": "mia", "stages": {"answer": ""}, "name": "米娅"}


# -- the cache -----------------------------------------------------------------------------------------


def test_a_file_comes_from_the_cache_as_it_came_from_the_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "mia.yaml", Cache(tmp_path / "cache")
    path.write_text(PERSONALITY, "utf-8")
    first = parse_file(path, "mia.yaml", cache)
    monkeypatch.setattr(strictyaml, "load", None)
    assert parse_file(path, "mia.yaml", cache) == first


def test_a_changed_file_is_parsed_anew(tmp_path: Path) -> None:
    path, cache = tmp_path / "mia.yaml", Cache(tmp_path / "cache")
    path.write_text("id: mia\n", "utf-8")
    parse_file(path, "mia.yaml", cache)
    path.write_text("id: tom\n", "utf-8")
    document = parse_file(path, "mia.yaml", cache).document
    assert document is not None
    assert document.data == {"id": "tom"}
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff" * 4000], ids=["empty", "short", "foreign"])
def test_a_bad_cache_file_is_ignored(damage: bytes, tmp_path: Path) -> None:
    path, cache = tmp_path / "mia.yaml", Cache(tmp_path / "cache")
    path.write_text(PERSONALITY, "utf-8")
    first = parse_file(path, "mia.yaml", cache)
    [stored] = (tmp_path / "cache").iterdir()
    stored.write_bytes(damage)
    assert parse_file(path, "mia.yaml", cache) == first


def test_a_torn_cache_file_is_ignored(tmp_path: Path) -> None:
    path, cache = tmp_path / "mia.yaml", Cache(tmp_path / "cache")
    path.write_text(PERSONALITY, "utf-8")
    first = parse_file(path, "mia.yaml", cache)
    [stored] = (tmp_path / "cache").iterdir()
    stored.write_bytes(stored.read_bytes()[:-10])
    assert parse_file(path, "mia.yaml", cache) == first


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    path = tmp_path / "mia.yaml"
    path.write_text(PERSONALITY, "utf-8")
    assert parse_file(path, "mia.yaml", Cache(tmp_path / "cache")).document is not None


def test_a_file_with_mistakes_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "mia.yaml"
    path.write_text("id: [mia]\nname: x\n", "utf-8")
    parse_file(path, "mia.yaml", Cache(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()
