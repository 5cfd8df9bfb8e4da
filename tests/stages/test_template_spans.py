"""Where each word of a rendered template comes from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.stages.templates import Span, Template

PIECES = [
    "word ",
    "字",
    "\n",
    "\n\n",
    "  ",
    "{{ a }}",
    "{{ b }}",
    "{{ a|upper }}",
    "{{ missing.x }}",
    "\ue000",
]
PIECES += ["{% if a %}yes{% endif %}", "{% for x in list %}- {{ x }}\n{% endfor %}", "{# note #}"]
PIECES += ["{% set c %}{{ a }}!{% endset %}{{ c }}", "{% filter upper %}{{ a }}{% endfilter %}"]
PIECES += ["{% macro m(v) %}<{{ v }}>{% endmacro %}{{ m(a) }}", "{{ 1 + 1 }}"]
texts = st.text("ab \n中\ue000\ue001\ue002", max_size=8)


def spans(source: str, **variables: Any) -> list[Span]:
    return Template(source, "test").spans(variables)


@given(
    source=st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    a=texts,
    b=texts,
    items=st.lists(texts, max_size=3),
)
def test_the_pieces_together_are_what_would_be_sent(source: str, a: str, b: str, items: list[str]) -> None:
    variables = {"a": a, "b": b, "list": items}
    template = Template(source, "test")
    assert "".join(span.text for span in template.spans(variables)) == template.render(variables)


def test_words_and_expressions_are_told_apart_with_their_lines() -> None:
    assert spans("You are {{ name }}.\n\n{{ a }}, {{ b.c }}", name="小研", a="x", b={"c": "y"}) == [
        Span("You are ", None, 1),
        Span("小研", "name", 1),
        Span(".\n\n", None, 1),
        Span("x", "a", 3),
        Span(", ", None, 3),
        Span("y", "b.c", 3),
    ]


def test_each_turn_of_a_loop_is_a_piece() -> None:
    source = "{% for s in found %}- {{ s.text }} ({{ s.source }})\n{% endfor %}"
    found = [{"text": "一", "source": "a"}, {"text": "二", "source": "b"}]
    assert [(s.text, s.expression) for s in spans(source, found=found)][:4] == [
        ("- ", None),
        ("一", "s.text"),
        (" (", None),
        ("a", "s.source"),
    ]


@pytest.mark.parametrize(
    ("source", "expression"),
    [
        pytest.param("{% set c %}{{ a }}!{% endset %}{{ c }}", "c", id="a block that is computed with"),
        pytest.param("{% macro m(v) %}{{ v }}!{% endmacro %}{{ m(a) }}", "m(a)", id="a macro"),
    ],
)
def test_what_is_put_together_first_comes_from_where_it_is_written_out(source: str, expression: str) -> None:
    assert [(s.text, s.expression) for s in spans(source, a="x") if s.expression] == [("x!", expression)]


def test_an_expression_that_gives_nothing_is_no_piece() -> None:
    assert spans("a{{ nothing }}b", nothing="") == [Span("a", None, 1), Span("b", None, 1)]


def test_a_template_without_expressions_is_one_piece() -> None:
    assert spans("  你好  ") == [Span("你好", None, 1)]
    assert spans("   ") == []
