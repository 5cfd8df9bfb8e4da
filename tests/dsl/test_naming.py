"""What templates may name, and what it costs where they name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dsl.authoring import check_files, check_mia, codes

SHOWN = "{{ profile }} {{ memory }} {{ knowledge }}"


@pytest.mark.parametrize(
    "template",
    [
        "{{ personality.name }} {{ personality.language }}",
        "{% for tool in tools %}{{ tool.name }}: {{ tool.description }}{% endfor %}",
        "{{ turn.text }} {{ turn.metadata.anything.at.all }} {{ turn.metadata['x'] }}",
        "{{ now.year }} {{ now.strftime('%Y年%m月%d日') }}",
        "{{ message|upper }} {{ message.split()[0] }}",
        "{{ history.text }} {% for m in history %}{{ m.role }}{% endfor %}",
        "{{ prompt.tokens }} {{ budget.report.used }}",
        "{% for part in budget.parts %}{{ part }}{% endfor %}",
        "{{ memory|length }} {% if not knowledge %}无{% endif %}",
        "{{ (knowledge|first).source }} {{ knowledge.snippets[0].score }}",
        "{% set first = history.messages|first %}{{ first.content }}",
    ],
    ids=str,
)
def test_a_stage_may_name_all_of_this(template: str, tmp_path: Path) -> None:
    result = check_mia(tmp_path, f"stages:\n  answer:\n    ask: |\n      {template}\n")
    assert codes(result) == []


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ tools.text }}", "CZ084"),
        ("{% for t in tools %}{{ t.parameters }}{% endfor %}", "CZ084"),
        ("{{ turn.user_id }}", "CZ084"),
        ("{{ history.snippets[0].role }}", "CZ084"),
        ("{% for m in history %}{{ m.source }}{% endfor %}", "CZ084"),
        ("{{ message.txt }}", "CZ084"),
        ("{{ now.today_ }}", "CZ084"),
        ("{{ answer.text }}", "CZ064"),
        ("{{ save.session_id }}", "CZ066"),
        ("{{ nobody }}", "CZ083"),
        ("{{ 知识 }}", "CZ083"),
    ],
    ids=str,
)
def test_a_stage_may_not_name_this(template: str, code: str, tmp_path: Path) -> None:
    result = check_mia(tmp_path, f"stages:\n  answer:\n    ask: |\n      {template}\n")
    assert codes(result) == [code]


def test_a_place_is_exact_behind_chinese_and_in_any_style_of_text(tmp_path: Path) -> None:
    result = check_mia(
        tmp_path,
        """\
        stages:
          answer:
            ask: |
              第一行

              第三行：{{ turn.txt }}
          knowledge:
            when: >-
              channel == "voice"
              or turn.lang == "zh"
          memory:
            when: "turn.language == 'zh' and turn.metdata"
        """,
    )
    lines = next(iter(result.texts.values())).split("\n")
    places = [d.place for d in result.diagnostics]
    assert [(p.line, lines[p.line - 1][p.column - 1 : p.end - 1]) for p in places] == [
        (9, "txt"),
        (13, "lang"),
        (15, "metdata"),
    ]


def test_a_template_with_many_mistakes_is_told_of_within_reason(tmp_path: Path) -> None:
    lines = "".join(f"      {{{{ v{i} }}}}\n" for i in range(200))
    result = check_mia(tmp_path, f"stages:\n  answer:\n    ask: |\n{lines}")
    assert codes(result) == ["CZ083"] * 20


def test_without_a_pipeline_names_may_be_stages_and_known_ones_are_still_checked(tmp_path: Path) -> None:
    result = check_mia(
        tmp_path, "pipeline: nowhere\ncontext: |\n  {{ profile.text }} {{ turn.txt }} {{ whatever.text }}\n"
    )
    assert codes(result) == ["CZ050", "CZ084"]


def test_a_stage_of_unknown_type_may_have_any_field(tmp_path: Path) -> None:
    result = check_files(
        tmp_path,
        {
            "pipelines/own.yaml": """\
            stages:
              odd:
                type: from_elsewhere
              prompt:
                type: render_prompt
              answer:
                type: llm
                ask: "{{ odd.anything.at.all }}"
            """
        },
    )
    assert codes(result) == ["CZ051"]


# -- the context ---------------------------------------------------------------------------------------


def test_a_context_of_ones_own_that_shows_everything_is_fine(tmp_path: Path) -> None:
    assert codes(check_mia(tmp_path, f"context: |\n  {SHOWN}\n")) == []


def test_what_another_template_reads_is_not_fetched_in_vain(tmp_path: Path) -> None:
    lines = "context: |\n  {{ profile }} {{ memory }}\nstages:\n  answer:\n    ask: 资料：{{ knowledge }}\n"
    assert codes(check_mia(tmp_path, lines)) == []


def test_the_history_need_not_be_shown_for_it_is_sent_as_messages(tmp_path: Path) -> None:
    result = check_mia(tmp_path, "context: |\n  {{ message }}\npipeline: minimal\n")
    assert codes(result) == []


# -- prompt order is cache order -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        "你是 {{ personality.name }}。",
        "{% if channel == 'voice' %}说短些。{% endif %}",
        "{{ language }} {{ tools }}",
    ],
    ids=str,
)
def test_what_is_stable_may_stand_in_the_prompt(prompt: str, tmp_path: Path) -> None:
    text = f"id: mia\nname: 米娅\nprompt: |\n  {prompt}\n"
    assert codes(check_files(tmp_path, {"personalities/mia.yaml": text})) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ now.date() }}",
        "{% if profile %}x{% endif %}",
        "{{ turn.language }}",
        "{% for m in memory %}{% endfor %}",
    ],
    ids=str,
)
def test_what_changes_in_the_prompt_costs_the_whole_cache(prompt: str, tmp_path: Path) -> None:
    text = f"id: mia\nname: 米娅\nprompt: |\n  {prompt}\n"
    assert codes(check_files(tmp_path, {"personalities/mia.yaml": text})) == ["CZ090"]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (f"{SHOWN} {{{{ now }}}}", []),
        ("{{ now }} {{ memory }} {{ knowledge }} {{ profile }}", ["CZ091"]),
        ("{{ memory }} {{ profile }} {{ knowledge }}", ["CZ091"]),
        ("{{ profile }} {{ knowledge }} {{ profile }} {{ memory }}", []),
        ("{% if knowledge %}{{ profile }}{% endif %}{{ memory }}", ["CZ091"]),
        (f"{SHOWN} {{{{ personality.name }}}}", []),
    ],
    ids=str,
)
def test_in_the_context_what_seldom_changes_comes_first(
    context: str, expected: list[str], tmp_path: Path
) -> None:
    assert codes(check_mia(tmp_path, f"context: |\n  {context}\n")) == expected
