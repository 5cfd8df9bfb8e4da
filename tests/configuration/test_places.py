"""Where keys stand in a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.configuration.places import Key, places_of, shown_key


@pytest.mark.parametrize(
    ("text", "place", "key"),
    [
        pytest.param("a = 1\nb = 2", (2, 1), ("b",), id="plain"),
        pytest.param("[server]\n  port = 1", (2, 3), ("server", "port"), id="in a table"),
        pytest.param("[a.b]\n[a.c]\nd=1", (3, 1), ("a", "c", "d"), id="in a table below another"),
        pytest.param("[a.b]", (1, 2), ("a",), id="a table that only a longer name names"),
        pytest.param("a.b.c = 1", (1, 5), ("a", "b", "c"), id="dotted"),
        pytest.param("a . b = 1", (1, 5), ("a", "b"), id="dotted, with spaces"),
        pytest.param('a."b.c" = 1', (1, 3), ("a", "b.c"), id="quoted, with a dot"),
        pytest.param('"\\u914d\\"" = 1', (1, 1), ('配"',), id="quoted, with escapes"),
        pytest.param("'配 置' = {'键' = '值', b = 2}", (1, 21), ("配 置", "b"), id="Chinese, in braces"),
        pytest.param("a = {b = {c = 1}, d.e = 2}", (1, 21), ("a", "d", "e"), id="braces in braces"),
        pytest.param("[[a]]\nb=1\n[[a]]\nb=2", (4, 1), ("a", 1, "b"), id="in the second table of a list"),
        pytest.param("[[a]]\n[[a]]\n[a.b]\nc=1", (4, 1), ("a", 1, "b", "c"), id="below a list of tables"),
        pytest.param("[[a]]\n[[a.b]]\n[[a.b]]\nc=1", (4, 1), ("a", 0, "b", 1, "c"), id="lists in lists"),
        pytest.param("a = [1, # ]\n  [2, 3],\n  4]", (3, 3), ("a", 2), id="an item of a list"),
        pytest.param("a = [1,\n [2, 3]]", (2, 6), ("a", 1, 1), id="an item of an item"),
        pytest.param("a = [{b = 1}, {b = 2}]", (1, 16), ("a", 1, "b"), id="braces in a list"),
        pytest.param('a = """\nb = 1\n""" # "\nb = 2', (4, 1), ("b",), id="after a text of several lines"),
        pytest.param('a = """x"""""\nb = 2', (2, 1), ("b",), id="a text that ends with quotes"),
        pytest.param("a = '''\\'''\nb = 2", (2, 1), ("b",), id="a raw text that ends with a backslash"),
        pytest.param("a = '\\'\nb = 2", (2, 1), ("b",), id="a raw line that ends with a backslash"),
        pytest.param('a = "\\"#]"\nb = 2', (2, 1), ("b",), id="after a text with a quote and a hash"),
        pytest.param("a = ''\nb = \"\"\nc = 1", (3, 1), ("c",), id="after empty texts"),
        pytest.param("a = 1979-05-27 07:32:00.5\nb = -1.5e3\nc = 1", (3, 1), ("c",), id="after dates"),
        pytest.param("# [x]\n[a] # [b]\n# c = 1\nd = 1", (4, 1), ("a", "d"), id="among comments"),
        pytest.param('[ "a" . b ]\nc = 1', (2, 1), ("a", "b", "c"), id="a header with spaces"),
    ],
)
def test_a_key_is_found_where_it_stands(text: str, place: tuple[int, int], key: Key) -> None:
    for written in (text, text + "\n"):
        tomllib.loads(written)
        assert places_of(written)[key] == place


def keys(value: Any, above: Key = ()) -> Iterator[Key]:
    if above:
        yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from keys(item, (*above, name))


def _basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


SCALARS = st.one_of(
    st.integers().map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.text(alphabet="ab'\"#[]{}=,.\n\\配", max_size=6).map(_basic),
    st.text(alphabet='ab"#[]{}=,.\\配', max_size=6).map(lambda text: f"'{text}'"),
    st.text(alphabet="ab#[]{}=,.\n配'", max_size=6).map(lambda text: f'"""{text}"""'),
    st.sampled_from(["1.5", "1979-05-27 07:32:00", "'''\nx = 1'''", "inf"]),
)


NAMES = st.sampled_from(["a", "b-1", "1", '"x.y"', "'键'", '"\\""', '""'])


def inline(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(NAMES, values), max_size=3, unique_by=lambda pair: pair[0])
    return st.one_of(
        st.lists(values, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(values, min_size=1, max_size=3).map(lambda items: "[\n" + ", # ]\n".join(items) + "\n,]"),
        pairs.map(lambda items: "{" + ", ".join(f"{k} = {v}" for k, v in items) + "}"),
    )


LINES = st.one_of(
    st.tuples(NAMES, st.recursive(SCALARS, inline, max_leaves=6)).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    st.lists(NAMES, min_size=1, max_size=3).map(lambda names: f"[{'.'.join(names)}] # x"),
    st.lists(NAMES, min_size=1, max_size=3).map(lambda names: f"[[{' . '.join(names)}]]"),
    st.tuples(NAMES, NAMES, SCALARS).map(lambda parts: f"{parts[0]}.{parts[1]}={parts[2]}"),
)


@given(st.lists(LINES, max_size=8))
def test_every_key_that_is_read_has_a_place_and_none_else_has(lines: list[str]) -> None:
    text = ""
    for line in lines:  # those that do not contradict what stands above
        try:
            tomllib.loads(f"{text}{line}\n")
        except tomllib.TOMLDecodeError:
            continue
        text += f"{line}\n"
    places = places_of(text)
    assert set(places) == set(keys(tomllib.loads(text)))
    for key, (line, column) in places.items():
        if isinstance(key[-1], str) and re.fullmatch(r"[a-z0-9-]+", key[-1]):
            assert text.split("\n")[line - 1][column - 1 :].lstrip("\"'").startswith(key[-1])


def test_the_projects_own_file_is_read() -> None:
    text = (Path(__file__).parents[2] / "cozy.toml").read_text(encoding="utf-8")
    bare = re.sub(r"^# (?=\[[a-z0-9_.]+\]$|[a-z_]+ = )", "", text, flags=re.MULTILINE)
    assert set(places_of(bare)) == set(keys(tomllib.loads(bare)))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        pytest.param(("server", "port"), "server.port", id="bare"),
        pytest.param(("providers", "a.b", "headers", "X Y"), 'providers."a.b".headers."X Y"', id="quoted"),
        pytest.param(("server", "models", 2), "server.models[2]", id="an item"),
    ],
)
def test_a_key_is_shown_as_toml_writes_it(key: Key, shown: str) -> None:
    assert shown_key(key) == shown
