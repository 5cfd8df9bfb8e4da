from __future__ import annotations

import pytest

from cozy.errors import TemplateFailed
from cozy.stages.template_errors import BadTemplate
from cozy.stages.templates import Expression, Template


def wrong(source: str, *, expression: bool = False) -> BadTemplate:
    with pytest.raises(BadTemplate) as caught:
        (Expression if expression else Template)(source, "t")
    return caught.value


@pytest.mark.parametrize(
    ("source", "line", "message", "needle"),
    [
        ("你好 {{ a b }}", 1, "expected `}}`, found `b`", "b"),
        ("一\n{{ a", 2, "`}}` is missing", ""),
        ("{{ a }", 1, "`}` does not belong here", "}"),
        ("{{ }}", 1, "a value is missing before `}}`", ""),
        ("{{ (a }}", 1, "expected `)`, found `}`", "}"),
        ("{{ a. }}", 1, "a name is missing behind a dot", ""),
        ("{{ 'a }}", 1, "a text in quotes is not closed", "'"),
        ("{{ “a” }}", 1, "`“` means nothing in a template", "“"),
        ("{% if a = 1 %}{% endif %}", 1, "expected `%}`, found `=`", "="),
        ("{% if a %}\n{% if b %}\n{% endif %}\n", 1, "`if` is not closed: `endif` is missing", "if"),
        ("a\n{% for x in y %}\nb", 2, "`for` is not closed: `endfor` is missing", "for"),
        ("{% endif %}", 1, "`endif` belongs to nothing that is open", "endif"),
        ("{% fro x in y %}", 1, "there is no tag `fro`", "fro"),
        ("{# a", 1, "a comment is not closed: `#}` is missing", "{#"),
        ("{{ a|uper }}", 1, "there is no filter `uper`", "uper"),
        ("{{ a is odda }}", 1, "there is no test `odda`", "odda"),
        ("{% include 'x' %}", 1, "a template cannot load another one, or be one's frame", "include"),
        ("{% block x %}{% endblock %}", 1, "a template cannot load another one, or be one's frame", "block"),
        ("{{ 2 ** 3 }}", 1, "there is no `**` in templates", "**"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_our_own_words(source: str, line: int, message: str, needle: str) -> None:
    bad = wrong(source)
    assert (bad.line, bad.message, bad.needle) == (line, message, needle)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("{{ a|uper }}", "did you mean `upper`?"),
        ("{{ a，b }}", "within braces, write the ASCII `,`"),
        ("{% if a = 1 %}{% endif %}", "`==` compares, `=` does not"),
        ("{% for a in b %}{% endif %}", "`for` is still open: close it with `endfor`"),
        ("{{ a && b }}", "write `and`"),
        ("{{ !a }}", "write `not`, or `!=`"),
        ("{{ a || b }}", "write `or`"),
    ],
    ids=str,
)
def test_what_would_be_right_is_told_too(source: str, hint: str) -> None:
    assert wrong(source).hint == hint


def test_a_filter_that_only_some_turns_would_reach_is_missed_at_once() -> None:
    assert wrong("{% if a %}{{ b|nope }}{% endif %}").message == "there is no filter `nope`"


@pytest.mark.parametrize("source", ["", "a b", "a }} {{ b", "{{ a }}", "{% if a %}", "a ==", "a; b"], ids=str)
def test_a_condition_is_one_expression(source: str) -> None:
    assert wrong(source, expression=True).line == 1


def test_what_is_nested_too_deeply_is_refused() -> None:
    assert (
        wrong("(" * 3000 + "1" + ")" * 3000, expression=True).message == "the template is nested too deeply"
    )


def test_a_template_without_braces_is_a_constant() -> None:
    assert Template("  你好，\n世界  ", "t").render({}) == "你好，\n世界"


def test_blank_lines_are_kept_to_one() -> None:
    assert Template("a\n\n\n{% if x %}b{% endif %}\n\n\nc\n", "t").render({}) == "a\n\nc"
    assert Template("你好\n\n \n\n世界\n", "t").render({}) == "你好\n\n世界"


def test_what_fails_at_run_time_says_where() -> None:
    with pytest.raises(TemplateFailed, match=r"mia\.yaml: prompt"):
        Template("{{ 1 // a }}", "mia.yaml: prompt").render({"a": 0})


@pytest.mark.parametrize("source", ["{{ 'a' * 999999999 }}", "{{ x * 999999999 }}", "{{ [1] * 999999999 }}"])
def test_nothing_is_made_that_would_not_end(source: str) -> None:
    with pytest.raises(TemplateFailed):
        Template(source, "t").render({"x": "很长"})


def test_a_small_repetition_is_a_repetition() -> None:
    assert Template("{{ '=' * 5 }}{{ 2 * 3 }}", "t").render({}) == "=====6"


@pytest.mark.parametrize(
    "source", ["{{ ''.__class__ }}", "{{ x.__init__.__globals__ }}", "{{ [].append(1) }}"], ids=str
)
def test_templates_see_values_and_nothing_behind_them(source: str) -> None:
    try:
        text = Template(source, "t").render({"x": "text"})
    except TemplateFailed:
        return
    assert text == ""


def test_an_unknown_field_is_nothing_at_run_time() -> None:
    assert Template("[{{ a.b.c }}]", "t").render({"a": "x"}) == "[]"


def test_spans_tell_which_expression_gave_which_words() -> None:
    spans = Template("你好 {{ name }}，\n{{ name|upper }}", "t").spans({"name": "mia"})
    assert [(s.text, s.expression, s.line) for s in spans if s.expression] == [
        ("mia", "name", 1),
        ("MIA", "name|upper", 2),
    ]


@pytest.mark.parametrize(
    ("source", "expected"), [("3", 3), ("9 / 3", 3), ("1", 1), ("100", 100), ("n + 1", 6), ("[n, 2]|max", 5)]
)
def test_an_expression_gives_a_whole_number(source: str, expected: int) -> None:
    given = Expression(source, "mia: top_k").count({"n": 5}, 100)
    assert (given, type(given)) == (expected, int)


@pytest.mark.parametrize(
    "source",
    ["0", "101", "2.5", "'5'", "none", "true", "nobody", "n / 0", "[5]", "n.x.y", "-1", "1e300 * 1e300"],
)
def test_what_is_no_number_in_the_range_says_so(source: str) -> None:
    with pytest.raises(TemplateFailed, match="mia: top_k"):
        Expression(source, "mia: top_k").count({"n": 5}, 100)
