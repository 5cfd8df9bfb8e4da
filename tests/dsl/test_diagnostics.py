from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import iter_graphemes, wcswidth

from cozy.dsl.diagnostics import (
    WINDOW,
    Diagnostic,
    Place,
    Related,
    as_text,
    error,
    excerpt,
    in_order,
    warning,
)


def _shown(text: str, column: int, length: int = 1, line: int = 1) -> str:
    return "\n".join(excerpt(Place("f", line, column, length), {"f": text}))


@pytest.mark.parametrize(
    ("text", "column", "length", "shown"),
    [
        ("type: fetch", 7, 5, "   1 | type: fetch\n     |       ^^^^^"),
        ("名字：米娅", 3, 1, "   1 | 名字：米娅\n     |     ^^"),
        ("名字: 米娅 x", 8, 1, "   1 | 名字: 米娅 x\n     |            ^"),
        ("👍 a: b", 3, 1, "   1 | 👍 a: b\n     |    ^"),
        ("👨‍👩‍👧 a: b", 7, 1, "   1 | 👨‍👩‍👧 a: b\n     |    ^"),
        ("e\u0301a: b", 3, 1, "   1 | e\u0301a: b\n     |  ^"),
        ("🇩🇪a: b", 3, 1, "   1 | 🇩🇪a: b\n     |   ^"),
        ("\ta: b", 2, 1, "   1 |     a: b\n     |     ^"),
        ("ab\tc: d", 4, 1, "   1 | ab  c: d\n     |     ^"),
        ("中\tc", 3, 1, "   1 | 中  c\n     |     ^"),
        ("a\0b", 3, 1, "   1 | a␀b\n     |   ^"),
        ("a\u200bb: c", 3, 1, "   1 | a<U+200B>b: c\n     |          ^"),
        ("می\u200cخواهم x", 10, 1, "   1 | می\u200cخواهم x\n     |         ^"),
        ("abc", 4, 0, "   1 | abc\n     |    ^"),
        ("", 1, 0, ""),
        ("abc", 99, 3, "   1 | abc\n     |    ^"),
    ],
    ids=[
        "ascii",
        "a wide character",
        "behind Chinese",
        "behind an emoji",
        "behind a joined emoji",
        "behind a combining mark",
        "behind a flag",
        "behind a tab",
        "behind a tab within",
        "behind a tab after a wide character",
        "a NUL byte",
        "a zero-width space",
        "behind Persian with its joiners",
        "the end of a line",
        "an empty file",
        "beyond the line",
    ],
)
def test_carets_stand_under_what_is_meant(text: str, column: int, length: int, shown: str) -> None:
    assert _shown(text, column, length) == shown


def test_a_place_within_a_grapheme_means_all_of_it() -> None:
    assert _shown("xe\u0301y", 3) == "   1 | xe\u0301y\n     |  ^"


def test_a_long_line_is_shown_around_its_place() -> None:
    text = "字" * 300 + "错" + "字" * 300
    line, carets = _shown(text, 301).split("\n")
    assert "…" in (line[7], line[-1])
    assert wcswidth(line[7:]) <= WINDOW
    before = carets[7:].index("^")
    cells = 0
    for character in line[7:]:
        if cells == before:
            assert character == "错"
            return
        cells += wcswidth(character)
    pytest.fail("the caret is under nothing")


_line = st.text(alphabet="ab :中文，👍\t\0é\u0301\u200d…x", max_size=400)


@given(text=_line, column=st.integers(1, 420), length=st.integers(0, 60))
def test_an_excerpt_never_runs_over_and_its_carets_are_under_the_line(
    text: str, column: int, length: int
) -> None:
    shown, carets = excerpt(Place("f", 1, column, length), {"f": text + "x"})
    width = sum(wcswidth(grapheme) for grapheme in iter_graphemes(shown[7:]))
    assert width <= WINDOW
    assert "^" in carets
    assert len(carets) - 7 <= width + 1  # the end of a line is one cell behind it


def test_a_diagnostic_reads_as_one_block() -> None:
    text = "id: mia\nname: 米娅\nname: 娅\n"
    first = Related("it is here already", Place("a.yaml", 2, 1, 4))
    diagnostic = error("CZ012", "the key `name` is here twice", Place("a.yaml", 3, 1, 4), "keep one", [first])
    assert as_text([diagnostic], {"a.yaml": text}) == (
        "error: a.yaml:3:1: the key `name` is here twice [CZ012]\n"
        "   3 | name: 娅\n"
        "     | ^^^^\n"
        "note: a.yaml:2:1: it is here already\n"
        "   2 | name: 米娅\n"
        "     | ^^^^\n"
        "hint: keep one"
    )


def test_what_a_screen_would_obey_is_written_out_in_messages_too() -> None:
    shown = as_text([error("CZ030", "no key `a\x1b[31m\u202eb`", Place("f", 1, 1))], {})
    assert shown == "error: f:1:1: no key `a␛[31m<U+202E>b` [CZ030]"


def test_diagnostics_come_by_file_line_and_column_and_once() -> None:
    def at(file: str, line: int, column: int) -> Diagnostic:
        return warning("CZ041", "x", Place(file, line, column))

    expected = (at("a", 1, 2), at("a", 2, 1), at("a", 10, 1), at("b", 1, 1))
    assert in_order([*reversed(expected), expected[0]]) == expected
