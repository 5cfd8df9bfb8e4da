from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.passages import LONGEST, LONGEST_CODE, LONGEST_HEADING, Piece, split

DOCUMENTS = Path(__file__).parent / "documents"


def texts(name: str, text: str) -> list[str]:
    return [piece.text for piece in split(name, text)]


def letters(text: str) -> str:
    return "".join(text.split())


def test_markdown_is_cut_at_its_headings() -> None:
    pieces = split("handbook.md", (DOCUMENTS / "handbook.md").read_text())
    assert [piece.headings[1:] for piece in pieces] == [
        (),
        ("Setup", "Linux"),
        ("Setup", "Windows"),
        ("Sensors", "Rain gauge"),
        ("Sensors", "Thermometer"),
        ("Sensors", "Batteries"),
        ("Data", "Retention"),
        ("Data", "Export"),
        ("Holidays and absence",),
    ]
    assert pieces[0] == Piece(
        "How we run the weather stations of the valley. Ask Maren when something here is wrong.",
        ("Station handbook",),
    )


def test_a_heading_s_place_is_its_depth_not_its_order() -> None:
    text = "### c\nx\n# a\ny\n#### d\nz\n## b\nw"
    assert [piece.headings for piece in split("a.md", text)] == [("c",), ("a",), ("a", "d"), ("a", "b")]


def test_underlined_titles_are_headings_too() -> None:
    pieces = split("a.md", "血压\n===\n正文。\n\nTwo\nlines\n---\nText\n\n- item\n---\nafter")
    assert [(piece.headings, piece.text) for piece in pieces] == [
        (("血压",), "正文。"),
        (("血压", "Two lines"), "Text\n\n- item\n---\nafter"),
    ]


def test_a_code_block_is_kept_whole_and_holds_no_headings() -> None:
    code = "```sh\n" + "# comment\n\nrun --now\n" * 60 + "```"
    assert LONGEST < len(code) < LONGEST_CODE
    assert texts("a.md", f"# Title\n\nBefore.\n\n{code}\n\nAfter.") == ["Before.", code, "After."]


def test_a_code_block_that_never_ends_goes_to_the_end() -> None:
    assert texts("a.md", "~~~~\n# no heading\n~~~\n```\nend") == ["~~~~\n# no heading\n~~~\n```\nend"]


def test_blocks_of_a_section_share_a_passage_while_they_fit() -> None:
    paragraphs = [letter * 300 for letter in "abcde"]
    assert texts("a.md", "\n\n".join(paragraphs)) == [
        "\n\n".join(paragraphs[:2]),
        "\n\n".join(paragraphs[2:4]),
        paragraphs[4],
    ]


@pytest.mark.parametrize(
    ("sentence", "joint"),
    [("今天量了三次血压，都不高。", ""), ("It rained all day (again). ", " ")],
    ids=["chinese", "english"],
)
def test_a_long_paragraph_is_cut_between_its_sentences(sentence: str, joint: str) -> None:
    pieces = texts("a.md", sentence * 200)
    assert all(len(piece) <= LONGEST and piece.endswith(sentence.strip()) for piece in pieces)
    assert all(piece.startswith(sentence[:5]) for piece in pieces)
    assert min(map(len, pieces[:-1])) > LONGEST - len(sentence) - 1
    assert joint.join(pieces) == (sentence * 200).strip()


def test_closing_quotes_stay_with_their_sentence() -> None:
    filler = "字" * 400
    assert texts("a.txt", f"{filler}他说：“好！”{filler}。") == [f"{filler}他说：“好！”", f"{filler}。"]


def test_a_long_list_is_cut_between_its_items() -> None:
    items = [f"- item {number} says something, e.g. this. And that" for number in range(40)]
    for piece in texts("a.md", "\n".join(items)):
        assert set(piece.split("\n")) <= set(items)


def test_a_sentence_without_end_is_cut_at_spaces_or_anywhere() -> None:
    assert {len(piece) for piece in texts("a.txt", "字" * LONGEST * 3)} == {LONGEST}
    assert all(set(piece.split(" ")) == {"word"} for piece in texts("a.txt", "word " * 1000))


def test_plain_text_knows_no_headings() -> None:
    assert split("notes.TXT", "# 1 in stock\n\n---\nrest") == [Piece("# 1 in stock\n\n---\nrest", ())]


def test_a_heading_with_nothing_beneath_is_a_passage_of_its_own() -> None:
    pieces = split("faq.md", "# FAQ\n## Is it free? ##\n## 收费吗\n\n收费。\n# End")
    assert [(piece.headings, piece.text) for piece in pieces] == [
        (("FAQ", "Is it free?"), "Is it free?"),
        (("FAQ", "收费吗"), "收费。"),
        (("End",), "End"),
    ]


def test_front_matter_is_left_out_and_a_rule_is_not() -> None:
    assert texts("a.md", "---\ntitle: x\n---\nText") == ["Text"]
    assert texts("a.md", "---\n\nText\n\n---\nmore") == ["---\n\nText\n\n---\nmore"]


@pytest.mark.parametrize("text", ["", "\ufeff", " \r\n\t\n\u3000", "---\na: b\n---\n"])
def test_nothing_has_no_passages(text: str) -> None:
    assert split("a.md", text) == []


def test_windows_lines_and_a_byte_order_mark_change_nothing() -> None:
    text = (DOCUMENTS / "health.md").read_text()
    assert split("health.md", "\ufeff" + text.replace("\n", "\r\n")) == split("health.md", text)


@given(
    st.lists(
        st.sampled_from(
            ["a. ", "血压。", "\n", "\n\n", "- x", "word ", "字" * 500, "！”", "| a |\n", "...", "\f", " "]
        )
    )
)
def test_plain_text_is_all_there_once_and_in_order(parts: list[str]) -> None:
    pieces = texts("a.txt", "".join(parts))
    assert letters("".join(pieces)) == letters("".join(parts))
    assert all(0 < len(piece) <= LONGEST and piece.strip() for piece in pieces)


@given(
    st.lists(
        st.sampled_from(
            [
                "# A\n",
                "## 乙\n",
                "###\n",
                "text. ",
                "```\n",
                "~~~\n",
                "\n\n",
                "===\n",
                "---\n",
                "- x\n",
                "\n" + "字" * 900 + "\n\n",
            ]
        )
    )
)
def test_markdown_loses_no_word(parts: list[str]) -> None:
    text = "start\n" + "".join(parts)  # at the very top `---` begins front matter
    kept = " ".join(" ".join((*piece.headings, piece.text)) for piece in split("a.md", text))
    assert set(re.findall(r"[^\W字]+", text)) <= set(re.findall(r"[^\W字]+", kept))
    assert text.count("字") <= kept.count("字")


@pytest.mark.parametrize(
    "text",
    [
        "." * 200_000,
        "# " * 100_000,
        "`" * 200_000,
        "```\n" * 50_001,
        "- " * 100_000,
        "a. " * 70_000,
        "." * 100_000 + '"' * 100_000 + "x",
        "#" * 100_000 + "\n" + "=" * 100_000,
        "| a |\n" * 30_000,
        "\n".join("#" * (n % 6 + 1) + f" heading {n}" for n in range(10_000)),
    ],
    ids=[
        "dots",
        "hashes",
        "backticks",
        "fences",
        "dashes",
        "sentences",
        "quotes",
        "rules",
        "table",
        "headings",
    ],
)
def test_hostile_text_is_split_in_time_and_bounds(text: str) -> None:
    pieces = split("a.md", text)
    assert all(len(piece.text) <= LONGEST_CODE for piece in pieces)
    assert all(len(title) <= LONGEST_HEADING for piece in pieces for title in piece.headings)
